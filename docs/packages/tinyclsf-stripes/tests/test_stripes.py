"""The data set stripes: what tinyclsf asks of any data set, one test for each check, and what this one promises."""

from tinyclsf_stripes import stripes

from tinyclsf.testing import check_dataset, parametrize_with_checks


@parametrize_with_checks(check_dataset, "stripes")
def test_contract(check):
    check()


def test_the_size_can_be_chosen():
    assert stripes(size=8).image_shape == (1, 8, 8)
