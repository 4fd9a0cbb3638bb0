"""IDX files as they should be and in every way broken, and MNIST from disk."""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.messages import message
from tests.support.resources import with_peak
from tinyclsf.errors import ConfigurationError, DataError, printable
from tinyclsf.plugin import Images, Splits
from tinyclsf_plugins.datasets import idx as idx_module
from tinyclsf_plugins.datasets.idx import idx, read_idx, read_images, read_labels
from tinyclsf_plugins.datasets.mnist import mnist
from tinyclsf_plugins.datasets.mnist_files import FILES

# Element type, its letter for `struct`, and values that come out wrong in the other byte order or with another sign.
TYPES = [
    (0x08, "B", [0, 1, 127, 128, 200, 255]),
    (0x09, "b", [0, 1, 127, -128, -2, -1]),
    (0x0B, "h", [0, 1, 258, -32768, 32767, -2]),
    (0x0C, "i", [0, 1, 16909060, -(2**31), 2**31 - 1, -2]),
    (0x0D, "f", [0.0, 1.0, -0.5, 3.0e38, 1.0e-40, -2.5]),
    (0x0E, "d", [0.0, 1.0, -0.5, 3.0e38, 1.0e-300, -2.5]),
]


def content(code: int, letter: str, shape: tuple[int, ...], values: list[int] | list[float]) -> bytes:
    header = bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return header + struct.pack(f">{len(values)}{letter}", *values)


def images(count: int, height: int = 2, width: int = 3) -> bytes:
    return content(0x08, "B", (count, height, width), [7 * n % 256 for n in range(count * height * width)])


def labels(*values: int) -> bytes:
    return content(0x08, "B", (len(values),), list(values))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes its one file."""
    return tmp_path / "file"


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """A folder with 6 images to train and validate with and 4 to test, under the names of MNIST."""
    contents = images(6), labels(0, 1, 2, 0, 1, 2), images(4), labels(2, 1, 0, 2)
    for name, data in zip(FILES, contents, strict=True):
        (tmp_path / name).write_bytes(data)
    return tmp_path


def tensors(splits: Splits) -> list[torch.Tensor]:
    return [tensor for part in (splits.train, splits.valid, splits.test) if isinstance(part, Images) for tensor in part.tensors]


@pytest.mark.parametrize(("code", "letter", "values"), TYPES)
def test_each_element_type_is_read_big_endian(file: Path, code: int, letter: str, values: list[float]) -> None:
    file.write_bytes(content(code, letter, (1, 2, 3), values))
    array = read_idx(file, 3)
    assert array.tobytes() == struct.pack(f"={len(values)}{letter}", *values)
    assert array.dtype == np.dtype(letter)
    pixels = read_images(file)
    assert pixels.dtype == (torch.uint8 if code == 0x08 else torch.float32)
    assert torch.equal(pixels, torch.tensor(values, dtype=pixels.dtype).reshape(1, 1, 2, 3))


@pytest.mark.parametrize(("code", "letter", "values"), TYPES)
def test_pixels_are_scaled_by_what_their_type_or_file_can_hold(four: Path, code: int, letter: str, values: list[float]) -> None:
    train = content(code, letter, (6, 1, 1), values)
    test = content(code, letter, (4, 1, 1), values[:4])
    (four / FILES[0]).write_bytes(train)
    (four / FILES[2]).write_bytes(test)
    splits = idx(data_dir=four, valid_size=1, split="tail")
    largest = 255.0 if code == 0x08 else max(abs(value) for value in values)
    assert isinstance(splits.train, Images)
    expected = torch.tensor([value / largest for value in values[:5]], dtype=torch.float32)
    torch.testing.assert_close(splits.preprocess(splits.train.x).flatten(), expected)


@pytest.mark.parametrize(("code", "letter"), [(code, letter) for code, letter, _ in TYPES if letter in "Bbhi"])
def test_labels_of_each_whole_number_type(file: Path, code: int, letter: str) -> None:
    file.write_bytes(content(code, letter, (4,), [0, 9, 100, 3]))
    found = read_labels(file)
    assert found.dtype == torch.int64
    assert found.tolist() == [0, 9, 100, 3]


def test_parts_and_classes_of_a_whole_set(four: Path) -> None:
    splits = idx(data_dir=four, valid_size=2, split="tail")
    x = torch.tensor([7 * n % 256 for n in range(36)], dtype=torch.uint8).reshape(6, 1, 2, 3)
    expected = [x[:4], torch.tensor([0, 1, 2, 0]), x[4:], torch.tensor([1, 2]), x[:4], torch.tensor([2, 1, 0, 2])]
    for found, wanted in zip(tensors(splits), expected, strict=True):
        assert torch.equal(found, wanted)
    assert splits.classes == ("0", "1", "2")
    assert splits.image_shape == (1, 2, 3)
    assert idx(data_dir=four, valid_size=2, split="tail", test_images=None, test_labels=None).test is None


def test_the_last_sixth_of_what_is_not_set_aside_validates(four: Path) -> None:
    (four / FILES[0]).write_bytes(images(60))
    (four / FILES[1]).write_bytes(labels(*[number % 3 for number in range(60)]))
    splits = idx(data_dir=four, test_ratio=0.5, test_images=None, test_labels=None)
    assert [len(y) for y in tensors(splits)[1::2]] == [25, 5, 30]


@pytest.mark.parametrize(
    "kind", ["gzipped under the raw name", "gzipped with .gz beside the name", "raw, but named .gz", "other names"]
)
def test_content_decides_and_not_the_name(four: Path, kind: str) -> None:
    expected = tensors(idx(data_dir=four, valid_size=2, split="tail"))
    names = list(FILES)
    for at, name in enumerate(FILES):
        data = (four / name).read_bytes()
        (four / name).unlink()
        if kind == "other names":
            names[at] = f"set {at}.bin"
        file = four / (names[at] + (".gz" if "named .gz" in kind or "beside" in kind else ""))
        file.write_bytes(gzip.compress(data, mtime=0) if "gzipped" in kind else data)
    found = tensors(
        idx(
            data_dir=four,
            images=names[0],
            labels=names[1],
            test_images=names[2],
            test_labels=names[3],
            valid_size=2,
            split="tail",
        )
    )
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize(("data", "read"), [(images(2), read_images), (labels(1, 0), read_labels)], ids=["images", "labels"])
def test_no_flip_in_a_header_passes_but_the_sign_of_the_bytes(
    file: Path, data: bytes, read: Callable[[Path], torch.Tensor]
) -> None:
    survivors = []
    for at in range(4 + 4 * data[3]):
        for value in {*(data[at] ^ 1 << bit for bit in range(8)), 0, 0x0B, 0x0D, 0x0E, 0xFF} - {data[at]}:
            file.write_bytes(data[:at] + bytes([value]) + data[at + 1 :])
            try:
                read(file)
            except DataError:
                continue
            survivors.append((at, value))
    assert survivors == [(2, 0x09)]


def test_a_file_of_any_other_length_is_refused(file: Path) -> None:
    data = images(2)
    for size in range(len(data)):
        file.write_bytes(data[:size])
        with pytest.raises(DataError):
            read_images(file)
    file.write_bytes(data + b"\0")
    with pytest.raises(DataError):
        read_images(file)


def test_a_flip_anywhere_in_a_gzip_file_is_refused_or_changes_nothing(file: Path) -> None:
    data = gzip.compress(images(2), mtime=0)
    refused = 0
    for at in range(len(data)):
        for flip in (0x01, 0x04, 0x80, 0xFF):
            file.write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
            try:
                assert torch.equal(read_images(file).flatten(), torch.arange(0, 84, 7, dtype=torch.uint8))
            except DataError:
                refused += 1
    assert refused > 3 * len(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "{} is empty; fetch it again"),
        (b"\0\0\x08", "{} has 3 bytes; wanted an IDX file, whose header has at least 4"),
        (images(2)[:4], "{} has 4 bytes; wanted 16 of header for 3 dimensions"),
        (images(2)[:15], "{} has 15 bytes; wanted 16 of header for 3 dimensions"),
        (b"\x89PNG rest", "{} starts with 89 50 4e 47; wanted an IDX file, which starts with 00 00"),
        (b"\0\0\x0a\x03" + images(2)[4:], "{} has element type 0a; wanted one of 08, 09, 0b, 0c, 0d, 0e"),
        (
            b"\0\0\x08\x04" + images(2)[4:],
            "{} has 4 as its number of dimensions; wanted 3 as images have: are images and labels swapped?",
        ),
        (
            b"\0\0\x08\0" + images(2)[4:],
            "{} has 0 as its number of dimensions; wanted 3 as images have: are images and labels swapped?",
        ),
        (images(2)[:-1], "{} has 11 bytes after its header; wanted the 12 bytes of 2x2x3 uint8; fetch it again"),
        (images(2) + b"\0", "{} has more bytes after its header; wanted the 12 bytes of 2x2x3 uint8; fetch it again"),
        (
            gzip.compress(images(2) + b"\0", mtime=0),
            "{} has more bytes after its header; wanted the 12 bytes of 2x2x3 uint8; fetch it again",
        ),
        (images(0), "{} holds nothing: its header says 0x2x3; wanted at least 1"),
        (
            content(0x08, "B", (0, 2**32 - 1, 2**32 - 1), []),
            "{} holds nothing: its header says 0x4,294,967,295x4,294,967,295; wanted at least 1",
        ),
        (
            content(0x0D, "f", (3, 1, 2), [0.0, 1.0, math.inf, 2.0, math.nan, 3.0]),
            "image 1 of {} has a pixel that is no finite float32; mend it or leave the image out",
        ),
        (
            content(0x0E, "d", (1, 1, 1), [1e300]),
            "image 0 of {} has a pixel that is no finite float32; mend it or leave the image out",
        ),
        (
            b"\r\n<!DOCTYPE html><title>Sorry</title>",
            "{} is a web page (HTML or XML), not data; fetch it again from another address",
        ),
        (gzip.compress(images(2), mtime=0)[:-9], "{} is cut short: its gzip stream has no end; fetch it again"),
        (gzip.compress(images(2), mtime=0)[:2], "{} is cut short: its gzip stream has no end; fetch it again"),
        (b"\x1f\x8b\x07" + bytes(20), "{} is damaged (Unknown compression method); fetch it again"),
    ],
)
def test_broken_images_are_named(file: Path, data: bytes, expected: str) -> None:
    file.write_bytes(data)
    assert message(lambda: read_images(file)) == expected.format(file)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (content(0x0D, "f", (2,), [0.0, 1.0]), "{} holds float32; wanted whole numbers as labels"),
        (content(0x09, "b", (3,), [0, -1, 2]), "label 1 of {} is -1; wanted 0 to 65,535"),
        (content(0x0C, "i", (3,), [0, 1, 2_000_000_000]), "label 2 of {} is 2,000,000,000; wanted 0 to 65,535"),
        (images(2), "{} has 3 as its number of dimensions; wanted 1 as labels have: are images and labels swapped?"),
    ],
)
def test_broken_labels_are_named(file: Path, data: bytes, expected: str) -> None:
    file.write_bytes(data)
    assert message(lambda: read_labels(file)) == expected.format(file)


def test_a_wrong_checksum_is_named(file: Path) -> None:
    data = bytearray(gzip.compress(images(2)))
    data[-8] ^= 0xFF
    file.write_bytes(data)
    found = message(lambda: read_images(file))
    stored, counted = struct.unpack("<I", data[-8:-4])[0], struct.unpack("<I", gzip.compress(images(2))[-8:-4])[0]
    assert found == f"{file} is damaged (CRC check failed {stored:#x} != {counted:#x}); fetch it again"


@pytest.mark.parametrize("zipped", [False, True])
def test_dimensions_that_overflow_are_refused_before_memory_is_taken(file: Path, zipped: bool) -> None:
    data = content(0x0E, "d", (2**32 - 1, 2**32 - 1, 2**32 - 1), [1.0])
    file.write_bytes(gzip.compress(data, mtime=0) if zipped else data)
    found, peak = with_peak(lambda: message(lambda: read_images(file)))
    what = f"the {8 * (2**32 - 1) ** 3:,} bytes of 4,294,967,295x4,294,967,295x4,294,967,295 float64"
    if zipped:
        assert found == f"{file} promises {what}; at most 4,294,967,296 are unpacked, so unzip the file first"
    else:
        assert found == f"{file} has 8 bytes after its header; wanted {what}; fetch it again"
    assert peak < 4 << 20


def test_a_gzip_bomb_is_read_no_further_than_its_header_says(file: Path) -> None:
    file.write_bytes(gzip.compress(images(2) + bytes(64 << 20)))
    found, peak = with_peak(lambda: message(lambda: read_images(file)))
    assert found == f"{file} has more bytes after its header; wanted the 12 bytes of 2x2x3 uint8; fetch it again"
    assert peak < 4 << 20


def test_a_gzip_file_larger_than_the_limit_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx_module, "_UNZIP_LIMIT", 11)
    file.write_bytes(gzip.compress(images(2)))
    expected = f"{file} promises the 12 bytes of 2x2x3 uint8; at most 11 are unpacked, so unzip the file first"
    assert message(lambda: read_images(file)) == expected
    file.write_bytes(images(2))
    assert len(read_images(file)) == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none-such", "there is no file {}; check its name and the folder that it is looked for in"),
        ("", "{} is a folder or a device; wanted a file"),
        ("x" * 300, "cannot read {}: File name too long"),
        ("a\0b", "cannot read {}: embedded null byte"),
        ("/dev/zero", "{} is a folder or a device; wanted a file"),
    ],
)
def test_a_path_that_is_no_readable_file_is_named(tmp_path: Path, name: str, expected: str) -> None:
    assert message(lambda: read_images(tmp_path / name)) == expected.format(printable(tmp_path / name))


def test_an_empty_name_in_the_present_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert message(lambda: idx(images="")) == ". is a folder or a device; wanted a file"


@pytest.mark.parametrize(
    ("changed", "data", "expected"),
    [
        (1, labels(0, 1, 2, 0, 1), "{0} has 6 images and {1} has 5 labels; give two that belong together"),
        (2, images(5), "{2} has 5 images and {3} has 4 labels; give two that belong together"),
        (3, labels(2, 1, 3, 0), "label 2 of the test split is 3; wanted 0 to 2 for 3 classes"),
        (2, content(0x09, "b", (4, 2, 3), [1] * 24), "{2} has images of float32 and {0} of uint8; wanted one type"),
        (2, images(4, 3, 2), "the test images are 1x3x2; wanted 1x2x3 as the data set says"),
    ],
)
def test_files_that_do_not_belong_together_are_named(four: Path, changed: int, data: bytes, expected: str) -> None:
    (four / FILES[changed]).write_bytes(data)
    assert message(lambda: idx(data_dir=four, valid_size=2, split="tail")) == expected.format(*(four / name for name in FILES))


@pytest.mark.parametrize("valid_size", [-1, 0, 6, 10_000])
def test_a_valid_size_that_leaves_a_part_empty_is_refused(four: Path, valid_size: int) -> None:
    expected = (
        "valid_size is {}; wanted at least 1"
        if valid_size < 1
        else ("{:,} of 6 images would validate; set valid_size to 1 to 5, or valid_ratio")
    )
    with pytest.raises(ConfigurationError) as error:
        idx(data_dir=four, valid_size=valid_size)
    assert str(error.value) == expected.format(valid_size)


def test_one_image_cannot_be_split(four: Path) -> None:
    (four / FILES[0]).write_bytes(images(1))
    (four / FILES[1]).write_bytes(labels(0))
    expected = "there are too few images (1) to train and to validate with; wanted at least 2"
    assert message(lambda: idx(data_dir=four)) == expected


def test_half_a_test_part_is_refused(four: Path) -> None:
    expected = "only one of test_images and test_labels is none; give both files or neither"
    assert message(lambda: idx(data_dir=four, test_labels=None)) == expected


def test_mnist_equals_torchvision(mnist_dir: Path) -> None:
    from torchvision.datasets import MNIST  # type: ignore[import-untyped]

    train_x, train_y, valid_x, valid_y, test_x, test_y = tensors(mnist(data_dir=mnist_dir))
    assert [len(train_x), len(valid_x), len(test_x)] == [50_000, 10_000, 10_000]
    reference, test = MNIST(mnist_dir, download=False), MNIST(mnist_dir, train=False, download=False)
    assert torch.equal(torch.cat([train_x, valid_x]).squeeze(1), reference.data)
    assert torch.equal(torch.cat([train_y, valid_y]), reference.targets)
    assert torch.equal(test_x.squeeze(1), test.data)
    assert torch.equal(test_y, test.targets)
