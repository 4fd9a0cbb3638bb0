"""CSV or Parquet tables that a person made: some columns as text, with the number of each row."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tinyclsf.plugin import ConfigurationError, DataError, did_you_mean, join_names, printable
from tinyclsf_plugins.datasets.files import opened, read_up_to

_LARGEST = 1 << 30  # bytes, unzipped
_PARQUET = b"PAR1"
# The names of all columns, the numbers of the rows, and a column by its place.
_Content = tuple[list[str], Sequence[int], Callable[[int], list[object]]]


def read_table(
    path: Path, needed: Mapping[str, str], optional: Mapping[str, str | None]
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table: the number of each, and the text of each column by the role of the column.

    `needed` and `optional` name the columns, as in {"label": "species"}. In `optional`, "auto" means the column named like its
    role, in capitals or not, if there is one; None means no column. Rows are counted as in a spreadsheet: the header is row 1.
    A Parquet file has no header, so its first row is row 1.
    Raises: DataError if the table cannot be read, is neither CSV in UTF-8 nor Parquet, lacks a column, or has a cell in one
    that is not a text or an integer; ConfigurationError without pyarrow for Parquet.
    """
    with opened(path) as file:
        content = bytes(read_up_to(file, _LARGEST + 1))
    if len(content) > _LARGEST:
        raise DataError(f"{path} has more than {_LARGEST:,} bytes; wanted a smaller table")
    names, numbers, column = (_parquet if content.startswith(_PARQUET) else _csv)(path, content)
    if not any(names):
        raise DataError(f"{path} has no columns; wanted a first row that names them")
    wanted = dict(needed)
    for role, name in optional.items():
        alike = [each for each in names if each.lower() == role and each not in needed.values()]
        if name == "auto" and alike:  # "Group" that nobody heeds would let groups into two splits
            wanted[role] = alike[0]
        elif name not in ("auto", None):
            wanted[role] = name
    columns = {}
    for role, name in wanted.items():
        if names.count(name) != 1:
            found = f"{names.count(name)} columns" if name in names else "no column"
            there = join_names([f"'{printable(each)}'" for each in names])
            tip = did_you_mean(name, names)
            raise DataError(f"{path} has {found} '{name}'; it has {there}: say which is the {role} by -d {role}=NAME", tip=tip)
        cells = zip(numbers, column(names.index(name)), strict=True)
        columns[role] = [_text(value, f"row {number:,} of {path}", name) for number, value in cells]
    return ((number, dict(zip(columns, texts, strict=True))) for number, *texts in zip(numbers, *columns.values(), strict=True))


def _text(value: object, where: str, name: str) -> str:
    """A cell as text, without blanks around it."""
    if not isinstance(value, (str, int, type(None))):
        raise DataError(f"{where} has a {type(value).__name__} in column '{name}'; wanted text or a whole number")
    text = "" if value is None else str(value).strip()
    if not text or "\0" in text:
        raise DataError(f"{where} has {'a zero byte' if text else 'nothing'} in column '{name}'; mend it, or take the row out")
    return text


def _csv(path: Path, content: bytes) -> _Content:
    try:
        text = content.decode("utf-8-sig")  # spreadsheets put a mark before it
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not in UTF-8: its byte {error.start:,} is {content[error.start]:02x}; save it as CSV in UTF-8"
        ) from None
    rows: list[list[str]] = []
    try:
        rows.extend(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise DataError(f"row {len(rows) + 1:,} of {path} is no CSV: {error}; mend it") from None
    filled = [(number, row) for number, row in enumerate(rows, start=1) if any(map(str.strip, row))]
    (_, header), *rest = filled or [(1, [])]
    for number, row in rest:
        if len(row) != len(header):
            raise DataError(
                f"row {number:,} of {path} has {len(row)} cells; wanted {len(header)}, as the header has; a comma in a text "
                'needs quotes around it, "like, this"'
            )
    return [name.strip() for name in header], [number for number, _ in rest], lambda place: [row[place] for _, row in rest]


def _parquet(path: Path, content: bytes) -> _Content:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigurationError(f"reading {path} needs the package pyarrow; pip install 'tinyclsf[parquet]'") from error

    def told(error: Exception) -> DataError:
        return DataError(f"{path} is no Parquet file that can be read: {' '.join(str(error).split())}; write it again")

    faults = (pa.ArrowException, OSError, ValueError)
    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
    except faults as error:
        raise told(error) from error
    names: list[str] = file.schema_arrow.names
    rows: int = file.metadata.num_rows

    def column(place: int) -> list[object]:
        try:
            values: list[object] = file.read(columns=[names[place]]).column(names[place]).to_pylist()
        except faults as error:
            raise told(error) from error
        if len(values) != rows:
            raise told(ValueError(f"it promises {rows:,} rows and has {len(values):,}"))
        return values

    return names, range(1, rows + 1), column
