"""What `torchrun` tells each process that it starts, in its environment; without it there is one process."""

from __future__ import annotations

import os


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
    """What a person begins a command with to start as many processes; `--` keeps torchrun from taking an option for its own."""
    if processes() == 1:
        return "tinyclsf"
    machines = processes() // processes_here()
    return f"torchrun{f' --nnodes {machines}' if machines > 1 else ''} --nproc-per-node {processes_here()} -m -- tinyclsf"
