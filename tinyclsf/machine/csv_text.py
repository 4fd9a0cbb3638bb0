"""CSV as tinyclsf writes it, which a spreadsheet may open."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV; a text that a spreadsheet would run as a formula has an apostrophe before it, so that it stays text.

    Source: OWASP, "CSV injection".
    """
    import csv  # which --help need not wait for

    text = io.StringIO()
    writer = csv.writer(text)  # with its own line ends, \r\n: with others it leaves a \r in a name unquoted
    writer.writerows([_plain(each) for each in row] for row in rows)
    return text.getvalue()


def csv_bytes(rows: Iterable[Sequence[object]]) -> bytes:
    """Rows as a CSV file: a file name that is no UTF-8 stays the bytes that it is."""
    text = csv_text(rows)
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half of a pair, which Windows and JSON let into a name, and which is no byte
        return text.encode(errors="backslashreplace")


def _plain(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else cell
