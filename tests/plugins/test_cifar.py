"""CIFAR-10 and CIFAR-100 from their pickled batches: as Python 2 and 3 write them, against torchvision, hostile and broken."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.support.commands import Cli
from tests.support.forking import Forks
from tests.support.messages import message
from tests.support.resources import with_peak
from tinyclsf.errors import DataError
from tinyclsf.plugin import Images, Splits
from tinyclsf_plugins.datasets.cifar10 import cifar10
from tinyclsf_plugins.datasets.cifar100 import cifar100
from tinyclsf_plugins.datasets.cifar_batches import read_batches, read_names
from tinyclsf_plugins.datasets.numpy_pickle import parse_pickled_dictionary

Batch = dict[str, Any]

TEN = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MINUS_ONE = b"J\xff\xff\xff\xff"


def python2(batch: Batch) -> bytes:
    """The bytes that Python 2's cPickle writes for such a dictionary under protocol 2."""
    memo = iter(range(1, 1 << 31))

    def put() -> bytes:
        at = next(memo)
        return b"q" + bytes([at]) if at < 256 else b"r" + struct.pack("<I", at)

    def integer(n: int) -> bytes:
        return b"K" + bytes([n]) if 0 <= n < 256 else b"M" + struct.pack("<H", n) if 0 <= n < 1 << 16 else long_integer(n)

    def string(data: bytes) -> bytes:
        return b"U" + bytes([len(data)]) + data if len(data) < 256 else b"T" + struct.pack("<i", len(data)) + data

    def array(given: NDArray[Any]) -> bytes:
        fortran = not given.flags.c_contiguous
        head = b"cnumpy.core.multiarray\n_reconstruct\n" + put() + b"cnumpy\nndarray\n" + put() + b"K\0\x85" + put() + b"U\1b"
        shape = b"".join(integer(n) for n in given.shape) + b"\x86" + put()
        dtype = b"cnumpy\ndtype\n" + put() + b"U\2u1" + put() + b"K\0K\1\x87" + put() + b"R" + put() + b"(K\3U\1|" + put()
        state = dtype + b"NNN" + 2 * MINUS_ONE + b"K\0t" + put() + b"b" + (b"\x88" if fortran else b"\x89")
        data = string(given.tobytes("F" if fortran else "C")) + put()
        return head + put() + b"\x87" + put() + b"R" + put() + b"(K\1" + shape + state + data + b"t" + put() + b"b"

    def value(given: Any) -> bytes:
        if isinstance(given, np.ndarray):
            return array(given)
        if isinstance(given, list):
            whole = b"]" + put()
            for at in range(0, len(given), 1000):
                whole += b"(" + b"".join(value(each) for each in given[at : at + 1000]) + b"e"
            return whole
        return integer(given) if isinstance(given, int) else string(given.encode()) + put()

    return b"\x80\2}" + put() + b"(" + b"".join(value(key) + value(each) for key, each in batch.items()) + b"u."


def long_integer(n: int) -> bytes:
    data = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def as_bytes(value: Any) -> Any:
    """A batch as `pickle.load(file, encoding="bytes")` gives it."""
    if isinstance(value, dict):
        return {as_bytes(key): as_bytes(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_bytes(each) for each in value]
    return value.encode() if isinstance(value, str) else value


def python3(protocol: int, change: Callable[[Batch], Any] = lambda batch: batch) -> Callable[[Batch], bytes]:
    return lambda batch: pickle.dumps(change(batch), protocol)


WRITERS: dict[str, Callable[[Batch], bytes]] = {
    "Python 2": python2,
    "Python 2, columns first": lambda batch: python2(
        {key: np.asfortranarray(each) if isinstance(each, np.ndarray) else each for key, each in batch.items()}
    ),
    **{f"protocol {n}": python3(n) for n in (2, 3, 4, 5)},
    **{f"protocol {n} with bytes": python3(n, as_bytes) for n in (2, 3, 4, 5)},
}


def batch_of(rows: int, seed: int, **classes: int) -> Batch:
    """Random images with random labels under each key that is given, below the number that is given for it."""
    generator = np.random.default_rng(seed)
    found: Batch = {"batch_label": f"training batch {seed} of 5"}
    found |= {key: generator.integers(0, count, rows).tolist() for key, count in classes.items()}
    found["data"] = generator.integers(0, 256, (rows, 3072)).astype(np.uint8)
    return {**found, "filenames": [f"thing_s_{seed:06d}_{at}.png" for at in range(rows)]}


def ten(folder: Path, write: Callable[[Batch], bytes] = python2, rows: tuple[int, ...] = (3, 1, 2, 4, 5, 3)) -> Path:
    """A folder with small batches of CIFAR-10 in its layout; it returns the folder of the batches."""
    batches = folder / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for seed, (name, count) in enumerate(zip(names, rows, strict=True), 1):
        (batches / name).write_bytes(write(batch_of(count, seed, labels=10)))
    (batches / "batches.meta").write_bytes(write({"num_cases_per_batch": 10000, "label_names": TEN, "num_vis": 3072}))
    return batches


def hundred(folder: Path, write: Callable[[Batch], bytes] = python2) -> Path:
    batches = folder / "cifar-100-python"
    batches.mkdir(parents=True)
    for seed, (name, count) in enumerate({"train": 9, "test": 4}.items(), 1):
        (batches / name).write_bytes(write(batch_of(count, seed, fine_labels=100, coarse_labels=20)))
    meta = {"fine_label_names": [f"fine {n}" for n in range(100)], "coarse_label_names": [f"coarse {n}" for n in range(20)]}
    (batches / "meta").write_bytes(write(meta))
    return batches


def reference(monkeypatch: pytest.MonkeyPatch, name: str, root: Path, train: bool) -> Any:
    """torchvision's own reader of the small files, told their checksums."""
    from torchvision import datasets  # type: ignore[import-untyped]

    def sums(files: list[str]) -> list[list[str]]:
        return [[file, hashlib.md5((root / cls.base_folder / file).read_bytes()).hexdigest()] for file in files]

    cls = getattr(datasets, name)
    monkeypatch.setattr(cls, "train_list", sums([file for file, _ in cls.train_list]))
    monkeypatch.setattr(cls, "test_list", sums([file for file, _ in cls.test_list]))
    monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": sums([cls.meta["filename"]])[0][1]})
    return cls(root, train=train)


def whole(splits: Splits) -> tuple[Images, Images]:
    """The training file's images in its order, and the test images."""
    assert isinstance(splits.train, Images)
    assert isinstance(splits.valid, Images)
    assert isinstance(splits.test, Images)
    both = Images(torch.cat([splits.train.x, splits.valid.x]), torch.cat([splits.train.y, splits.valid.y]))
    return both, splits.test


@pytest.mark.parametrize("writer", WRITERS)
def test_cifar10_equals_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str) -> None:
    ten(tmp_path / "found", WRITERS[writer])
    ten(tmp_path / "reference")
    splits = cifar10(data_dir=tmp_path / "found", split="tail")
    for train, found in zip((True, False), whole(splits), strict=True):
        wanted = reference(monkeypatch, "CIFAR10", tmp_path / "reference", train)
        assert torch.equal(found.x.permute(0, 2, 3, 1), torch.from_numpy(wanted.data))
        assert found.y.tolist() == wanted.targets
        assert list(splits.classes) == wanted.classes
    assert splits.image_shape == (3, 32, 32)


# So few images that the last ones have classes of their own.
@pytest.mark.filterwarnings("ignore::tinyclsf.errors.DataWarning")
@pytest.mark.parametrize("writer", ["Python 2", "protocol 5 with bytes"])
def test_cifar100_equals_torchvision_in_fine_classes_and_its_batches_in_coarse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    batches = hundred(tmp_path / "found", WRITERS[writer])
    hundred(tmp_path / "reference")
    fine = cifar100(data_dir=tmp_path / "found", split="tail")
    coarse = cifar100(data_dir=tmp_path / "found", split="tail", labels="coarse")
    for train, found, other in zip((True, False), whole(fine), whole(coarse), strict=True):
        wanted = reference(monkeypatch, "CIFAR100", tmp_path / "reference", train)
        assert torch.equal(found.x.permute(0, 2, 3, 1), torch.from_numpy(wanted.data))
        assert torch.equal(other.x, found.x)
        assert found.y.tolist() == wanted.targets
        assert list(fine.classes) == wanted.classes
        raw = as_bytes(pickle.loads((batches / ("train" if train else "test")).read_bytes(), encoding="bytes"))
        assert other.y.tolist() == raw[b"coarse_labels"]
    assert coarse.classes == tuple(f"coarse {n}" for n in range(20))


def test_the_options_that_sets_share_reach_the_network(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ten(tmp_path, rows=(20, 20, 20, 20, 20, 3))
    options = ["normalize=half", "valid_ratio=0.2", "split=tail", "fraction=0.5"]
    splits = cifar10(data_dir=tmp_path, normalize="half", valid_ratio=0.2, split="tail", fraction=0.5)
    wanted = reference(monkeypatch, "CIFAR10", tmp_path, True)
    x, y = torch.from_numpy(wanted.data).permute(0, 3, 1, 2), torch.tensor(wanted.targets)
    assert isinstance(splits.train, Images)
    assert isinstance(splits.valid, Images)
    assert torch.equal(splits.valid.x, x[80:])
    assert torch.equal(splits.valid.y, y[80:])
    each = min(int(0.5 * 80 / 10), int(y[:80].bincount().min()))
    assert splits.train.y.bincount().tolist() == [each] * 10
    rows = [int((x[:80] == image).flatten(1).all(1).nonzero()) for image in splits.train.x]
    assert rows == sorted(rows)
    torch.testing.assert_close(splits.preprocess(splits.train.x), x[rows].float() / 127.5 - 1)
    given = [word for option in options for word in ("-d", option)]
    result = cli("fit", "mnist-logistic", "--data", "cifar10", "--data-dir", str(tmp_path), *given, "--epochs", "1", "--json")
    assert result.code == 0, result.err
    assert f"{10 * each} train, 20 valid, 3 test; 10 classes; 3x32x32" in result.err


def test_neither_torchvision_nor_pickle_is_asked(forks: Forks, tmp_path: Path) -> None:
    ten(tmp_path)
    code = (
        "import pickle, sys; from pathlib import Path; from tinyclsf_plugins.datasets.cifar10 import cifar10\n"
        "pickle.load = pickle.loads = pickle.Unpickler = None\n"
        "cifar10(data_dir=Path(sys.argv[1])); print('torchvision' in sys.modules)"
    )
    assert forks.run(tmp_path, str(tmp_path), code=code) == (0, "False\n", "")


@pytest.mark.parametrize("rows", [(2000,), (500, 500, 500, 500)], ids=["one file", "four files"])
def test_reading_takes_little_memory_beyond_the_images(tmp_path: Path, rows: tuple[int, ...]) -> None:
    paths = [tmp_path / f"batch {at}" for at in range(len(rows))]
    for path, count in zip(paths, rows, strict=True):
        path.write_bytes(python2(batch_of(count, 1, labels=10)))
    images, peak = with_peak(lambda: read_batches(paths, "labels", 10))  # without the images, which PyTorch holds
    assert images.x.is_contiguous()
    assert images.x.untyped_storage().nbytes() + peak < 1.2 * images.x.nbytes


def live(path: Path) -> bytes:
    """A batch that makes a folder where `pickle` loads it."""
    text = os.fsencode(path)
    call = b"cos\nmkdir\nX" + struct.pack("<I", len(text)) + text + b"\x85R"
    return python2({"labels": [1]})[:-2] + b"U\4data" + call + b"u."


@pytest.mark.parametrize("file", ["data_batch_2", "test_batch", "batches.meta"])
def test_a_batch_that_runs_code_is_refused_and_runs_nothing(tmp_path: Path, file: str) -> None:
    path, target = ten(tmp_path) / file, tmp_path / "target"
    path.write_bytes(live(target))
    assert message(lambda: cifar10(data_dir=tmp_path)) == (
        f"{path} asks for 'os.mkdir'; wanted a dictionary of number arrays, whole numbers, texts and lists of those two and "
        "nothing else; nothing in it was run; fetch it again from a source you trust"
    )
    assert not target.exists()
    pickle.loads(path.read_bytes())
    assert target.exists()


def refusal(content: bytes) -> str:
    """What the reader found, without the rest of its sentence, which is the same for all."""
    found = message(lambda: parse_pickled_dictionary(memoryview(content), "FILE"))
    start, end = (
        "FILE ",
        (
            "; wanted a dictionary of number arrays, whole numbers, texts and lists of those two and nothing else; "
            "nothing in it was run; fetch it again from a source you trust"
        ),
    )
    assert found.startswith(start)
    assert found.endswith(end)
    return found.removeprefix(start).removesuffix(end)


WORD = "has something else where a word is wanted"
FORGED = {
    "a list": (b"](K\1e", "holds something that is not a dictionary"),
    "an array without state": (b"}U\1acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87Rs", WORD),
    "None": (b"}U\1aNs", WORD),
    "a truth value": (b"}U\1a\x88s", WORD),
    "a tuple": (b"}U\1a)s", WORD),
    "a name": (b"}U\1acnumpy\nndarray\ns", WORD),
    "a number of 65 bits": (b"}U\1a\x8a\x09" + bytes(8) + b"\1s", WORD),
    "a long text": (b"}U\1aT" + struct.pack("<i", 257) + bytes(257) + b"s", WORD),
    "a dictionary in a dictionary": (b"}U\1a}s", WORD),
    "a dictionary that holds itself": (b"}q\0U\1ah\0s", WORD),
    "a list in a list": (b"}U\1a](]es", WORD),
    "a list that holds itself": (b"}U\1a]q\0h\0as", WORD),
    "a number as key": (b"}K\1K\1s", WORD),
    "a tuple as key": (b"})K\1s", WORD),
    "a dictionary as key": (b"}}K\1s", WORD),
    "a key without a value": (b"}(U\1au", "sets items of something that is not a dictionary"),
    "items of a list": (b"](U\1aK\1u", "sets items of something that is not a dictionary"),
    "an item of nothing": (b"U\1aK\1s", "takes a value where there is none"),
    "items without a mark": (b"}U\1aK\1u", "takes a mark where there is none"),
    "a dictionary as state": (b"}}b", "sets a state that no array of numbers has"),
    "17 keys": (
        b"}(" + b"".join(b"U\1" + bytes([97 + n]) + b"K\1" for n in range(17)) + b"u",
        "has a dictionary of more than 16 keys",
    ),
    "a long list under 16 keys": (
        b"}(U\1a](" + b"K\1" * 1000 + b"eq\0" + b"".join(b"U\1" + bytes([98 + n]) + b"h\0" for n in range(15)) + b"u",
        "holds the same list many times",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_whatever_no_batch_has_is_refused(name: str) -> None:
    content, expected = FORGED[name]
    assert refusal(b"\x80\2" + content + b".") == expected


def test_more_than_a_million_opcodes_are_refused() -> None:
    assert refusal(b"\x80\2" + b"N" * 1_000_000) == "has more than 1,000,000 opcodes"


@pytest.mark.parametrize("writer", ["Python 2", "protocol 2 with bytes", "protocol 5"])
def test_cut_anywhere_or_with_any_byte_flipped_a_batch_is_refused_or_still_plain_data(writer: str) -> None:
    batch = {**batch_of(2, 1, labels=10), "data": np.arange(6, dtype=np.uint8).reshape(2, 3)}
    content = WRITERS[writer](batch)
    assert parse_pickled_dictionary(memoryview(content), "FILE")["labels"] == batch["labels"]
    for size in range(len(content)):
        with pytest.raises(DataError):
            parse_pickled_dictionary(memoryview(content[:size]), "FILE")
    refused = 0
    for at in range(len(content)):
        for value in {content[at] ^ 1, content[at] ^ 0x80, *b".Rsu"} - {content[at]}:
            try:
                found = parse_pickled_dictionary(memoryview(content[:at] + bytes([value]) + content[at + 1 :]), "FILE")
            except DataError:
                refused += 1
            else:
                assert all(type(key) is str and plain(each) for key, each in found.items())
    assert refused > len(content)


def plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(type(each) in (int, str) for each in value)
    return type(value) in (int, str) or (type(value) is np.ndarray and value.dtype.kind in "iuf")


GOOD = batch_of(3, 1, labels=10)
IMAGES = "wanted uint8 of shape (n, 3072); fetch it again"
LABELS = "wanted a list of whole numbers; fetch it again"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data": None}, f"{{}} has nothing under 'data'; {IMAGES}"),
        ({"data": [1, 2]}, f"{{}} has a list under 'data'; {IMAGES}"),
        ({"data": GOOD["data"][:, 1:]}, f"{{}} has uint8 of shape (3, 3071) under 'data'; {IMAGES}"),
        ({"data": GOOD["data"].astype("i1")}, f"{{}} has int8 of shape (3, 3072) under 'data'; {IMAGES}"),
        ({"data": GOOD["data"].reshape(3, 3, 1024)}, f"{{}} has uint8 of shape (3, 3, 1024) under 'data'; {IMAGES}"),
        ({"labels": None}, f"{{}} has nothing under 'labels'; {LABELS}"),
        ({"labels": "012"}, f"{{}} has a str under 'labels'; {LABELS}"),
        ({"labels": ["0", "1", "2"]}, f"{{}} has a list under 'labels'; {LABELS}"),
        ({"labels": np.zeros(3, np.float32)}, f"{{}} has float32 of shape (3,) under 'labels'; {LABELS}"),
        ({"labels": [0, 1]}, "{} has 3 images and 2 labels under 'labels'; fetch it again"),
        ({"labels": [0, 10, 11]}, "label 1 of {} is 10; wanted 0 to 9; fetch it again"),
        ({"labels": [0, 1, -1]}, "label 2 of {} is -1; wanted 0 to 9; fetch it again"),
    ],
)
def test_images_and_labels_that_do_not_belong_together_are_named(tmp_path: Path, changes: Batch, expected: str) -> None:
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({key: each for key, each in {**GOOD, **changes}.items() if each is not None}, 2))
    assert message(lambda: read_batches([path], "labels", 10)) == expected.format(path)


def test_labels_may_be_an_array(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({**GOOD, "labels": np.array(GOOD["labels"], ">u2")}, 4))
    images = read_batches([path], "labels", 10)
    assert images.y.tolist() == GOOD["labels"]
    assert images.y.dtype == torch.int64


@pytest.mark.parametrize("value", [{}, {"label_names": []}, {"label_names": [1, 2]}, {"label_names": "ten"}])
def test_a_meta_file_without_names_is_named(tmp_path: Path, value: Batch) -> None:
    path = tmp_path / "meta"
    path.write_bytes(pickle.dumps(value, 2))
    expected = f"{path} has no list of class names under 'label_names'; fetch it again"
    assert message(lambda: read_names(path, "label_names")) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "{} is empty; fetch it again"),
        (b"<!DOCTYPE html>", "{} is a web page (HTML or XML), not data; fetch it again from another address"),
        (gzip.compress(python2(GOOD), mtime=0), "{} is gzipped; unpack it, or delete it to have it downloaded"),
    ],
    ids=["empty", "web page", "gzip"],
)
def test_a_file_that_is_no_batch_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = ten(tmp_path) / "data_batch_4"
    path.write_bytes(content)
    assert message(lambda: cifar10(data_dir=tmp_path)) == expected.format(path)


def test_a_file_larger_than_the_limit_takes_no_memory(tmp_path: Path) -> None:
    path = ten(tmp_path) / "data_batch_4"
    path.write_bytes(b"\x80\2")
    os.truncate(path, (1 << 30) + 1)
    expected = f"{path} has 1,073,741,825 bytes, and at most 1,073,741,824 are read; fetch the real file again"
    assert message(lambda: cifar10(data_dir=tmp_path)) == expected
