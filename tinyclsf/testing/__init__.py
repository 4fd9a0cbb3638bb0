"""Checks that tell the author of a plugin whether it keeps its contract, and how to mend what does not.

`check_dataset(plugin, **options)` and its like run all checks and raise one error with what failed; in a test file
`parametrize_with_checks(check_dataset, plugin, **options)` gives one test for each check.
"""

from collections.abc import Mapping
from typing import Any

from tinyclsf.registry.plugins import Kind
from tinyclsf.testing.callback_contract import check_callback
from tinyclsf.testing.checking import Checks, ChecksFailed, Verdict, Verdicts, parametrize_with_checks
from tinyclsf.testing.command_contract import check_command
from tinyclsf.testing.dataset_contract import check_dataset
from tinyclsf.testing.model_contract import check_model

__all__ = [
    "Checks",
    "ChecksFailed",
    "Verdict",
    "Verdicts",
    "check_callback",
    "check_command",
    "check_dataset",
    "check_model",
    "parametrize_with_checks",
]

CHECKS: Mapping[Kind, Checks[Any]] = {each.kind: each for each in (check_dataset, check_model, check_callback, check_command)}
