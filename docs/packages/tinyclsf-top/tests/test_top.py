"""The command top: what tinyclsf asks of any command, one test for each check, and what this one promises."""

import pytest
from click.testing import CliRunner
from tinyclsf_top import top

from tinyclsf.plugin import ConfigurationError
from tinyclsf.testing import check_command, parametrize_with_checks


@parametrize_with_checks(check_command, "top")
def test_contract(check):
    check()


def test_it_says_so_where_there_is_no_run(tmp_path):
    with pytest.raises(ConfigurationError, match="has a validation accuracy yet"):
        CliRunner().invoke(top, ["--runs", str(tmp_path)], catch_exceptions=False)
