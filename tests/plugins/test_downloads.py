"""Downloads by torchvision's own code from a small server: whole, broken in every way, hostile, and two at once."""

from __future__ import annotations

import contextlib
import errno
import gc
import gzip
import hashlib
import io
import json
import os
import pickle
import platform
import signal
import socket
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gdown
import numpy as np
import pytest
import safetensors.torch
import torch
from huggingface_hub import hf_hub_url
from PIL import Image
from torchvision import models  # type: ignore[import-untyped]

from tests.support.forking import Forks
from tests.support.messages import message
from tests.support.resources import longest_file
from tinyclsf.plugin import Images, Splits
from tinyclsf.progress.telling import listening
from tinyclsf_plugins.datasets import downloads
from tinyclsf_plugins.datasets.cifar10 import cifar10
from tinyclsf_plugins.datasets.cifar100 import cifar100
from tinyclsf_plugins.datasets.fashion_mnist import fashion_mnist
from tinyclsf_plugins.datasets.kmnist import kmnist
from tinyclsf_plugins.datasets.mnist import mnist
from tinyclsf_plugins.datasets.mnist_files import FILES
from tinyclsf_plugins.datasets.torchvision import torchvision
from tinyclsf_plugins.models.timm import timm
from tinyclsf_plugins.models.torchvision import torchvision as pretrained

Tar = Sequence[tuple[str | tarfile.TarInfo, bytes]]


class Site(ThreadingHTTPServer):
    """A server of files by their names; what is named `faulty` comes with a fault."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.fault, self.faulty = "", ""
        self.asked: list[str] = []
        self.over = threading.Event()
        self.together: threading.Barrier | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        name = self.path[1:]
        self.server.asked.append(name)
        if self.server.together:
            self.server.together.wait(100)
        fault = self.server.fault if name == self.server.faulty else ""
        self.close_connection = True
        if fault == "speaks no HTTP":
            self.wfile.write(b"hello\r\n")
            return
        if fault == "is absent":
            self.send_error(404)
            return
        if fault == "draws on the terminal":
            self.send_response(404, "\x1b[2J\x9b31m gone")
            self.end_headers()
            return
        body = self.server.files[name]
        if fault == "packs it":
            body = gzip.compress(body)
        self.send_response(200)
        if fault != "has no end":
            self.send_header("Content-Length", str(10**18 if fault == "has an exabyte" else len(body)))
        if fault == "packs it":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if fault in ("has no end", "trickles"):
            with contextlib.suppress(ConnectionError):
                while not self.server.over.wait(0.01):
                    self.wfile.write(bytes(1 if fault == "trickles" else 1 << 15))
            return
        if fault in ("hangs up", "stalls"):
            body = body[: len(body) // 2]
        elif fault not in ("", "packs it"):
            body = body[::-1]
        self.wfile.write(body)
        if fault == "stalls":
            self.wfile.flush()
            self.server.over.wait(30)

    def do_HEAD(self) -> None:
        name = self.path[1:]
        self.send_response(404 if self.server.fault == "is absent" else 302)
        # As Hugging Face does: the file is elsewhere, and its checksum is told here.
        self.send_header("X-Linked-Etag", hashlib.sha256(self.server.files.get(name, b"")).hexdigest())
        self.send_header("Location", "https://elsewhere.test/")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A running server without a file."""
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@dataclass
class Published:
    """A set on the site: how it is loaded, its folder and files on disk, and what its last download is called on the site."""

    load: Callable[..., Splits]
    name: str
    layout: str
    files: dict[str, bytes]
    last: str
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)  # attributes of torchvision's classes

    def expected(self, data_dir: Path, why: str, advice: str | None = None) -> str:
        """The sentence that a download ends with."""
        folder = data_dir if self.layout.startswith("it ") else data_dir / self.layout
        advice = advice or f"check the network, or point --data-dir at a folder that holds {self.layout}"
        return f"{self.name} is not in {folder} and cannot be downloaded {why}; {advice}"


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def images(count: int) -> bytes:
    return bytes([0, 0, 8, 3]) + struct.pack(">3I", count, 28, 28) + bytes(7 * n % 256 for n in range(count * 784))


def labels(*values: int) -> bytes:
    return bytes([0, 0, 8, 1]) + struct.pack(">I", len(values)) + bytes(values)


def tar(members: Tar) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for member, data in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def idx_set(site: Site, name: str, load: Callable[..., Splits]) -> Published:
    raw = dict(zip(FILES, (images(5), labels(0, 9, 4, 1, 2), images(3), labels(3, 2, 1)), strict=True))
    zipped = {f"{file}.gz": gzip.compress(data) for file, data in raw.items()}
    site.files |= zipped
    sums = [(file, md5(data)) for file, data in zipped.items()]
    changes = {name: {"mirrors": [site.address], "resources": sums}}
    files = {f"{name}/raw/{file}": data for file, data in raw.items()}
    return Published(partial(load, valid_size=2), name, f"{name}/raw", files, f"{FILES[3]}.gz", changes)


def cifar_set(site: Site, name: str, load: Callable[..., Splits], extra: Tar | None = None, drop: str = "") -> Published:
    """CIFAR with 2 images in each batch, in an archive with extra members."""
    key, names = ("labels", "label_names") if name == "CIFAR10" else ("fine_labels", "fine_label_names")
    train = [f"data_batch_{n}" for n in range(1, 6)] if name == "CIFAR10" else ["train"]
    test, meta = ("test_batch", "batches.meta") if name == "CIFAR10" else ("test", "meta")
    folder, archive = (
        "-".join(["cifar", name[5:], kind]) for kind in ("batches-py" if name == "CIFAR10" else "python", "python")
    )
    batch = pickle.dumps({"data": np.arange(6144).astype(np.uint8).reshape(2, 3072), key: [0, 1]}, 2)
    files = {**dict.fromkeys([*train, test], batch), meta: pickle.dumps({names: ["one", "two"]}, 2)}
    content = tar([*((f"{folder}/{file}", data) for file, data in files.items() if file != drop), *(extra or [])])
    site.files[f"{archive}.tar.gz"] = content
    changes: dict[str, Any] = {"url": f"{site.address}{archive}.tar.gz", "tgz_md5": md5(content)}
    changes |= {"train_list": [[file, md5(batch)] for file in train], "test_list": [[test, md5(batch)]]}
    changes["meta"] = {"filename": meta, "key": names, "md5": md5(files[meta])}
    on_disk = {f"{folder}/{file}": data for file, data in files.items()}
    return Published(partial(load, valid_size=1), name, folder, on_disk, f"{archive}.tar.gz", {name: changes})


def svhn(site: Site) -> Published:
    from scipy.io import savemat  # type: ignore[import-untyped]

    split_list, files = {}, {}
    for split, count in {"train": 4, "test": 2}.items():
        content = io.BytesIO()
        pixels = np.arange(32 * 32 * 3 * count).astype(np.uint8).reshape(32, 32, 3, count)
        savemat(content, {"X": pixels, "y": np.array([[1], [10], [2], [1]][:count])})
        file = f"{split}_32x32.mat"
        files[file] = site.files[file] = content.getvalue()
        split_list[split] = [site.address + file, file, md5(files[file])]
    load = partial(torchvision, name="SVHN", valid_size=1)
    return Published(
        load, "SVHN", "it as torchvision lays it out", files, "test_32x32.mat", {"SVHN": {"split_list": split_list}}
    )


def dtd(site: Site) -> Published:
    picture = io.BytesIO()
    Image.new("RGB", (40, 36), (200, 100, 50)).save(picture, "JPEG")
    parts = {"train": "dotted/a.jpg\nwoven/b.jpg\n", "val": "woven/c.jpg\n", "test": "dotted/d.jpg\n"}
    members = {f"dtd/labels/{part}1.txt": lines.encode() for part, lines in parts.items()}
    members |= {f"dtd/images/{line}": picture.getvalue() for lines in parts.values() for line in lines.split()}
    content = site.files["dtd-r1.0.1.tar.gz"] = tar(list(members.items()))
    changes = {"DTD": {"_URL": f"{site.address}dtd-r1.0.1.tar.gz", "_MD5": md5(content)}}
    files = {f"dtd/{file}": data for file, data in {**members, "dtd-r1.0.1.tar.gz": content}.items()}
    layout = "it as torchvision lays it out"
    return Published(partial(torchvision, name="DTD"), "DTD", layout, files, "dtd-r1.0.1.tar.gz", changes)


SETS: dict[str, Callable[[Site], Published]] = {
    "mnist": lambda site: idx_set(site, "MNIST", mnist),
    "fashion-mnist": lambda site: idx_set(site, "FashionMNIST", fashion_mnist),
    "kmnist": lambda site: idx_set(site, "KMNIST", kmnist),
    "cifar10": lambda site: cifar_set(site, "CIFAR10", cifar10),
    "cifar100": lambda site: cifar_set(site, "CIFAR100", cifar100),
    "torchvision, SVHN": svhn,
    "torchvision, DTD": dtd,
}
Publish = Callable[[Published], Published]


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Have torchvision take the site for the home of a set."""
    from torchvision import datasets

    def change(found: Published) -> Published:
        for name, attributes in found.changes.items():
            for key, value in attributes.items():
                monkeypatch.setattr(getattr(datasets, name), key, value)
        return found

    return change


def tree(folder: Path) -> dict[str, bytes]:
    """All that is in a folder, with an empty folder as what cannot be a file's content."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"?" for path in leaves(folder)}


def leaves(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir() or not any(path.iterdir())]


def sizes(splits: Splits) -> list[int]:
    return [len(part) for part in (splits.train, splits.valid, splits.test) if isinstance(part, Images)]


def published_classes(name: str) -> list[str]:
    """The names that torchvision gives a set's classes."""
    from torchvision import datasets

    names: list[str] = getattr(datasets, name).classes
    return names


@pytest.mark.parametrize("name", SETS)
def test_a_download_lays_out_the_files_once_and_quietly(
    tmp_path: Path, site: Site, publish: Publish, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    published = publish(SETS[name](site))
    told: list[tuple[str, int, int]] = []
    with listening(lambda *word: told.append(word)):
        first = published.load(data_dir=tmp_path / "new")
    downloads = [word for word in told if word[0].startswith("downloading ") and word[2] == 1]
    assert [word[1:] for word in downloads] == [(0, 1), (1, 1)] * (len(downloads) // 2)
    assert downloads
    assert tree(tmp_path / "new") == published.files
    asked = len(site.asked)
    again = published.load(data_dir=tmp_path / "new")
    assert len(site.asked) == asked > 0
    wanted = {"torchvision, SVHN": [3, 1, 2], "torchvision, DTD": [2, 1, 1], "cifar10": [9, 1, 2], "cifar100": [1, 1, 2]}
    assert sizes(first) == sizes(again) == wanted.get(name, [3, 2, 3])
    assert capsys.readouterr() == ("", "")
    if name in ("fashion-mnist", "kmnist"):
        assert list(first.classes) == published_classes(published.name)
    assert socket.getdefaulttimeout() is None
    assert tarfile.TarFile.extraction_filter is None


def test_what_is_missing_or_broken_is_downloaded_again(tmp_path: Path, site: Site, publish: Publish) -> None:
    for name, file in {"cifar10": "cifar-10-batches-py/test_batch", "torchvision, SVHN": "test_32x32.mat"}.items():
        published = publish(SETS[name](site))
        published.load(data_dir=tmp_path / name)
        (tmp_path / name / file).unlink()
        published.load(data_dir=tmp_path / name)
        assert tree(tmp_path / name) == published.files
    (tmp_path / name / file).write_bytes(b"cut short")
    published.load(data_dir=tmp_path / name)
    assert tree(tmp_path / name) == published.files


def test_files_that_are_there_are_left_as_they_are(tmp_path: Path, site: Site, publish: Publish) -> None:
    folder = "FashionMNIST/raw/"
    published = publish(SETS["fashion-mnist"](site))
    published.load(data_dir=tmp_path)
    own = labels(5, 5, 5, 5, 5)
    (tmp_path / folder / "train-labels-idx1-ubyte").write_bytes(own)
    images = tmp_path / folder / "t10k-images-idx3-ubyte"
    images.with_name(images.name + ".gz").write_bytes(gzip.compress(images.read_bytes()))
    images.unlink()
    asked = len(site.asked)
    published.load(data_dir=tmp_path)
    assert len(site.asked) == asked
    images.with_name(images.name + ".gz").unlink()
    published.load(data_dir=tmp_path)
    assert tree(tmp_path) == {**published.files, f"{folder}train-labels-idx1-ubyte": own}


SHORT = "what came is cut short or damaged: its checksum is wrong"
FAULTS = {
    "hangs up": SHORT,
    "sends others": SHORT,
    "is absent": "HTTP Error 404: Not Found",
    "speaks no HTTP": "BadStatusLine: hello",
    "stalls": "the server sent nothing for 0.3 seconds",
}
HOSTILE = {
    "has no end": "the server sent more than 100,000 bytes and does not say how many there are",
    "trickles": "the server sent less than 1,000 bytes a second for 0.3 seconds",
    "has an exabyte": f"[Errno 28] the server has {10**18:,} bytes to send, more than the disk has room for",
    "draws on the terminal": "HTTP Error 404: \\x1b[2J\\x9b31m gone",
}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of http.client, where an answer is no HTTP
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SETS)
def test_a_download_that_fails_leaves_nothing(
    tmp_path: Path, site: Site, publish: Publish, monkeypatch: pytest.MonkeyPatch, name: str, fault: str
) -> None:
    if fault == "stalls":
        monkeypatch.setattr(downloads, "_SILENCE", 0.3)
    published = publish(SETS[name](site))
    site.fault, site.faulty = fault, published.last
    whys = [f"from {site.address}{published.last} ({FAULTS[fault]})"]
    if name.endswith("mnist"):  # where it goes on to other mirrors, which differs by fault and version, it tells of them all
        whys.append(f"(Error downloading {published.last}: Tried {site.address}, got: {FAULTS[fault]})")
    found = message(lambda: published.load(data_dir=tmp_path / "new"))
    assert found in [published.expected(tmp_path / "new", why) for why in whys]
    if fault == "speaks no HTTP":
        gc.collect()  # so that the warning falls here
    # Of SVHN, each file is a download of its own.
    if name == "torchvision, SVHN":
        assert tree(tmp_path) == {"new/train_32x32.mat": published.files["train_32x32.mat"]}
    else:
        assert list(tmp_path.iterdir()) == []
    assert socket.getdefaulttimeout() is None


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of an HTTPError, which has the answer's socket
@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_server_is_left(
    tmp_path: Path, site: Site, publish: Publish, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(downloads, "_SILENCE", 0.3)
    monkeypatch.setattr(downloads, "_MOST", 100_000)
    published = publish(SETS["cifar10"](site))
    site.fault, site.faulty = fault, published.last
    found = message(lambda: published.load(data_dir=tmp_path / "new"))
    advice = DISK if fault == "has an exabyte" else ""
    assert found == published.expected(tmp_path / "new", f"from {site.address}{published.last} ({HOSTILE[fault]})", advice)
    gc.collect()  # so that the warning falls here
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("fault", ["", "packs it", "has no end", "trickles", "has an exabyte"])
def test_google_drive_has_the_same_limits(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(downloads, "_SILENCE", 0.3)
    monkeypatch.setattr(downloads, "_MOST", 100_000)
    site.files["set"], site.fault, site.faulty = bytes(range(200)), fault, "set"

    def fetch(scratch: Path) -> list[Path]:
        # As torchvision calls it, but for the address.
        gdown.download(site.address + "set", str(scratch / "set"), quiet=False, user_agent="torchvision")
        return [scratch / "set"]

    def load() -> None:
        downloads.download("The set", tmp_path / "new", fetch, otherwise="put it there")

    if fault in HOSTILE:
        assert HOSTILE[fault] in message(load)
        gc.collect()  # so that the warning falls here
        assert tree(tmp_path) == {}
    else:
        load()
        assert tree(tmp_path) == {"new/set": site.files["set"]}


def test_what_a_killed_download_left_is_swept(
    tmp_path: Path, site: Site, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = publish(SETS["cifar10"](site))
    left, at_work = (tmp_path / published.layout / f".download-{name}" for name in ("left", "work"))
    for scratch in (left, at_work):
        (scratch / "inside").mkdir(parents=True)
        (scratch / "inside" / "archive").write_bytes(b"half of it")
    monkeypatch.setattr(downloads, "_ABANDONED", 100)
    changed = os.lstat
    monkeypatch.setattr(Path, "lstat", lambda path: older(changed(path), 200 if left in (path, *path.parents) else 0))
    published.load(data_dir=tmp_path)
    assert (left.exists(), at_work.exists()) == (False, True)


def older(status: os.stat_result, seconds: int) -> os.stat_result:
    """The status of a file that was changed earlier, as it cannot be dated back."""
    return os.stat_result((*status[:7], *(int(time) - seconds for time in status[7:10])))


@pytest.mark.parametrize("name", SETS)
def test_a_server_that_is_not_there_is_named(tmp_path: Path, site: Site, publish: Publish, name: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        site.server_port = closed.getsockname()[1]
    published = publish(SETS[name](site))
    first = next(file for file in site.files if not file.startswith("test"))
    refused = f"[Errno {errno.ECONNREFUSED}] {os.strerror(errno.ECONNREFUSED)}"
    why = f"from {site.address}{first} ({refused})"
    if name.endswith("mnist"):
        why = f"(Error downloading {first}: Tried {site.address}, got: <urlopen error {refused}>)"
    assert message(lambda: published.load(data_dir=tmp_path / "new")) == published.expected(tmp_path / "new", why)
    assert list(tmp_path.iterdir()) == []


DISK = "point --data-dir at a folder that can be written and has room"


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path, site: Site, publish: Publish) -> None:
    published = publish(SETS["mnist"](site))
    (tmp_path / "MNIST").write_text("a file where a folder is wanted")
    why = f"([Errno 20] Not a directory: '{tmp_path / 'MNIST' / 'raw'}')"
    assert message(lambda: published.load(data_dir=tmp_path)) == published.expected(tmp_path, why, DISK)
    assert site.asked == []


@pytest.mark.parametrize("name", ["mnist", "cifar10", "torchvision, DTD"])
def test_a_disk_without_room_is_named(tmp_path: Path, site: Site, publish: Publish, name: str) -> None:
    published = publish(SETS[name](site))
    with longest_file(40):
        found = message(lambda: published.load(data_dir=tmp_path / "new"))
    first = next(iter(site.files))
    why = f"from {site.address}{first} ([Errno {errno.EFBIG}] {os.strerror(errno.EFBIG)})"
    assert found == published.expected(tmp_path / "new", why, DISK)
    assert list(tmp_path.iterdir()) == []


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


Attack = Callable[[Path], Tar]
ATTACKS: dict[str, tuple[Attack, str]] = {
    "a path out": (lambda out: [("../../../outside/evil", b"evil")], "OutsideDestinationError: "),
    "a path out from within": (
        lambda out: [("cifar-10-batches-py/../../../../outside/evil", b"evil")],
        "OutsideDestinationError: ",
    ),
    "an absolute link": (lambda out: [(link("here", str(out), tarfile.SYMTYPE), b"")], "AbsoluteLinkError: "),
    "a relative link": (
        lambda out: [(link("here", "../../../outside", tarfile.SYMTYPE), b"")],
        "LinkOutsideDestinationError: ",
    ),
    "a link to write through": (
        lambda out: [(link("here", "../../../outside", tarfile.SYMTYPE), b""), ("here/evil", b"evil")],
        "LinkOutsideDestinationError: ",
    ),
    "a hard link": (
        lambda out: [(link("here", "../../../outside/kept", tarfile.LNKTYPE), b"")],
        "LinkOutsideDestinationError: ",
    ),
    "a device": (lambda out: [(link("here", "", tarfile.CHRTYPE), b"")], "SpecialFileError: "),
}


@pytest.mark.parametrize("old", [False, True], ids=["torchvision here", "torchvision 0.25"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_archive_that_reaches_outside_is_refused(
    tmp_path: Path, site: Site, publish: Publish, monkeypatch: pytest.MonkeyPatch, attack: str, old: bool
) -> None:
    if old:
        unpack_as_torchvision_025(monkeypatch)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    members, error = ATTACKS[attack]
    published = publish(cifar_set(site, "CIFAR10", cifar10, extra=members(outside)))
    found = message(lambda: published.load(data_dir=tmp_path / "new"))
    assert f" cannot be downloaded from {site.address}{published.last} ({error}" in found
    assert tree(tmp_path) == {"outside/kept": b"kept"}
    assert (outside / "kept").stat().st_nlink == 1
    assert tarfile.TarFile.extraction_filter is None


def unpack_as_torchvision_025(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpack as torchvision did before 0.29, which leaves it to Python what may be unpacked."""
    from torchvision.datasets import utils  # type: ignore[import-untyped]

    def extract(source: str, target: str, compression: str) -> None:
        with tarfile.open(source, "r:gz") as archive:
            archive.extractall(target)

    monkeypatch.setitem(utils._ARCHIVE_EXTRACTORS, ".tar", extract)


def test_an_absolute_name_in_an_archive_lands_inside(tmp_path: Path, site: Site, publish: Publish) -> None:
    evil = tmp_path / "outside" / "evil"
    published = publish(cifar_set(site, "CIFAR10", cifar10, extra=[(str(evil), b"evil")]))
    published.load(data_dir=tmp_path / "new")
    assert tree(tmp_path) == {f"new/{file}": data for file, data in published.files.items()}


def test_a_batch_that_is_a_link_is_refused(tmp_path: Path, site: Site, publish: Publish) -> None:
    inside = [(link("cifar-10-batches-py/data_batch_3", "data_batch_1", tarfile.SYMTYPE), b"")]
    published = publish(cifar_set(site, "CIFAR10", cifar10, extra=inside, drop="data_batch_3"))
    found = message(lambda: published.load(data_dir=tmp_path / "new"))
    assert found == published.expected(tmp_path / "new", "(data_batch_3 in the archive is a link)")


def test_an_archive_without_a_batch_is_refused(tmp_path: Path, site: Site, publish: Publish) -> None:
    published = publish(cifar_set(site, "CIFAR100", cifar100, drop="test"))
    found = message(lambda: published.load(data_dir=tmp_path / "new"))
    assert found == published.expected(tmp_path / "new", "(test is missing in the archive or damaged)")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_is_none_is_refused(tmp_path: Path, site: Site, publish: Publish) -> None:
    published = publish(SETS["torchvision, DTD"](site))
    site.files[published.last] = b"no archive"
    published.changes["DTD"]["_MD5"] = md5(b"no archive")
    publish(published)
    found = message(lambda: published.load(data_dir=tmp_path / "new"))
    why = f"from {site.address}{published.last} (ReadError: not a gzip file)"
    assert found == published.expected(tmp_path / "new", why)
    assert list(tmp_path.iterdir()) == []


def test_a_zip_archive_cannot_reach_outside(tmp_path: Path, site: Site, publish: Publish) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("../../../outside", b"evil")
        archive.writestr("/outside", b"evil")
    site.files["CLEVR_v1.0.zip"] = content.getvalue()
    changes = {"CLEVRClassification": {"_URL": f"{site.address}CLEVR_v1.0.zip", "_MD5": md5(content.getvalue())}}
    layout = "it as torchvision lays it out"
    load = partial(torchvision, name="CLEVRClassification")
    published = publish(Published(load, "CLEVRClassification", layout, {}, "", changes))
    found = message(lambda: published.load(data_dir=tmp_path / "new"))
    why = "(Dataset not found or corrupted. You can use download=True to download it)"
    assert found == published.expected(tmp_path / "new", why)
    assert list(tmp_path.iterdir()) == []


def test_a_python_that_cannot_unpack_safely_does_not_unpack(
    tmp_path: Path, site: Site, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tarfile, "data_filter")
    published = publish(SETS["cifar10"](site))
    found = message(lambda: published.load(data_dir=tmp_path / "new"))
    version = platform.python_version()
    why = f"from {site.address}{published.last} (Python {version} cannot unpack safely; use 3.10.12, 3.11.4 or later)"
    assert found == published.expected(tmp_path / "new", why)
    assert list(tmp_path.iterdir()) == []
    assert len(publish(SETS["mnist"](site)).load(data_dir=tmp_path / "new").classes) == 10


PROCESS = """
import json, sys
from pathlib import Path
from torchvision import datasets
from tinyclsf_plugins.datasets.cifar10 import cifar10
from tinyclsf_plugins.datasets.torchvision import torchvision
from tinyclsf_plugins.models.torchvision import torchvision as pretrained
for name, attributes in json.loads(sys.argv[2]).items():
    for key, value in attributes.items():
        setattr(getattr(datasets, name), key, value)
cifar10(data_dir=Path(sys.argv[1]), valid_size=1)
torchvision(name="DTD", data_dir=Path(sys.argv[1]))
"""


COMMAND = """
import json, sys
from torchvision import datasets
from tinyclsf.cli.app import main
for name, attributes in json.loads(sys.argv.pop()).items():
    for key, value in attributes.items():
        setattr(getattr(datasets, name), key, value)
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "its terminal was closed")]
)
def test_a_signal_leaves_nothing_of_a_download(
    forks: Forks, tmp_path: Path, site: Site, number: int, code: int, word: str
) -> None:
    published = SETS["cifar10"](site)
    site.fault, site.faulty = "stalls", published.last
    process = forks.start(tmp_path, "show", "cifar10", "--data-dir", "data", json.dumps(published.changes), code=COMMAND)
    deadline = time.monotonic() + 60
    while len(site.asked) < 2 or not list(tmp_path.glob("data/*/.download-*")):
        assert time.monotonic() < deadline, process.err.read_text()
        time.sleep(0.02)
    os.kill(process.pid, number)
    assert process.finish() == (code, "", f"downloading CIFAR10: ...\nerror: {word}\n")
    assert list(tmp_path.iterdir()) == []


def test_two_that_download_at_once_both_end_with_whole_files(forks: Forks, tmp_path: Path, site: Site) -> None:
    published = [SETS["cifar10"](site), SETS["torchvision, DTD"](site)]
    site.together = threading.Barrier(2)
    changes = json.dumps({name: each for one in published for name, each in one.changes.items()})
    both = [forks.start(tmp_path, str(tmp_path), changes, code=PROCESS) for _ in range(2)]
    assert [process.finish() for process in both] == [(0, "", "")] * 2
    assert tree(tmp_path) == published[0].files | published[1].files
    assert len(site.asked) == 8


@pytest.fixture
def weights(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the pretrained weights of squeezenet1_1 are kept, which the site has; ImageNet has 4 classes here."""
    torch.manual_seed(0)
    content = io.BytesIO()
    torch.save(models.squeezenet1_1(num_classes=4).state_dict(), content)
    name = f"squeezenet-{hashlib.sha256(content.getvalue()).hexdigest()[:8]}.pth"
    site.files[name] = content.getvalue()
    published = SimpleNamespace(DEFAULT=SimpleNamespace(url=site.address + name))
    monkeypatch.setattr(models, "get_model_weights", lambda arch: published)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints" / name


def test_how_far_a_download_is_is_told_without_a_bar_of_tqdm(site: Site, weights: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("torchvision.datasets.utils.tqdm", None)
    told: list[tuple[str, int, int]] = []
    with listening(lambda *word: told.append(word)):
        pretrained((3, 64, 64), 4, arch="squeezenet1_1", pretrained=True)
    assert {what for what, _, _ in told} == {f"downloading the file of pretrained weights {weights.name}"}
    first, *within, last = [word[1:] for word in told]
    assert (first, last, {total for _, total in within}) == ((0, 1), (1, 1), {weights.stat().st_size})
    assert 1 < len(within) == len({done for done, total in within if done < total})


def test_pretrained_weights_are_downloaded_once(site: Site, weights: Path) -> None:
    for channels in (3, 1):
        network = pretrained((channels, 64, 64), 4, arch="squeezenet1_1", pretrained=True)
        first = torch.load(weights)["features.0.weight"]
        wanted = first if channels == 3 else first.sum(1, keepdim=True)
        assert torch.equal(network.state_dict()["features.0.weight"], wanted)
        site.files.clear()


MORE = "https://developer.mozilla.org/en-US/docs/Web/HTTP/Status/404"
HUB = "{repo_id}/resolve/{revision}/{filename}"


@pytest.fixture
def timm_weights(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """Where the pretrained weights of timm's test_resnet are kept, and the name that the site has them under."""
    from timm import create_model  # which takes a second

    made = create_model("test_resnet")
    name = "timm/test_resnet.r160_in1k/resolve/main/model.safetensors"
    site.files[name] = safetensors.torch.save(made.state_dict())
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", site.address + HUB)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints" / "test_resnet.r160_in1k.safetensors", name


def test_weights_of_timm_are_downloaded_once(site: Site, timm_weights: tuple[Path, str]) -> None:
    path, name = timm_weights
    for _ in range(2):
        network = timm((3, 64, 64), 1000, arch="test_resnet", pretrained=True)
        assert path.read_bytes() == safetensors.torch.save(network.state_dict())
        site.files.clear()
    assert set(site.asked) == {name}
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("comes backwards", "(what came from URL is cut short or damaged: its checksum is wrong)"),
        ("hangs up", "(what came from URL is cut short or damaged: its checksum is wrong)"),
        ("stalls", "from URL (the server sent nothing for 0.3 seconds)"),
        ("is absent", f"(Client error '404 Not Found' for url 'URL' For more information check: {MORE})"),
        ("is not there", f"from URL (ConnectError: [Errno {errno.ECONNREFUSED}] {os.strerror(errno.ECONNREFUSED)})"),
    ],
)
def test_weights_of_timm_that_cannot_be_had(
    site: Site, timm_weights: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, fault: str, why: str
) -> None:
    monkeypatch.setattr(downloads, "_SILENCE", 0.3)
    path, name = timm_weights
    site.fault, site.faulty = fault, name
    if fault == "is not there":
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            site.server_port = closed.getsockname()[1]
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", site.address + HUB)
    url = hf_hub_url("timm/test_resnet.r160_in1k", "model.safetensors")
    found = message(lambda: timm((3, 64, 64), 4, arch="test_resnet", pretrained=True))
    assert found.replace(url, "URL") == (
        f"the file of pretrained weights {path.name} is not in {path.parent} and cannot be downloaded {why}; "
        f"check the network, or put URL there by hand as {path.name}"
    )
    assert not path.parent.exists()
    gc.collect()  # so that the warning falls here


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of an HTTPError, which has the answer's socket
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("comes backwards", "(what came from URL is cut short or damaged: its checksum is wrong)"),
        ("is absent", "from URL (HTTP Error 404: Not Found)"),
        ("hangs up", "(what came from URL is cut short or damaged: its checksum is wrong)"),
    ],
)
def test_pretrained_weights_that_cannot_be_had(site: Site, weights: Path, fault: str, why: str) -> None:
    site.fault, site.faulty = fault, weights.name
    found = message(lambda: pretrained((3, 64, 64), 4, arch="squeezenet1_1", pretrained=True))
    assert found.replace(site.address + weights.name, "URL") == (
        f"the file of pretrained weights {weights.name} is not in {weights.parent} and cannot be downloaded {why}; "
        f"check the network, or put URL there by hand as {weights.name}"
    )
    assert not weights.parent.exists()
    gc.collect()  # so that the warning falls here
