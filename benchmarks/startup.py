"""How long commands take that do not train, as whole processes: those that need no PyTorch against starting Python, the others
against importing PyTorch, with matplotlib where they draw."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pairs import compare
from PIL import Image

TINYCLSF = str(Path(sys.executable).with_name("tinyclsf"))


def start(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    ways = {"python -c pass": partial(start, sys.executable, "-c", "pass")}
    ways["python -c 'import tinyclsf'"] = partial(start, sys.executable, "-c", "import tinyclsf")
    ways |= {f"tinyclsf {word}": partial(start, TINYCLSF, word) for word in ("--help", "--version", "list")}
    compare("starting up", ways, rounds=15)
    with TemporaryDirectory() as folder:
        run, picture = f"{folder}/run", f"{folder}/digit.png"
        start(TINYCLSF, "fit", "mnist-cnn", "--epochs", "1", "--runs", folder, "--run", "run")
        Image.fromarray(np.zeros((28, 28), np.uint8)).save(picture)
        imports = ("import torch", "import torch, matplotlib.figure")
        ways = {code: partial(start, sys.executable, "-c", code) for code in imports}
        commands = {"predict": (run, picture), "evaluate": (run,), "report": (run,)}
        ways |= {f"tinyclsf {word}": partial(start, TINYCLSF, word, *rest) for word, rest in commands.items()}
        compare("after training", ways, rounds=9)
