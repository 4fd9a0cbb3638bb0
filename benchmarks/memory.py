"""Peak memory of `tinyclsf fit mnist-cnn --data mnist` over that of a process that has only imported torch."""

import statistics
import subprocess
import sys
from tempfile import TemporaryDirectory

from pairs import DATA_DIR

PEAK = "import resource; print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
IMPORT_TORCH = f"import torch; {PEAK}"
FIT = f"""
from tinyclsf.cli.app import main
assert main(["fit", "mnist-cnn", "--data", "mnist", "--data-dir", {str(DATA_DIR)!r}, "--epochs", "1"]) == 0
{PEAK}
"""


def peak(code: str) -> float:
    """Peak resident memory of a process of its own, in MB (2**20 bytes)."""
    with TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return float(done.stdout.split("PEAK")[1])


if __name__ == "__main__":
    pairs = [(peak(IMPORT_TORCH), peak(FIT)) for _ in range(7)]
    for imported, trained in pairs:
        print(f"  import torch {imported:.0f} MB, fit {trained:.0f} MB, {trained - imported:.0f} MB more")
    print(f"median: {statistics.median(trained - imported for imported, trained in pairs):.0f} MB over importing torch")
