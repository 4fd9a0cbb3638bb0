"""JSON as tinyclsf writes it: what is in it, and that nothing in it is no JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tinyclsf.machine.json_text import json_text, parse_json
from tinyclsf.machine.storage import write_json
from tinyclsf.metrics import Epoch

ODD = {"loss": math.nan, "interval": (-math.inf, 0.5), "row": Epoch(1, math.inf, 0.5, None, 2.0), "place": Path("a/é")}
PLAIN = {
    "loss": None,
    "interval": [None, 0.5],
    "row": {"epoch": 1, "train_loss": None, "valid_loss": 0.5, "valid_accuracy": None, "seconds": 2.0},
    "place": "a/é",
}


def refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_a_document_holds_no_number_that_is_not_finite(tmp_path: Path) -> None:
    assert json.loads(json_text(ODD), parse_constant=refuse) == PLAIN
    write_json(tmp_path / "state.json", ODD)
    assert json.loads((tmp_path / "state.json").read_bytes(), parse_constant=refuse) == PLAIN


def test_a_line_for_programs_is_ascii_and_a_file_for_people_has_a_key_a_line(tmp_path: Path) -> None:
    assert json_text({"a": "é"}) == '{"a": "\\u00e9"}'
    write_json(tmp_path / "card.json", {"a": "é", "b": 1})
    assert (tmp_path / "card.json").read_bytes().decode() == '{\n  "a": "é",\n  "b": 1\n}\n'


def test_a_name_that_is_no_utf_8_reads_back() -> None:
    for readable in (False, True):
        text = json_text({"path": "caf\udce9/größe"}, readable=readable)
        assert parse_json(text.encode()) == {"path": "caf\udce9/größe"}


@pytest.mark.parametrize("text", [rb'"\ud800"', b'"\xed\xa0\x80"', '"\\ud800"'.encode("utf-16-le")])
def test_text_that_could_not_be_written_again_is_no_json(text: bytes) -> None:
    with pytest.raises(ValueError, match="can't encode"):
        parse_json(text)
