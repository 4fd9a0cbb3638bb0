"""Installed plugins, each examined in a process of its own: what it does there, or fails to do, is told and harms nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from tinyclsf.errors import PluginError
from tinyclsf.pictures.decoding import processor_count
from tinyclsf.registry.plugins import Kind, Plugin
from tinyclsf.testing import CHECKS
from tinyclsf.testing.checking import Verdict, Verdicts

LIMIT = 60.0  # seconds


def examine(plugins: Sequence[Plugin], *, limit: float = LIMIT) -> list[Verdicts]:
    """What the quick checks say of each plugin; one that takes longer than `limit` seconds is ended."""
    context: Any = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
    if sys.platform != "win32":
        context.set_forkserver_preload([__name__])  # all that they have in common is imported once
    with ThreadPoolExecutor(processor_count()) as pool:
        return list(pool.map(lambda plugin: _examined(context, plugin, limit), plugins))


def _examined(context: Any, plugin: Plugin, limit: float) -> Verdicts:
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_examine, args=(plugin.kind, plugin.name, sender), daemon=True)
    process.start()
    sender.close()
    try:
        if receiver.poll(limit):
            return Verdicts(Verdict(*each) for each in json.loads(receiver.recv_bytes()))
        sentence = f"it was not imported and tried within {limit:g} seconds; wanted no work while it is imported"
    except EOFError:
        process.join(1)
        sentence = f"the process that imports it ended with exit code {process.exitcode}; wanted no exit, and no crash"
    finally:
        process.kill()
        process.join()
        receiver.close()
    return Verdicts([Verdict("process", "failed", sentence)])


def _examine(kind: Kind, name: str, sender: Connection) -> None:
    # What a plugin prints, from C too, belongs to no table.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    try:
        verdicts = Verdicts(each.verdict() for each in CHECKS[kind].bound(name, quick=True))
    except PluginError as error:
        verdicts = Verdicts([Verdict("name", "failed", str(error))])
    sender.send_bytes(json.dumps([list(vars(each).values()) for each in verdicts]).encode())
