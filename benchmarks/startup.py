"""How long the command line takes where it need not train: whole processes, against starting Python alone."""

import subprocess
import sys
from pathlib import Path

from pairs import compare

TINYCLSF = str(Path(sys.executable).with_name("tinyclsf"))


def start(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    ways = {
        "python -c pass": lambda: start(sys.executable, "-c", "pass"),
        "python -c 'import tinyclsf'": lambda: start(sys.executable, "-c", "import tinyclsf"),
        "tinyclsf --help": lambda: start(TINYCLSF, "--help"),
        "tinyclsf --version": lambda: start(TINYCLSF, "--version"),
        "tinyclsf list": lambda: start(TINYCLSF, "list"),
    }
    compare("starting up", ways, rounds=15)
