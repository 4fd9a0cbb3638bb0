"""Pictures through a trained model: the figures of evaluation, every kind of file, and faults that stop nothing else."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.support.commands import Cli
from tests.support.notebooks import ODD, pictures, said
from tinyclsf.data import Images
from tinyclsf.deployment import prediction
from tinyclsf.deployment.prediction import predict_files
from tinyclsf.errors import ConfigurationError
from tinyclsf.modules import Classifier, Lambda, Preprocess
from tinyclsf.progress.telling import listening
from tinyclsf.runs.folder import read_predictions
from tinyclsf.runs.trained_run import choose_split, load_run, load_splits, paths_of


def brightness(image_shape: tuple[int, ...] = (1, 4, 4), *, white: float = 255.0) -> Classifier:
    """Two classes, with the logits of the mean pixel and of the first one."""
    network = Lambda(lambda x: torch.stack([x.flatten(1).mean(1), x[:, 0, 0, 0]], dim=1))
    return Classifier(Preprocess(0.0, white / 4), network, ["mean", "first"], image_shape, white)


def probabilities(model: Classifier, *files: str | Path, **options: Any) -> Tensor:
    found = list(predict_files(model, files, device="cpu", **options))
    assert [each.error for each in found] == [None] * len(found)
    return torch.stack([each.probabilities for each in found if each.probabilities is not None])


def save(name: str, pixels: Any, **options: Any) -> str:
    Image.fromarray(np.asarray(pixels)).save(name, **options)
    return name


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_files_prediction_is_that_of_evaluation(cli: Cli, fit: str) -> None:
    random = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        Path("photos", kind).mkdir(parents=True)
        for at in range(20):
            height, width = random.integers(8, 40, 2)
            pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
            save(f"photos/{kind}/{at}.{('jpg', 'png', 'bmp')[at % 3]}", pixels)
    options = ["--data-dir", "photos", "-d", "size=16", "-d", "normalize=stats", "-d", f"fit={fit}", "--epochs", "1"]
    assert cli("fit", "mnist-cnn", "--data", "image-folder", *options, "--run", "first").code == 0
    run = load_run("runs/first")
    valid = choose_split(load_splits(run), "valid")[1]
    paths = paths_of(valid)
    _, saved = read_predictions(run.folder)
    assert paths is not None
    assert len(paths) == len(saved.labels) == 8
    found = probabilities(run.model, *paths, batch_size=3)
    torch.testing.assert_close(found, saved.logits.softmax(dim=1), rtol=0, atol=1e-5)
    assert torch.equal(found.argmax(1), saved.logits.argmax(1))
    seen: list[Tensor] = []
    run.model.preprocess.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    probabilities(run.model, *paths)
    assert isinstance(valid, Images)
    assert torch.equal(seen[0], valid.x)


def test_pixels_are_given_as_the_data_set_stores_them(here: Path) -> None:
    pixels = np.arange(0, 256, 16, dtype=np.uint8).reshape(4, 4)
    seen: list[Tensor] = []
    for white in (255.0, 1.0, 255 / 256):
        model = brightness(white=white)
        model.preprocess.register_forward_hook(lambda _, args, __: seen.append(args[0]))
        probabilities(model, save("digit.png", pixels))
    as_uint8, as_float, as_pickled = seen
    assert (as_uint8.dtype, as_float.dtype) == (torch.uint8, torch.float32)
    assert torch.equal(as_uint8[0, 0], torch.from_numpy(pixels))
    assert torch.equal(as_float[0, 0], torch.from_numpy(pixels) / 255)
    assert torch.equal(as_pickled[0, 0], torch.from_numpy(pixels) / 256)  # as mnist.pkl.gz has it, to the bit


def test_progress_is_shown_where_it_is_asked_for(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = [save(f"{at}.png", np.full((4, 4), 9 * at, np.uint8)) for at in range(3)]
    for progress, shown in (
        (None, ""),
        (False, ""),
        (True, "predicting pictures: 3 ...\npredicting pictures: 3 done in 0.0 s\n"),
    ):
        assert len(list(predict_files(brightness(), files, progress=progress))) == 3
        assert re.sub(r"\d\.\d s", "0.0 s", capfd.readouterr().err) == shown


def test_pieces_and_batches_change_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [save(f"{at}.png", np.full((4, 4), 9 * at, np.uint8)) for at in range(8)]
    files[4:4] = ["gone.png"]
    Path("nothing").mkdir()
    files.append("nothing")
    whole = list(predict_files(brightness(), files))
    words: list[tuple[str, int, int]] = []
    monkeypatch.setattr(prediction, "_PIECE_FILES", 3)
    with listening(lambda *word: words.append(word)):
        pieces = list(predict_files(brightness(), files, batch_size=2))
    assert [each.path for each in pieces] == [each.path for each in whole] == files
    assert [each.error for each in pieces] == [None] * 4 + [
        "no such file or directory",
        *[None] * 4,
        "no picture in this folder",
    ]
    for one, other in zip(pieces, whole, strict=True):
        assert (one.probabilities is None) == (one.path in ("gone.png", "nothing"))
        if one.probabilities is not None and other.probabilities is not None:
            assert torch.equal(one.probabilities, other.probabilities)
    assert {(what, total) for what, _, total in words} == {("predicting pictures", 10)}
    assert [done for _, done, _ in words if done % 3 == 0] == [3, 6, 9]


def test_results_come_before_all_files_are_decoded(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [save(f"{at}.png", np.full((4, 4), at, np.uint8)) for at in range(4)]
    monkeypatch.setattr(prediction, "_PIECE_BYTES", 2 * 16)  # two pictures
    found = iter(predict_files(brightness(), files))
    assert [next(found).error, next(found).error] == [None, None]
    Path("2.png").unlink()
    assert [each.error for each in found] == ["no such file or directory", None]


def test_each_fault_is_a_result_and_the_others_go_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    save("good.png", np.full((4, 4), 100, np.uint8))
    save("good.jpg", np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    Path("short.jpg").write_bytes(Path("good.jpg").read_bytes()[:1500])
    Path("empty.png").touch()
    Path("text.png").write_text("I am no picture")
    save("bomb.png", np.zeros((400, 400), np.uint8))
    Path("nothing/inside").mkdir(parents=True)
    Path("nothing/notes.txt").touch()
    files = ["gone.png", "empty.png", "text.png", "short.jpg", "bomb.png", "nothing", "/dev/zero", "", "a\0b", "good.png"]
    found = list(predict_files(brightness(), files))
    assert [(each.path, each.error) for each in found] == [
        ("gone.png", "no such file or directory"),
        ("empty.png", "empty file"),
        ("text.png", "not a picture, or broken from its first bytes on"),
        ("short.jpg", "cut short"),
        ("bomb.png", "more than 10,000 pixels"),
        ("nothing", "no picture in this folder"),
        ("/dev/zero", "a pipe or device and not a file"),
        ("", "no such file or directory"),
        ("a\0b", "embedded null byte"),
        ("good.png", None),
    ]
    assert [each.probabilities is None for each in found] == [True] * 9 + [False]


def test_every_kind_of_picture_is_seen_as_the_plain_one(here: Path) -> None:
    plain = np.zeros((4, 4), np.uint8)
    plain[0, :2], plain[3, 1:] = 250, 60
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 3], rgba[plain == 0] = 255, 0  # what is black below is transparent here, so white
    rgba[plain > 0, :3] = plain[plain > 0, None]
    white = np.where(plain == 0, 255, plain).astype(np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (0, 255)]
    Image.fromarray(plain).save("animated.png", save_all=True, append_images=frames)
    Image.fromarray(plain).convert("RGB").convert("CMYK").save("cmyk.tiff")
    same = [
        save("plain.png", plain),
        save("16-bit.png", plain.astype(np.uint16) * 257),
        save("turned.png", np.rot90(plain), exif=turned),
        "animated.png",
        "cmyk.tiff",
        save("colour.webp", np.dstack([plain] * 3), lossless=True),
        save("named.weird", plain, format="PNG"),
    ]
    found = probabilities(brightness(), *same)
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=0, atol=1e-5)
    torch.testing.assert_close(found[0], torch.tensor([float(plain.mean()), 250]).mul(4 / 255).softmax(0), rtol=0, atol=1e-5)
    alpha = probabilities(brightness(), save("alpha.png", rgba), save("white.png", white))
    assert torch.equal(alpha[0], alpha[1])
    assert probabilities(brightness((3, 4, 4)), save("1x1.png", np.full((1, 1), 7, np.uint8))).shape == (1, 2)


def test_a_folder_stands_for_the_pictures_in_it(here: Path) -> None:
    for name in ("b/2.png", "b/10.png", "a.png", ".hidden.png", "b/.git/c.png", "b/notes.txt"):
        Path("photos", name).parent.mkdir(parents=True, exist_ok=True)
        save(f"photos/{name}", np.zeros((4, 4), np.uint8), format="PNG")
    Path("photos/b/again").symlink_to(here / "photos")
    files = ["photos/a.png", "photos/b/10.png", "photos/b/2.png"]
    assert [each.path for each in predict_files(brightness(), "photos")] == files
    assert [each.path for each in predict_files(brightness(), Path("photos/a.png"))] == files[:1]
    several: list[str | Path] = ["photos/b/notes.txt", Path("photos"), "photos/a.png"]
    assert [(each.path, each.error) for each in predict_files(brightness(), several)] == [
        (path, None) for path in ["photos/b/notes.txt", *files, "photos/a.png"]
    ]
    assert list(predict_files(brightness(), [])) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_an_error_among_the_others(here: Path) -> None:
    Path("photos/closed").mkdir(parents=True)
    save("photos/a.png", np.zeros((4, 4), np.uint8))
    Path("photos/closed").chmod(0)
    found = [(each.path, each.error) for each in predict_files(brightness(), "photos")]
    Path("photos/closed").chmod(0o700)
    assert found == [("photos/closed", "permission denied"), ("photos/a.png", None)]


@pytest.mark.parametrize("shape", [(3, 32, 48), (2, 8, 8), (64,)])
def test_a_model_of_other_images_is_refused_at_once(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError) as error:
        predict_files(brightness(shape), ["a.png"])
    assert str(error.value) == (
        f"the model takes images of {'x'.join(map(str, shape))}, and pictures can only be made square, with 1 or 3 "
        "channels; train it on such images, or call it in Python"
    )


def test_a_device_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="'gpu' is not a device"):
        predict_files(brightness(), ["a.png"], device="gpu")


def test_an_output_that_is_no_number_is_an_error_of_that_picture(here: Path) -> None:
    model = brightness()
    files = [save("black.png", np.zeros((4, 4), np.uint8)), save("dot.png", np.eye(4, dtype=np.uint8) * 255)]
    model.network = Lambda(lambda x: torch.stack([x.mean((1, 2, 3)), x.mean((1, 2, 3)) / x.amax((1, 2, 3))], dim=1))
    found = list(predict_files(model, files))
    assert [each.error for each in found] == ["the model's output for it is not a number", None]
    assert found[0].probabilities is None


def test_the_model_predicts_in_evaluation_mode(here: Path) -> None:
    model = brightness()
    model.network = nn.Sequential(nn.Dropout(0.999), model.network).train()
    file = save("white.png", np.full((4, 4), 255, np.uint8))
    assert probabilities(model, file).tolist() == [[0.5, 0.5]]
    assert not any(module.training for module in model.modules())


def test_predictions_are_kept_and_can_be_counted_and_cut(here: Path) -> None:
    found = predict_files(brightness(), [save(f"{at}.png", np.full((4, 4), at, np.uint8)) for at in range(5)])
    assert len(found) == 5
    assert [each.path for each in found[1:3]] == ["1.png", "2.png"]
    last = found[-1]
    Path("4.png").unlink()
    assert found[4] is last
    assert [each.error for each in found] == [None] * 5


def test_predictions_show_themselves_though_the_files_are_gone(here: Path) -> None:
    model = brightness()
    model.classes = (ODD, "first")
    save("a.png", np.array([[200, 0, 0, 0], *[[0] * 4] * 3], np.uint8))
    save(f"{ODD.replace('/', '')}.png", np.full((4, 4), 255, np.uint8))
    found = predict_files(model, ["a.png", f"{ODD.replace('/', '')}.png", "gone.png"])
    odd, seen = "<b>&\"' $x_ \\x1b\\u202e", "<b>&\"' $x_ \ufffd\ufffd"
    told = ["a.png: first, 95.0 %", f"{odd}.png: {odd}, 50.0 %", "gone.png: error: no such file or directory"]
    assert repr(found).splitlines() == told
    Path("a.png").unlink()
    assert [lines for _, lines in pictures(found)] == [
        ["first", "95.0 %", "a.png"],
        [seen, "50.0 %", f"{seen}.png"],
        ["error: no such file or directory", "gone.png"],
    ]
    assert [picture.ravel().tolist()[:2] for picture, _ in pictures(found)] == [[200, 0], [255, 255], []]


def test_many_photographs_are_shown_small(here: Path) -> None:
    save("photo.jpg", np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8))
    found = predict_files(brightness((3, 224, 224)), ["photo.jpg"] * 3 + ["none.jpg"] * 9997)
    assert repr(found).splitlines()[-1] == "and 9,994 more"
    start = time.process_time()
    assert len(pictures(found)) == 24
    assert time.process_time() - start < 2
    assert "10,000 pictures" in said(found)
    assert "and 9,976 more" in said(found)


def test_predictions_go_on_after_they_were_stopped(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "_PIECE_FILES", 2)
    files = [save(f"{grey}.png", np.full((4, 4), grey, np.uint8)) for grey in range(10, 60, 10)]
    model, calls = brightness(), list[int]()

    def stop(*_: Any) -> None:
        calls.append(len(calls))
        if len(calls) == 2:
            raise KeyboardInterrupt

    handle = model.register_forward_pre_hook(stop)
    found = predict_files(model, files, device="cpu")
    with pytest.raises(KeyboardInterrupt):
        list(found)
    handle.remove()
    assert [each.path for each in found] == files
    assert torch.equal(torch.stack([each.probabilities for each in found]), probabilities(model, *files))  # type: ignore[misc]


def test_a_zero_byte_in_a_name_stops_no_process(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinyclsf.pictures.decoding._STARTUP_SECONDS", 1e-9)
    monkeypatch.setattr("tinyclsf.pictures.decoding.processor_count", lambda: 2)
    files = [save(f"{number}.png", np.zeros((4, 4), np.uint8)) for number in range(20)]
    found = predict_files(brightness(), [*files, "a\0b"], device="cpu")
    assert [each.error for each in found] == [None] * 20 + ["embedded null byte"]
