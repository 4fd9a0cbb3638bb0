"""What messages are made of: the nearest name, names in a sentence, the shape of an image."""

from __future__ import annotations

import sys
import traceback

from tinyclsf.errors import DataError, did_you_mean, join_names, shape_as_text


def test_the_nearest_name_is_offered() -> None:
    assert did_you_mean("Mnist-CN", ["mnist-cnn", "vgg"]) == "did you mean 'mnist-cnn'?"
    assert did_you_mean("something else", ["mnist-cnn", "vgg"]) is None


def test_names_in_a_sentence() -> None:
    assert join_names(["a"]) == "a"
    assert join_names(["a", "b", "c"]) == "a, b and c"
    assert join_names([*range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert join_names([*range(2000)], 2) == "0, 1 and 1,998 more"
    assert join_names("abc", 3) == "a, b and c"


def test_a_shape_in_a_sentence() -> None:
    assert shape_as_text((1, 28, 28)) == "1x28x28"


def test_a_traceback_has_the_tip() -> None:
    error = DataError("there is no cat", tip="did you mean 'catfish'?")
    assert (str(error), error.tip) == ("there is no cat", "did you mean 'catfish'?")
    error.tip = "look\x1b[31m again"
    assert (error.tip, error.__notes__) == ("look\x1b[31m again", ["tip: look\\x1b[31m again"])
    if sys.version_info >= (3, 11):
        assert traceback.format_exception(error)[-1] == "tip: look\\x1b[31m again\n"
    assert DataError("there is no cat").__notes__ == []


def test_a_sentence_steers_no_terminal() -> None:
    assert str(DataError("red \x1b[31m\nturned \u202e")) == "red \\x1b[31m\nturned \\u202e"
