"""CSV: what a spreadsheet would run as a formula stays text, and all else reads back."""

from __future__ import annotations

import csv
import io

import pytest

from tinyclsf.machine.csv_text import csv_bytes, csv_text


@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A0", "@SUM(1+1)", "+1", "-name", "\t=1", "\r=1", "\n=1"])
def test_a_formula_is_text(text: str) -> None:
    rows = list(csv.reader(io.StringIO(csv_text([[text, "b"]]), newline="")))
    assert rows == [[f"'{text}", "b"]]


def test_all_else_is_as_it_was() -> None:
    assert csv_text([["a", "b=c", 'd,"e"', "f\rg"], [-1, -0.5, None, ""]]) == 'a,b=c,"d,""e""","f\rg"\r\n-1,-0.5,,\r\n'


def test_a_name_of_a_file_stays_the_bytes_that_it_is() -> None:
    assert csv_bytes([["caf\udce9.png", "é"]]) == b"caf\xe9.png,\xc3\xa9\r\n"
    assert csv_bytes([["half a pair \ud83d.png"]]) == b"half a pair \\ud83d.png\r\n"
