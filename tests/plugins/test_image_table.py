"""Pictures that a table lists: how its rows are read, split by part and group, and refused."""

from __future__ import annotations

import itertools
import os
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from tests.support.commands import Cli
from tests.support.messages import message
from tinyclsf import Images, Splits
from tinyclsf.errors import ConfigurationError, DataWarning
from tinyclsf_plugins.datasets.image_folder import image_folder
from tinyclsf_plugins.datasets.image_table import image_table

Write = Callable[..., Path]
ROWS = [(f"{label}/{at}.png", label) for label in ("ant", "bee") for at in range(10)]
ZERO_BYTE = "row 2 of labels.csv has a zero byte in column 'path'; mend it, or take the row out"
if sys.version_info < (3, 11):  # whose own reader refuses it
    ZERO_BYTE = "row 2 of labels.csv is no CSV: line contains NUL; mend it"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a table in a folder that has ant/0.png to ant/9.png and as many in bee, all different."""
    generator = np.random.default_rng(0)
    for name, label in ROWS:
        (tmp_path / label).mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(tmp_path / name)

    def make(text: str | bytes, name: str = "labels.csv") -> Path:
        content = text if isinstance(text, bytes) else "\n".join(line.strip() for line in text.strip().splitlines()).encode()
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return make


def csv_of(rows: Any, header: str = "path,label") -> str:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)])


def read(table: Path, **options: Any) -> Splits:
    found = image_table(table=table, **{"size": 4, **options})
    assert isinstance(found, Splits)
    return found


def names(splits: Splits, inside: Path) -> dict[str, list[str]]:
    """The files of each split by their names, which its pixels and labels are those of."""
    found = {}
    for name, dataset in splits.by_name.items():
        assert isinstance(dataset, Images)
        assert dataset.paths is not None
        for x, path in zip(dataset.x, dataset.paths, strict=True):
            assert torch.equal(x, torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1))
        found[name] = [os.path.relpath(path, inside) for path in dataset.paths]
    return found


def refusal(table: Path, **options: Any) -> str:
    return message(lambda: read(table, **options)).replace(f"{table.parent}/", "")


PARTS = """
path,label,part
bee/1.png,bee,train
ant/1.png,ant,train
bee/2.png,bee,val
ant/0.png,ant,train
bee/0.png,bee,test
ant/3.png,ant,valid
"""
IN_PARTS = {"train": ["ant/0.png", "ant/1.png", "bee/1.png"], "valid": ["ant/3.png", "bee/2.png"], "test": ["bee/0.png"]}


def test_a_table_says_which_picture_is_what_and_in_which_split(write: Write, tmp_path: Path) -> None:
    splits = read(write(PARTS))
    assert (splits.classes, splits.image_shape) == (("ant", "bee"), (3, 4, 4))
    assert names(splits, tmp_path) == IN_PARTS
    assert splits.train.y.tolist() == [0, 0, 1]  # type: ignore[attr-defined]
    assert splits.valid.y.tolist() == [0, 1]  # type: ignore[attr-defined]
    header, *rows = PARTS.split()
    assert names(read(write("\n".join([header, *reversed(rows)]))), tmp_path) == IN_PARTS


def test_names_in_either_form_of_unicode_are_found(write: Write, tmp_path: Path) -> None:
    apart = "\u1100\u1162\u1106\u1175"  # 개미 as a Mac writes it
    whole = unicodedata.normalize("NFC", apart)
    (tmp_path / "ant").rename(tmp_path / apart)
    rows = [(f"{whole if number % 2 else apart}/{number}.png", whole if number < 5 else apart) for number in range(10)]
    splits = read(write(csv_of([*rows, *((f"bee/{number}.png", "bee") for number in range(10))])))
    assert splits.classes == ("bee", whole)
    assert {os.path.dirname(each) for part in names(splits, tmp_path).values() for each in part} == {"bee", apart}


def test_paths_begin_where_the_table_is_or_at_data_dir(write: Write, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    absolute = PARTS.replace("bee/0.png", str(tmp_path / "bee/0.png"))
    assert names(read(write(absolute, "tables/labels.csv"), data_dir=tmp_path), tmp_path) == IN_PARTS
    above = PARTS.replace("\nant", "\n../ant").replace("\nbee", "\n../bee")
    assert names(read(write(above, "tables/above.csv")), tmp_path) == IN_PARTS


def test_without_a_part_it_is_split_as_a_folder_of_the_same_pictures(write: Write, tmp_path: Path) -> None:
    table = write(csv_of(np.random.default_rng(1).permutation(ROWS)))
    for options in (
        {},
        {"valid_size": 5, "split": "tail"},
        {"test_ratio": 0.3, "valid_ratio": 0.25, "seed": 3, "fraction": 0.6},
        {"test_ratio": 0.2, "split": "tail", "normalize": "stats", "channels": 1, "fit": "pad"},
    ):
        ours, theirs = read(table, **options), image_folder(data_dir=tmp_path, size=4, **options)
        assert ours.classes == theirs.classes
        for name, dataset in theirs.by_name.items():
            found = ours.by_name[name]
            assert isinstance(found, Images)
            assert found.paths == dataset.paths  # type: ignore[attr-defined]
            assert all(torch.equal(one, other) for one, other in zip(found.tensors, dataset.tensors, strict=True))  # type: ignore[attr-defined]
        assert torch.equal(ours.preprocess.mean, theirs.preprocess.mean)


def as_parquet(table: Path, columns: dict[str, Any]) -> Path:
    parquet.write_table(pa.table(columns), table)
    return table


def test_what_spreadsheets_and_data_frames_write_is_read_alike(write: Write, tmp_path: Path) -> None:
    lines = ["note,File ,Class", '"a, b\nc",ant/0.png, 7', "", ",,", '"",bee/0.png,"10 "', ",ant/1.png,7", ",bee/1.png,10", ""]
    columns = {"File": ["ant/0.png", "bee/0.png", "ant/1.png", "bee/1.png"], "Class": ["7", "10", "7", "10"]}
    tables = [
        write("\r\n".join(lines).encode("utf-8-sig")),
        as_parquet(tmp_path / "texts.parquet", columns),
        as_parquet(tmp_path / "numbers.parquet", {**columns, "Class": [7, 10, 7, 10], "note": [0.5, None, 0.5, 0.5]}),
        as_parquet(tmp_path / "named.csv", {**columns, "Class": pa.array(columns["Class"]).dictionary_encode()}),
    ]
    for table in tables:
        splits = read(table, path="File", label="Class", valid_size=2)
        assert splits.classes == ("7", "10")
        assert sorted(itertools.chain(*names(splits, tmp_path).values())) == sorted(columns["File"])
        assert splits.train.y.tolist() == [int("bee" in path) for path in splits.train.paths]  # type: ignore[attr-defined]


def grouped(label: str, at: int) -> str:
    """Bursts of one to four pictures, and one of both classes."""
    return "both" if at == 9 else f"{label}-{(at * 3) // 8}"


@pytest.mark.parametrize("label", ["part", "Group"])
def test_the_label_may_be_in_a_column_that_is_named_as_another_role(write: Write, label: str) -> None:
    rows = [(f"{kind}/{at}.png", wing) for kind, wing in (("ant", "train"), ("bee", "wing")) for at in range(5)]
    splits = read(write(csv_of(rows, f"path,{label}")), label=label)
    assert (splits.classes, len(splits.valid)) == (("train", "wing"), 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("column", ["group", "Group", "camera"])
@pytest.mark.parametrize("cache", ["auto", "off"])
def test_no_group_is_in_two_splits_however_they_are_asked_for(write: Write, column: str, cache: str) -> None:
    rows = [(name, label, grouped(label, int(name[4]))) for name, label in ROWS]
    table = write(csv_of(rows, f"path,label,{column}"))
    given = {} if column.lower() == "group" else {"group": column}
    group_of = {str(table.parent / name): group for name, _, group in rows}
    drawn = set()
    asked: list[tuple[dict[str, Any], int, int]] = [({}, 4, 0), ({"valid_size": 5}, 5, 0), ({"test_ratio": 0.3}, 3, 6)]
    asked.append(({"valid_ratio": 0.3, "fraction": 0.5}, 6, 0))
    for seed, (options, valid, test) in itertools.product(range(4), asked):
        splits = read(table, seed=seed, cache=cache, **given, **options)
        groups = [{group_of[path] for path in each.paths} for each in splits.by_name.values()]  # type: ignore[attr-defined]
        assert not any(one & other for one, other in itertools.combinations(groups, 2))
        assert abs(len(splits.valid) - valid) <= 2  # type: ignore[arg-type]
        assert abs(len(splits.by_name.get("test", ())) - test) <= 2  # type: ignore[arg-type]
        drawn.add((str(options), *splits.valid.paths))  # type: ignore[attr-defined]
    assert len(drawn) > 6  # the seed decides
    alone = read(table, group=None, seed=1)
    assert alone.valid.paths == image_folder(data_dir=table.parent, size=4, seed=1).valid.paths  # type: ignore[attr-defined]


def test_a_given_test_part_stays_and_the_rest_is_parted_by_group(write: Write, tmp_path: Path) -> None:
    rows = [(name, label, "train" if int(name[4]) < 8 else "test", grouped(label, int(name[4]))) for name, label in ROWS]
    rows = [(*row[:3], "ant-test" if row[2] == "test" else row[3]) for row in rows]
    found = names(read(write(csv_of(rows, "path,label,part,group"))), tmp_path)
    assert found["test"] == ["ant/8.png", "ant/9.png", "bee/8.png", "bee/9.png"]
    assert not {grouped(path[:3], int(path[4])) for path in found["train"]} & {
        grouped(path[:3], int(path[4])) for path in found["valid"]
    }


REFUSED = [
    ("", "labels.csv is empty; fetch it again"),
    ("\ufeff\n ,", "labels.csv has no columns; wanted a first row that names them"),
    ("path,label", "labels.csv has no row to train on; wanted at least two labels"),
    ("path,label,part\nant/0.png,ant,test", "labels.csv has no row to train on; wanted at least two labels"),
    ("path,label\nant/0.png,ant\nant/1.png,ant", "labels.csv has one label to train on, 'ant'; wanted at least two labels"),
    (
        "path,label,part\nant/0.png,ant,train\nant/1.png,bee,valid",
        "labels.csv has one label to train on, 'ant'; wanted at least two labels",
    ),
    (
        "file,label,path,path\na,b,c,d",
        "labels.csv has 2 columns 'path'; it has 'file', 'label', 'path' and 'path': say which is the path by -d path=NAME",
    ),
    (
        "path;label\nant/0.png;ant",
        "labels.csv has no column 'path'; it has 'path;label': say which is the path by -d path=NAME",
    ),
    (
        "path,label\nant/0.png,ant\n\nbee/0.png,",
        "row 4 of labels.csv has nothing in column 'label'; mend it, or take the row out",
    ),
    ("path,label\n ,ant", "row 2 of labels.csv has nothing in column 'path'; mend it, or take the row out"),
    ("path,label\na\0b,ant", ZERO_BYTE),
    (
        "path,label,group\nant/0.png,ant,a\nbee/0.png,bee,",
        "row 3 of labels.csv has nothing in column 'group'; mend it, or take the row out",
    ),
    (
        "path,label\nant/0.png,ant\nbee/0.png,bee,4",
        'row 3 of labels.csv has 3 cells; wanted 2, as the header has; a comma in a text needs quotes around it, "like, this"',
    ),
    ('path,label\nant/0.png,ant\n"bee/0.png,bee', "row 3 of labels.csv is no CSV: unexpected end of data; mend it"),
    (
        "path,label\nant/0.png,am\u00e9".encode("latin-1"),
        "labels.csv is not in UTF-8: its byte 23 is e9; save it as CSV in UTF-8",
    ),
    (
        "path,label,part\nant/0.png,ant,Training\nbee/0.png,bee,wing",
        "row 3 of labels.csv has the part 'wing'; wanted train, valid or test; "
        "if the column says something else, ignore it with -d part=none",
    ),
    (
        "path,label,part\nant/0.png,ant,train\nbee/0.png,bee,train\nbee/1.png,be,test",
        "row 4 of labels.csv has the label 'be', which no row of the part train has; mend it, or take the row out",
    ),
    (
        "path,label\nant/0.png,ant\nbee/0.png,bee\n./ant/0.png,bee",
        "rows 2 and 4 of labels.csv list the same picture, ./ant/0.png, as 'ant' and as 'bee'; take one of them out",
    ),
    (
        "path,label\nant/0.png,ant\nbee/0.png,bee\nant/0.png,ant",
        "rows 2 and 4 of labels.csv list the same picture, ant/0.png; take one of them out",
    ),
    (
        "path,label,part,group\nant/0.png,ant,train,p7\nbee/0.png,bee,train,p8\nbee/1.png,bee,val,p8",
        "rows 3 and 4 of labels.csv have the group 'p8' in two parts, train and val; wanted all of a group in one",
    ),
    (
        "path,label\nant/0.png,ant\nbee/0.png,bee\nant,ant\nbee/n\u202eo.png,bee",
        "there is no file for 2 of 4 rows of labels.csv: row 4 (ant) and row 5 (bee/n\\u202eo.png); mend the paths, which "
        "begin at {}, give their folder as --data-dir, or leave these rows out with -d skip_bad=true",
    ),
]


@pytest.mark.parametrize(("text", "wanted"), REFUSED)
def test_a_table_that_cannot_be_is_refused_with_the_row(write: Write, text: str | bytes, wanted: str) -> None:
    table = write(text if isinstance(text, bytes) else text.encode())
    assert refusal(table) == wanted.replace("{}", str(table.parent))


def test_a_table_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert refusal(tmp_path / "pipe.csv") == "pipe.csv is a folder or a device; wanted a file"
    assert refusal(tmp_path / "no.csv") == "there is no file no.csv; check its name and the folder that it is looked for in"


def test_parquet_that_cannot_be_is_refused_with_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "labels.parquet"
    wrong = "wanted text or a whole number"
    for columns, wanted in (
        ({"label": ["c", None]}, "row 2 of labels.parquet has nothing in column 'label'; mend it, or take the row out"),
        ({"label": [0.5, 1]}, f"row 1 of labels.parquet has a float in column 'label'; {wrong}"),
        ({"path": [b"a", b"b"]}, f"row 1 of labels.parquet has a bytes in column 'path'; {wrong}"),
    ):
        assert refusal(as_parquet(table, {"path": ["a", "b"], "label": ["c", "d"], **columns})) == wanted
    assert refusal(as_parquet(table, {})) == "labels.parquet has no columns; wanted a first row that names them"
    as_parquet(table, {"path": ["a"] * 99, "label": ["b"] * 99})
    content = table.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    table.write_bytes(content[:footer] + content[footer:].replace(b"\xc6\x01", b"\xc8\x01", 1))  # twice 99, and 100
    assert refusal(table) == (
        "labels.parquet is no Parquet file that can be read: it promises 100 rows and has 99; write it again"
    )
    table.write_bytes(content[:-9])
    assert refusal(table).startswith("labels.parquet is no Parquet file that can be read: ")
    assert "\n" not in refusal(table)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert message(lambda: read(table), ConfigurationError) == (
        f"reading {table} needs the package pyarrow; pip install 'tinyclsf[parquet]'"
    )


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_rows_without_a_picture_are_left_out_if_asked_for(write: Write, tmp_path: Path, cache: str) -> None:
    table = write(PARTS + "ant/10.png,ant,train\nbee/9.png,bee,train")
    (tmp_path / "bee/9.png").write_bytes(b"text")
    with pytest.warns(DataWarning) as caught:
        splits = read(table, skip_bad=True, cache=cache)
    assert {name: len(dataset.paths) for name, dataset in splits.by_name.items()} == {"train": 3, "valid": 2, "test": 1}  # type: ignore[attr-defined]
    assert [str(each.message) for each in caught] == [
        f"2 of 8 pictures cannot be read and are left out: {tmp_path}/ant/10.png (no such file or directory) and "
        f"{tmp_path}/bee/9.png (not a picture, or broken from its first bytes on)"
    ]


def test_options_that_do_not_fit_the_table_are_refused(write: Write, tmp_path: Path) -> None:
    table = write(PARTS)
    another = "asks for another split; leave"
    for options, wanted in (
        ({"valid_size": 1}, f"to validate with, and valid_ratio, valid_size or split {another} those options out"),
        ({"test_ratio": 0.5}, f"to test with, and test_ratio {another} that option out"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            read(table, **options)
        assert str(refused.value) == f"{table} has rows {wanted}, or leave the column out with -d part=none"
        assert len(read(table, part=None, **{"valid_size": 1, **options}).by_name) == 2 + ("test_ratio" in options)
    for role, name in (("group", "patient"), ("part", "group"), ("label", "class")):
        assert refusal(table, **{role: name}) == (
            f"labels.csv has no column '{name}'; it has 'path', 'label' and 'part': say which is the {role} by -d {role}=NAME"
        )
    groups = write(csv_of([(*row, row[0]) for row in ROWS], "path,label,group"))
    assert message(lambda: read(groups, split="tail"), ConfigurationError) == (
        "split=tail takes the last pictures of each class, whatever their groups; leave it out, or give -d group=none"
    )
    last = names(read(groups, split="tail", group=None), tmp_path)["valid"]
    assert last == ["ant/8.png", "ant/9.png", "bee/8.png", "bee/9.png"]


def test_a_run_on_a_table_is_told_resumed_and_written_as_a_script(write: Write, cli: Cli, tmp_path: Path) -> None:
    rows = [(name, label, name[:5]) for name, label in ROWS]
    write(csv_of(rows, "path,label,group"))
    words = ("--data", "image-table", "-d", "table=labels.csv", "-d", "size=4")
    assert cli("fit", "linear", *words, "-d", "test_ratio=0.2", "--epochs", "1", "--run", "first").code == 0
    assert cli("fit", "--resume", "first", "--epochs", "2").code == 0
    assert cli("evaluate", "first", "--json").document["images"] == 4
    assert cli("script", "first", "--out", "train.py").code == 0
    write(csv_of([(*row[:2], "all") for row in rows], "path,label,group"))
    result = cli("fit", "linear", *words)
    assert (result.code, result.out) == (3, "")
    assert result.err.splitlines()[-1].startswith("error: no group can be set aside, as each has all the pictures of a class; ")
    tip = cli("fit", "linear", "--data", "image-table", "-d", "table=labels.csv", "-d", "group=groop")
    assert tip.err.splitlines()[-1] == "tip: did you mean 'group'?"
