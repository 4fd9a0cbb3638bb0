"""`tinyclsf script`."""

from __future__ import annotations

from pathlib import Path

from tests.support.commands import Cli

FIT = ("fit", "mnist-logistic", "--epochs", "1", "-d", "train_size=640", "--device", "cpu", "--progress", "none")


def test_a_script_goes_to_stdout_or_into_a_file(cli: Cli, tmp_path: Path) -> None:
    assert cli(*FIT, "--run", "overnight").code == 0
    printed = cli("script", "overnight")
    assert (printed.code, printed.err) == (0, "")
    compile(printed.out, "train.py", "exec")
    assert printed.out.startswith('"""Train mnist-logistic on digits, in plain PyTorch.\n')
    assert printed.out.endswith('if __name__ == "__main__":\n    main()\n')

    written = cli("script", "overnight", "--out", "train.py")
    assert (written.code, written.err) == (0, "")
    assert written.out == "data    digits of scikit-learn, read by the script\nscript  train.py\n"
    assert Path("train.py").read_text() == printed.out

    found = cli("script", "overnight", "--json").document
    assert found == {
        "version": 1,
        "command": "script",
        "run": "runs/overnight",
        "script": printed.out,
        "files": [],
        "data": "digits of scikit-learn, read by the script",
        "notes": [],
    }
    found = cli("script", "overnight", "--out", "train.py", "--json").document
    assert (found["script"], found["files"]) == ("train.py", ["train.py"])


def test_data_in_a_file_need_a_script_in_a_file(cli: Cli, tmp_path: Path) -> None:
    assert cli(*FIT, "--run", "part", "-d", "fraction=0.5").code == 0
    failed = cli("script", "part")
    assert (failed.code, failed.out) == (2, "")
    assert failed.err == (
        "error: the images of data set digits with these options go into an .npz file beside the script; give --out FILE.py\n"
    )
    assert cli("script", "part", "--out", "train.py").out == (
        "data    from train.npz beside the script\nscript  train.py\nscript  train.npz\n"
    )


def test_notes_go_to_stderr(cli: Cli) -> None:
    assert cli(*FIT, "--run", "short").code == 0
    config = Path("runs/short/config.json")
    config.write_text(config.read_text().replace('"epochs": {\n      "value": 1,', '"epochs": {\n      "value": 3,'))
    note = "the run was stopped after 1 of 3 epochs; the script trains all of them"
    found = cli("script", "short")
    assert found.err == f"warning: {note}\n"
    assert cli("script", "short", "--json").document["notes"] == [note]


def test_a_folder_is_no_place_for_a_script(cli: Cli) -> None:
    assert cli(*FIT, "--run", "first").code == 0
    found = cli("script", "first", "--out", "runs")
    assert (found.code, found.out) == (7, "")
    assert found.err == "error: cannot write runs: it is a folder; give the name of a file\n"
