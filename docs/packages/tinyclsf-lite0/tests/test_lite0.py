"""The model lite0: what tinyclsf asks of any model, one test for each check, and what this one promises."""

import torch
from tinyclsf_lite0 import lite0

from tinyclsf.testing import check_model, parametrize_with_checks


@parametrize_with_checks(check_model, "lite0")
def test_contract(check):
    check()


def test_it_takes_images_of_any_size():
    assert lite0((3, 45, 60), 7)(torch.zeros(2, 3, 45, 60)).shape == (2, 7)
