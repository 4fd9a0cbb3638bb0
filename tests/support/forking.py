"""Programs in processes of their own that need not import torch: they are forked from one that has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# A line on stdin is a job to start, answered by its process, or a process to wait for, answered by its exit code.
SERVER = """
import json, os, runpy, signal, sys
import torch, torch._dynamo
import tinyclsf, tinyclsf.cli.app

for name in tinyclsf.__all__:
    getattr(tinyclsf, name)

def run(job):
    os.setsid()
    signal.alarm(120)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.chdir(job["folder"])
    os.environ.update(job["environment"])
    for number, name in ((0, os.devnull), (1, job["out"]), (2, job["err"])):
        os.dup2(os.open(name, os.O_RDONLY if number == 0 else os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    sys.path[:0] = job["path"]
    sys.argv = ["-c", *job["args"]]
    if job["code"] is None:
        runpy.run_module("tinyclsf", run_name="__main__", alter_sys=True)
    exec(compile(job["code"], "-c", "exec"), {"__name__": "__main__"})

for line in sys.stdin:
    job = json.loads(line)
    if job is None:
        break
    if isinstance(job, int):
        print(os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]), flush=True)
        continue
    child = os.fork()
    if child == 0:
        code = 0
        try:
            run(job)
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
"""


class Forked:
    """A program that runs; `out` and `err` are the files that it writes to."""

    def __init__(self, forks: Forks, pid: int, out: Path, err: Path) -> None:
        self.forks = forks
        self.pid = pid
        self.out = out
        self.err = err

    def finish(self) -> tuple[int, str, str]:
        """Wait for its end: exit code, stdout and stderr."""
        code = int(self.forks.ask(self.pid))
        return code, self.out.read_text(), self.err.read_text()


class Forks:
    """Starts programs: `tinyclsf` with arguments, or Python code; each leads a session of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started = 0
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TINYCLSF")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ask(self, job: Any) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(job), file=self.process.stdin, flush=True)
        return self.process.stdout.readline()

    def start(
        self,
        folder: Path,
        *args: str,
        code: str | None = None,
        path: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Forked:
        """Start a program in a folder; modules are looked for in `path` first."""
        self.started += 1
        out, err = (self.folder / f"{self.started}.{name}" for name in ("out", "err"))
        job = {
            "folder": str(folder),
            "args": args,
            "code": code,
            "path": [] if path is None else [str(path)],
            "environment": dict(environment or {}),
            "out": str(out),
            "err": str(err),
        }
        for file in (out, err):
            file.touch()
        return Forked(self, int(self.ask(job)), out, err)

    def run(self, folder: Path, *args: str, **options: Any) -> tuple[int, str, str]:
        """Run a program to its end: exit code, stdout and stderr."""
        return self.start(folder, *args, **options).finish()

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        # Said, as the end of its stdin is not seen while a loader's process, forked from this one, has it open.
        print("null", file=self.process.stdin, flush=True)
        self.process.wait(timeout=60)
        self.process.stdin.close()
        self.process.stdout.close()
