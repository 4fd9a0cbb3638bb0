"""The tutorial's pickled MNIST: as Python 2 and 3 write it, hostile, forged, cut and flipped."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.support.messages import message
from tests.support.resources import with_peak
from tinyclsf.errors import DataError
from tinyclsf.plugin import Images, Splits
from tinyclsf_plugins.datasets import mnist_pickle as mnist_pickle_module
from tinyclsf_plugins.datasets.mnist_pickle import mnist_pickle
from tinyclsf_plugins.datasets.numpy_pickle import parse_numpy_pickle

Parts = tuple[tuple[NDArray[Any], NDArray[Any]], ...]

MINUS_ONE = b"J\xff\xff\xff\xff"
RECONSTRUCTED = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R"
FLOAT = b"cnumpy\ndtype\nU\x02f4K\0K\x01\x87R(K\x03U\x01<NNN" + 2 * MINUS_ONE + b"K\0tb"


def parts(width: int = 784, number: str = "<f4") -> Parts:
    """7, 5 and 3 rows of pixels in 0..1, with labels in 0..9."""
    generator = np.random.default_rng(0)
    return tuple((generator.random((rows, width)).astype(number), generator.integers(0, 10, rows)) for rows in (7, 5, 3))


def python2(
    value: Parts, integer: Callable[[int], bytes] = lambda n: b"K" + bytes([n]) if n < 256 else b"M" + struct.pack("<H", n)
) -> bytes:
    """The bytes that Python 2's cPickle writes for such parts under protocol 2."""
    memo = iter(range(5, 256))

    def put() -> bytes:
        return b"q" + bytes([next(memo)])

    def array(given: NDArray[Any], first: bool) -> bytes:
        names = (
            b"cnumpy.core.multiarray\n_reconstruct\nq\1cnumpy\nndarray\nq\2K\0\x85q\3U\1b\x87R"
            if first
            else b"h\1h\2h\3U\1b\x87R"
        )
        shape = b"".join(integer(n) for n in given.shape) + {1: b"\x85", 2: b"\x86"}[given.ndim]
        dtype = (b"cnumpy\ndtype\nq\4" if first else b"h\4") + b"U\2" + given.dtype.str[1:].encode() + put() + b"K\0K\1\x87R"
        state = b"(K\3U\1<NNN" + 2 * MINUS_ONE + b"K\0t" + put() + b"b\x89"
        data = given.tobytes()
        string = b"U" + bytes([len(data)]) + data if len(data) < 256 else b"T" + struct.pack("<i", len(data)) + data
        return names + put() + b"(K\1" + shape + put() + dtype + put() + state + string + put() + b"t" + put() + b"b"

    pairs = [array(x, first=at == 0) + array(y, first=False) + b"\x86" + put() for at, (x, y) in enumerate(value)]
    return b"\x80\2" + b"".join(pairs) + b"\x87" + put() + b"."


def long_integer(n: int) -> bytes:
    """LONG1, as Python 2 writes shapes on a machine whose C long is short."""
    data = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


WRITERS: dict[str, Callable[[Parts], bytes]] = {
    "protocol 2": lambda value: pickle.dumps(value, 2),
    "protocol 3": lambda value: pickle.dumps(value, 3),
    "protocol 4": lambda value: pickle.dumps(value, 4),
    "protocol 5": lambda value: pickle.dumps(value, 5),
    "Python 2": python2,
    "Python 2 with longs": lambda value: python2(value, long_integer),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes its one file."""
    return tmp_path / "mnist.pkl.gz"


def refusal(content: bytes) -> str:
    """What the reader found, without the rest of its sentence, which is the same for all."""
    whole = message(lambda: parse_numpy_pickle(content, "FILE"))
    end = "; wanted tuples of number arrays and nothing else; nothing in it was run; fetch it again from a source you trust"
    assert whole.startswith("FILE ")
    assert whole.endswith(end)
    return whole.removeprefix("FILE ").removesuffix(end)


def only_arrays(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(only_arrays(each) for each in value)
    return type(value) is np.ndarray and value.dtype.kind in "iuf" and value.flags.owndata and value.flags.writeable


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("writer", WRITERS)
def test_each_writer_loads_as_pickle_would_load_it(file: Path, writer: str, zipped: bool) -> None:
    content = WRITERS[writer](parts())
    file.write_bytes(gzip.compress(content) if zipped else content)
    splits: Splits = mnist_pickle(path=file)
    reference = pickle.loads(content, encoding="latin-1")
    assert splits.image_shape == (1, 28, 28)
    assert splits.classes == tuple("0123456789")
    assert splits.white == 255 / 256  # as the tutorial's file has pixel / 256
    for part, (x, y) in zip((splits.train, splits.valid, splits.test), reference, strict=True):
        assert isinstance(part, Images)
        assert part.x.dtype == torch.float32
        assert torch.equal(part.x, torch.from_numpy(x).reshape(-1, 1, 28, 28))
        assert torch.equal(part.y, torch.from_numpy(y))
        assert torch.equal(splits.preprocess(part.x), part.x)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("number", ["i1", "u1", "<i2", ">u4", "<u8", "<f2", ">f4", ">f8"])
def test_each_number_type_order_and_nesting(number: str, protocol: int) -> None:
    array = (np.arange(24) * 5).astype(number).reshape(4, 3, 2)
    value = [array, array.T, array[::2]], (np.asfortranarray(array[:, :, 0]), array[0, 0])
    found = parse_numpy_pickle(pickle.dumps(value, protocol), "FILE")
    assert only_arrays(found)
    assert [type(found), type(found[0]), type(found[1])] == [tuple, list, tuple]
    for one, other in zip([*found[0], *found[1]], [*value[0], *value[1]], strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype.newbyteorder("=")


def on_path(code: bytes, arguments: bytes = b"") -> Callable[[bytes], bytes]:
    """A pickle with a text in its middle, which the test makes a path."""
    return lambda path: b"\x80\2" + code + b"X" + struct.pack("<I", len(path)) + path + arguments


# Each makes a file or a folder where `pickle` runs it.
LIVE = {
    "GLOBAL, REDUCE": (on_path(b"cos\nmkdir\n", b"\x85R."), "asks for 'os.mkdir'"),
    "STACK_GLOBAL": (on_path(b"\x8c\2os\x8c\5mkdir\x93", b"\x85R."), "asks for 'os.mkdir'"),
    "INST": (on_path(b"(", b"ios\nmkdir\n."), "uses pickle opcode 0x69"),
    "OBJ": (on_path(b"(cos\nmkdir\n", b"o."), "asks for 'os.mkdir'"),
    "NEWOBJ": (on_path(b"cnumpy\nmemmap\n(", b"U\2u1U\2w+K\0K\1\x85t\x81."), "asks for 'numpy.memmap'"),
    "NEWOBJ_EX": (on_path(b"cnumpy\nmemmap\n(", b"U\2u1U\2w+K\0K\1\x85t}\x92."), "asks for 'numpy.memmap'"),
    "in a list": (on_path(b"](" + RECONSTRUCTED + b"cos\nmkdir\n", b"\x85Re."), "asks for 'os.mkdir'"),
}


@pytest.mark.parametrize("name", LIVE)
def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path: Path, file: Path, name: str) -> None:
    payload, expected = LIVE[name]
    target = tmp_path / "target"
    file.write_bytes(payload(os.fsencode(target)))
    assert message(lambda: mnist_pickle(path=file)) == (
        f"{file} {expected}; wanted tuples of number arrays and nothing else; nothing in it was run; "
        "fetch it again from a source you trust"
    )
    assert not target.exists()
    pickle.loads(file.read_bytes(), encoding="latin-1")
    assert target.exists()


def array_of(
    *,
    dtype: bytes = FLOAT,
    shape: bytes = b"K\2\x85",
    data: bytes = b"U\x08" + bytes(8),
    start: bytes = RECONSTRUCTED,
    version: bytes = b"K\1",
    fortran: bytes = b"\x89",
) -> bytes:
    """A pickled array of two float32, or one that is forged in the places that are given."""
    return start + b"(" + version + shape + dtype + fortran + data + b"tb"


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


HUGE = b"\x8a\x05" + (1 << 33).to_bytes(5, "little")
FORGED = {
    "object dtype": (array_of(dtype=FLOAT.replace(b"U\2f4", b"U\2O8")), "has an array of type 'O8'"),
    "object dtype with flags 0": (
        array_of(dtype=FLOAT.replace(b"U\2f4", b"U\2O8").replace(b"U\1<", b"U\1|"), shape=b"K\1\x85"),
        "has an array of type 'O8'",
    ),
    "dtype of text": (array_of(dtype=FLOAT.replace(b"U\2f4", b"U\5a\x1b[2J")), r"has an array of type 'a\x1b[2J'"),
    "float of one byte": (array_of(dtype=FLOAT.replace(b"U\2f4", b"U\2f1")), "has an array of type 'f1'"),
    "dtype with flags": (array_of(dtype=FLOAT.replace(b"K\0tb", b"K\x3ftb")), "sets a state that no array of numbers has"),
    "dtype with fields": (array_of(dtype=FLOAT.replace(b"NNN", b"NU\1a\x85N")), "sets a state that no array of numbers has"),
    "dtype with a dictionary of fields": (
        array_of(dtype=FLOAT.replace(b"NNN", b"N}N")),
        "sets a state that no array of numbers has",
    ),
    "a dictionary": (b"}", "holds something that is not an array"),
    "a dictionary that holds itself": (b"}q\0U\1ah\0s", "holds something that is not an array"),
    "dtype with size": (array_of(dtype=FLOAT.replace(MINUS_ONE, b"J\0\0\0\x40")), "sets a state that no array of numbers has"),
    "dtype of version 4": (array_of(dtype=FLOAT.replace(b"(K\3", b"(K\4")), "sets a state that no array of numbers has"),
    "dtype without order": (array_of(dtype=FLOAT.replace(b"U\1<", b"U\1|")), "sets a state that no array of numbers has"),
    "dtype without state": (
        array_of(dtype=b"cnumpy\ndtype\nU\2f4K\0K\1\x87R"),
        "has an array without a number type or without bytes",
    ),
    "dtype with metadata": (
        array_of(dtype=b"cnumpy\ndtype\n(U\2f4K\0K\1NtR"),
        "calls numpy.dtype with arguments that no array of numbers has",
    ),
    "dtype that is a list": (array_of(dtype=b"cnumpy\ndtype\n]K\0K\1\x87R"), "has something else where a word is wanted"),
    "no dtype": (array_of(dtype=b"N"), "has an array without a number type or without bytes"),
    "huge _reconstruct": (
        array_of(start=RECONSTRUCTED.replace(b"K\0\x85", HUGE + b"\x85")),
        "calls numpy.core.multiarray._reconstruct with arguments that no array of numbers has",
    ),
    "_reconstruct of another class": (
        array_of(start=RECONSTRUCTED.replace(b"numpy\nndarray", b"numpy\ndtype")),
        "calls numpy.core.multiarray._reconstruct with arguments that no array of numbers has",
    ),
    "huge shape": (array_of(shape=HUGE + HUGE + b"\x86"), "has an array that is empty or larger than its bytes"),
    "empty and huge shape": (
        array_of(shape=b"K\0" + HUGE + b"\x86", data=b"U\0"),
        "has an array that is empty or larger than its bytes",
    ),
    "negative shape": (array_of(shape=MINUS_ONE + MINUS_ONE + b"\x86"), "has an array that is empty or larger than its bytes"),
    "shape of booleans": (array_of(shape=b"\x88K\2\x86"), "has an array that is empty or larger than its bytes"),
    "shape that is a list": (array_of(shape=b"](K\2e"), "has an array without a shape"),
    "no dimension": (array_of(shape=b")", data=b"U\4" + bytes(4)), "has an array without a shape"),
    "five dimensions": (array_of(shape=b"(K\1K\1K\1K\1K\2t"), "has an array without a shape"),
    "a byte too few": (array_of(data=b"U\7" + bytes(7)), "has an array of 7 bytes where its shape wants 8"),
    "a byte too many": (array_of(data=b"U\x09" + bytes(9)), "has an array of 9 bytes where its shape wants 8"),
    "data that is a list": (array_of(data=b"]"), "has an array without a number type or without bytes"),
    "data that is text": (array_of(data=text("12345678")), "has an array without a number type or without bytes"),
    "state of version 2": (array_of(version=b"K\2"), "sets a state that no array of numbers has"),
    "state set twice": (
        array_of() + b"(K\1K\2\x85" + FLOAT + b"\x89U\x08" + bytes(8) + b"tb",
        "sets a state that no array of numbers has",
    ),
    "state of a list": (b"])b", "sets a state that no array of numbers has"),
    "array without state": (RECONSTRUCTED, "holds something that is not an array"),
    "a name": (b"cnumpy\nndarray\n", "holds something that is not an array"),
    "a number": (b"K\1", "holds something that is not an array"),
    "calling a number": (b"K\1)R", "calls something that is not a function"),
    "calling a class": (
        b"cnumpy\nndarray\n" + HUGE + b"\x85R",
        "calls numpy.ndarray with arguments that no array of numbers has",
    ),
    "encoding with another codec": (
        b"c_codecs\nencode\n" + text("a") + text("zip") + b"\x86R",
        "calls _codecs.encode with arguments that no array of numbers has",
    ),
    "name with escapes": (b"cos\n\x1b[2Jsystem\n", r"asks for 'os.\x1b[2Jsystem'"),
    "name without an end": (b"c" + b"a" * 300, "has a name without an end"),
    "name that is a number": (b"K\1K\2\x93", "has something else where a word is wanted"),
    "text outside Latin-1": (text("\u0416"), "has text outside Latin-1"),
    "PERSID": (b"Pname\n", "uses pickle opcode 0x50"),
    "BINPERSID": (b"K\1Q", "uses pickle opcode 0x51"),
    "EXT1": (b"\x82\1", "uses pickle opcode 0x82"),
    "EXT2": (b"\x83\1\0", "uses pickle opcode 0x83"),
    "EXT4": (b"\x84\1\0\0\0", "uses pickle opcode 0x84"),
    "NEWOBJ": (b"cnumpy\nndarray\n)\x81", "uses pickle opcode 0x81"),
    "NEWOBJ_EX": (b"cnumpy\nndarray\n))\x92", "uses pickle opcode 0x92"),
    "another protocol": (b"\x80\x06", "has pickle protocol 6"),
    "text longer than the file": (b"\x8d" + b"\xff" * 8, "is cut short"),
    "text of negative length": (b"T" + MINUS_ONE[1:], "is cut short"),
    "two values": (b"NN", "ends with 2 values where one is wanted"),
    "no value": (b"", "ends with 0 values where one is wanted"),
    "a mark for a value": (b"(\x85", "takes a value where there is none"),
    "no mark": (b"Nt", "takes a mark where there is none"),
    "memo without a value": (b"q\0", "takes a value where there is none"),
    "memo never stored": (b"j" + b"\xff" * 4, "recalls value 4,294,967,295 of its memo, which it never stored"),
    "append to a tuple": (b")Na", "appends to something that is not a list"),
    "a list that holds itself": (b"]q\0h\0a", "holds something that is not an array"),
    "a list that holds itself as a shape": (array_of(shape=b"]q\0h\0a"), "has an array without a shape"),
    "a tuple 9,000 deep": (b")" + b"\x85" * 9_000, "holds something that is not an array"),
    "a tuple of 2^9,000 leaves as a shape": (
        array_of(shape=b")" + b"q\0h\0\x86" * 3_000),
        "has an array that is empty or larger than its bytes",
    ),
    "a tuple of 2^9,000 leaves": (b")" + b"q\0h\0\x86" * 3_000, "holds something that is not an array"),
    "arrays three deep": (array_of() + b"\x85\x85\x85", "holds something that is not an array"),
    "the same array seven times": (
        b"(" + array_of(data=b"U\xc8" + bytes(200), shape=b"K\x32\x85") + b"q\0" + b"h\0" * 6 + b"t",
        "holds the same array many times",
    ),
    "the same array 5,000 times": (b"(" + array_of() + b"q\0" + b"h\0" * 5_000 + b"t", "holds more than 8 arrays"),
    "a pair of 5,000": (array_of() + b"q\0(" + b"h\0" * 5_000 + b"t\x86", "holds more than 8 arrays"),
    "nine pairs": (b"(" + b"]" * 9 + b"t", "holds more than 8 arrays"),
    "too many opcodes": (b"N" * 10_000, "has more than 10,000 opcodes"),
    "the same text encoded again and again": (
        b"c_codecs\nencode\n" + text("x" * 1000) + text("latin1") + b"\x86q\0Rq\1" + b"c_codecs\nencode\nh\0R" * 9,
        "encodes more text than it has",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_whatever_no_array_of_numbers_has_is_refused(name: str) -> None:
    content, expected = FORGED[name]
    assert refusal(b"\x80\2" + content + b".") == expected


@pytest.mark.parametrize("minus_one", [MINUS_ONE, b"\x8a\1\xff"], ids=["BININT", "LONG1"])
def test_the_array_that_the_forgeries_start_from_is_a_good_one(minus_one: bytes) -> None:
    dtype = FLOAT.replace(MINUS_ONE, minus_one)
    content = b"\x80\2" + array_of(dtype=dtype, data=b"U\x08" + struct.pack("<2f", 1.5, -2)) + b"."
    assert parse_numpy_pickle(content, "FILE").tolist() == pickle.loads(content, encoding="latin-1").tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "starts with , not with 80 as pickles of protocol 2 to 5 do"),
        (b"(lp0\n.", "starts with 28 6c 70 30, not with 80 as pickles of protocol 2 to 5 do"),
        (pickle.dumps(parts(2), 2) + b"\0", "has 1 bytes after its end"),
        (pickle.dumps(parts(2), 5)[:-1], "is cut short"),
    ],
    ids=["nothing", "protocol 0", "trailing byte", "no end"],
)
def test_a_pickle_without_its_start_or_end_is_refused(content: bytes, expected: str) -> None:
    assert refusal(content) == expected


def test_what_else_goes_wrong_is_the_fault_of_the_file() -> None:
    expected = "FILE is not a whole pickle of number arrays (UnicodeDecodeError); fetch it again"
    assert message(lambda: parse_numpy_pickle(b"\x80\2X\1\0\0\0\xc3.", "FILE")) == expected


@pytest.mark.parametrize("writer", WRITERS)
def test_cut_after_any_byte_it_is_refused(writer: str) -> None:
    content = WRITERS[writer](parts(2))
    assert only_arrays(parse_numpy_pickle(content, "FILE"))
    for size in range(len(content)):
        with pytest.raises(DataError):
            parse_numpy_pickle(content[:size], "FILE")


@pytest.mark.parametrize("writer", list(WRITERS)[:5])
def test_with_any_byte_flipped_it_is_refused_or_still_arrays(writer: str) -> None:
    content = WRITERS[writer](parts(2))
    refused = 0
    for at in range(len(content)):
        for value in {content[at] ^ 1, content[at] ^ 0x80, *b".R"} - {content[at]}:
            try:
                assert only_arrays(parse_numpy_pickle(content[:at] + bytes([value]) + content[at + 1 :], "FILE"))
            except DataError:
                refused += 1
    assert refused > len(content)


@pytest.mark.parametrize(
    "content",
    [
        array_of() + b"r\0\0\0\x10",
        array_of() + b"r\xff\xff\xff\xff",
        array_of(shape=HUGE + HUGE + b"\x86"),
        array_of(start=RECONSTRUCTED.replace(b"K\0\x85", HUGE + b"\x85")),
        b"\x8d" + (1 << 40).to_bytes(8, "little"),
        b"\x96" + (1 << 62).to_bytes(8, "little"),
        b"B\xff\xff\xff\xff",
    ],
    ids=["LONG_BINPUT 2^28", "LONG_BINPUT 2^32", "shape", "_reconstruct", "BINUNICODE8", "BYTEARRAY8", "BINBYTES"],
)
def test_a_small_file_takes_little_memory(content: bytes) -> None:
    def read() -> None:
        with suppress(DataError):
            parse_numpy_pickle(b"\x80\2" + content + b".", "FILE")

    assert with_peak(read)[1] < 1 << 20


def test_text_takes_no_more_memory_than_its_bytes() -> None:
    content = b"\x80\2" + text("x" * (4 << 20) + "\U0001f600") + b"."
    assert with_peak(lambda: refusal(content))[1] < 1 << 20


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (gzip.compress(pickle.dumps(parts(), 2), mtime=0)[:-9], "{} is cut short: its gzip stream has no end; fetch it again"),
        (
            b"\x1f\x8b\x08\0" + bytes(6) + b"\xff" * 20,
            "{} is damaged (Error -3 while decompressing data: invalid block type); fetch it again",
        ),
        (b"<html>not here</html>", "{} is a web page (HTML or XML), not data; fetch it again from another address"),
        (b"", "{} is empty; fetch it again"),
        (None, "there is no file {}; check its name and the folder that it is looked for in"),
    ],
    ids=["cut", "damaged", "web page", "empty", "missing"],
)
def test_a_file_that_is_no_whole_gzip_file_is_named(file: Path, content: bytes | None, expected: str) -> None:
    if content is not None:
        file.write_bytes(content)
    assert message(lambda: mnist_pickle(path=file)) == expected.format(file)


def test_a_wrong_checksum_is_found(file: Path) -> None:
    content = bytearray(gzip.compress(pickle.dumps(parts(), 2)))
    content[-8] ^= 0xFF
    file.write_bytes(content)
    assert message(lambda: mnist_pickle(path=file)).startswith(f"{file} is damaged (CRC check failed 0x")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert message(lambda: mnist_pickle(path=tmp_path)) == f"{tmp_path} is a folder or a device; wanted a file"


@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_larger_than_the_limit_is_read_no_further(file: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist_pickle_module, "_LIMIT", 100_000)
    content = bytes(64 << 20)
    file.write_bytes(gzip.compress(content) if zipped else content)
    expected = f"{file} holds more than 100,000 bytes, the most that is read; fetch the real file, of 220 MB"
    found, peak = with_peak(lambda: message(lambda: mnist_pickle(path=file)))
    assert found == expected
    assert peak < 4 << 20


X, Y = parts()[1]
PAIRS = "wanted ((x, y), (x, y), (x, y))"
ARRAYS = "wanted floats (n, 784) and whole numbers (n,)"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (((X, Y), (X, Y)), f"{{}} does not hold three parts; {PAIRS}; fetch the real file"),
        (X, f"{{}} does not hold three parts; {PAIRS}; fetch the real file"),
        (((X, Y), (X, Y), X), f"the third part of {{}} is not a pair of arrays; {PAIRS}"),
        (((X, Y), (X, Y, Y), (X, Y)), f"the second part of {{}} is not a pair of arrays; {PAIRS}"),
        (((X[:, 1:].copy(), Y),) * 3, f"the first part of {{}} has x float32 (5, 783) and y int64 (5,); {ARRAYS}"),
        (((X.astype("u1"), Y),) * 3, f"the first part of {{}} has x uint8 (5, 784) and y int64 (5,); {ARRAYS}"),
        (((X, Y.astype("f4")),) * 3, f"the first part of {{}} has x float32 (5, 784) and y float32 (5,); {ARRAYS}"),
        (((X, Y[:4].copy()),) * 3, f"the first part of {{}} has x float32 (5, 784) and y int64 (4,); {ARRAYS}"),
        (((X.reshape(5, 28, 28), Y),) * 3, f"the first part of {{}} has x float32 (5, 28, 28) and y int64 (5,); {ARRAYS}"),
        (((X, Y), (X * 0 - 1, Y), (X, Y)), "the second part of {} has pixels from -1 to -1; wanted 0 to 1"),
        (((X, Y), (X, Y), (X * np.float32(np.nan), Y)), "the third part of {} has pixels from nan to nan; wanted 0 to 1"),
        (((X, Y), (X, Y), (X, np.arange(7, 12))), "label 3 of the test split is 10; wanted 0 to 9 for 10 classes"),
    ],
    ids=["two parts", "an array", "no pair", "three", "width", "int x", "float y", "lengths", "rank", "-1", "nan", "label"],
)
def test_arrays_that_are_not_the_tutorials_are_named(file: Path, value: Any, expected: str) -> None:
    # Copied, as an array that is named twice is written once.
    content = pickle.dumps(copied(value), 5)
    file.write_bytes(content)
    assert message(lambda: mnist_pickle(path=file)) == expected.format(file)


def copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else tuple(copied(each) for each in value)
