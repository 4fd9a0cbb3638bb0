"""What `torchrun` tells each process that it starts, in its environment; without it there is one process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tinyclsf.machine.shell import shell_text


def processes() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0")) if processes() > 1 else 0


def processes_here() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if processes() > 1 else 1


def rank_here() -> int:
    """Which of those on this machine this is, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if processes() > 1 else 0


def command() -> str:
    """What a person begins a command with to start as many processes, with the options that torchrun was given.

    `--` keeps torchrun from taking an option for its own.
    """
    if processes() == 1:
        return "tinyclsf"
    return f"{shell_text(*(_AGENT or _alike()))} -m -- tinyclsf"


def resume_command(folder: str | Path) -> str:
    """What a person goes on with a run with."""
    return f"{command()} fit --resume {shell_text(folder)}"


def _agent() -> list[str]:
    """The torchrun that started this process, without the program that it starts; nothing where the system does not tell."""
    try:
        words = Path(f"/proc/{os.getppid()}/cmdline").read_text(errors="surrogateescape").split("\0")[:-1]
    except OSError:
        return []
    started = words[: len(words) - len(sys.argv[1:])]
    if words[len(started) :] != sys.argv[1:] or len(started) < 3:
        return []
    options = [word for word in started[2:-1] if word not in ("-m", "--module", "--no-python", "--")]
    if Path(started[1]).name == "torchrun":
        return ["torchrun", *options]
    by_module = started[1:3] == ["-m", "torch.distributed.run"]
    return ["torchrun", *options[1:]] if by_module else []


_AGENT = _agent() if processes() > 1 else []  # asked at the start, as it may have ended when its command is wanted


def _alike() -> list[str]:
    machines = processes() // processes_here()
    several = ["--nnodes", str(machines)] if machines > 1 else []
    return ["torchrun", *several, "--nproc-per-node", str(processes_here())]
