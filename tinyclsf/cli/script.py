"""`tinyclsf script RUN`: a run as a plain PyTorch script."""

from __future__ import annotations

from pathlib import Path

import click

from tinyclsf.cli.output import Output, document
from tinyclsf.cli.shared_options import FILE, common_options, option, run_argument, runs_option
from tinyclsf.machine.storage import check_target
from tinyclsf.runs.listing import find_run


@click.command(short_help="Write a run as a plain PyTorch script.")
@run_argument
@option("--out", help="Where to write it. [stdout]", **FILE)
@runs_option()
@common_options
def script(run: str, out: Path | None, runs: Path) -> Output:
    """Write RUN as a plain PyTorch script that trains the same model, without tinyclsf.

    It has the data, the model and the loop in one file that can be read from top to bottom. Trained on the CPU by the same
    PyTorch with as many threads, it ends with exactly the same weights as the run.

    \b
    tinyclsf script overnight > train.py
    tinyclsf script overnight --out train.py
    """
    folder = find_run(runs, run)
    if out is not None:
        check_target(out)
    from tinyclsf.cli.console import Watch
    from tinyclsf.scripting.script import write_script

    with Watch("auto") as watch:
        written = write_script(folder, out)
        for note in written.notes:
            watch.warn(note)
    told = {"files": written.files, "data": written.data, "notes": written.notes}
    content = document("script", run=folder, script=written.text if out is None else out, **told)
    if out is None:
        return Output(written.text.rstrip("\n"), content, exact=True)
    lines = [f"data    {written.data}", *(f"script  {file}" for file in written.files)]
    return Output("\n".join(lines), content)
