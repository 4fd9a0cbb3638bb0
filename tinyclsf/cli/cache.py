"""`tinyclsf cache`: the decoded pictures that are kept for later runs."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from tinyclsf.cli.output import Output, columns, document
from tinyclsf.cli.shared_options import DIRECTORY, common_options, option
from tinyclsf.errors import StorageError
from tinyclsf.machine.shell import shell_text
from tinyclsf.pictures.cache import KeptSet, cache_folder, empty_cache, kept_sets, size_text

_HEADER = ("pictures in", "number", "pixels", "size", "last used")


@click.command(short_help="See or remove the decoded pictures that are kept.")
@click.argument("folder", required=False, **DIRECTORY)
@option("--empty", is_flag=True, help="Remove all of them.")
@common_options
def cache(folder: Path | None, empty: bool) -> Output:
    """List the decoded pictures of image folders and tables, which make the next run on them start at once.

    FOLDER is where they are kept. [$TINYCLSF_CACHE, else ~/.cache/tinyclsf/pictures]

    They take at most half of the disk's free space; sets that have been unused for the longest time are removed first.
    They can always be removed: the next run decodes the pictures again.

    \b
    tinyclsf cache
    tinyclsf cache --empty
    """
    again = shell_text("tinyclsf", "cache", *([] if folder is None else [folder]), "--empty")
    try:
        folder = folder or cache_folder()
        found = empty_cache(folder) if empty else kept_sets(folder)
    except OSError as error:
        raise StorageError(f"cannot read {folder or 'the cache'}: {error.strerror}; give its folder") from error
    what = f"{len(found)} {'set' if len(found) == 1 else 'sets'}, {size_text(sum(each.bytes for each in found))}"
    if not found:
        text = f"no decoded pictures are kept in {folder}"
    elif empty:
        text = f"removed {what}, from {folder}"
    else:
        lines = columns([_HEADER, *map(_row, found)], indent="")
        text = "\n".join([*lines, f"{what}, in {folder}; '{again}' removes them"])
    return Output(text, document("cache", folder=folder, sets=[*map(_content, found)], removed=empty))


def _row(kept: KeptSet) -> tuple[str, ...]:
    size, used = size_text(kept.bytes), f"{datetime.datetime.fromtimestamp(kept.used):%Y-%m-%d %H:%M}"
    if kept.about is None:
        return "(broken)", "-", "-", size, used
    about = kept.about
    return about.folder, f"{about.files:,}", f"{about.size}x{about.size} {about.fit}", size, used


def _content(kept: KeptSet) -> dict[str, object]:
    names = {"folder": "folder", "pictures": "files", "size": "size", "channels": "channels", "fit": "fit"}
    content = {name: getattr(kept.about, field, None) for name, field in names.items()}
    used = datetime.datetime.fromtimestamp(kept.used).astimezone().isoformat(timespec="seconds")
    return {"path": kept.path, **content, "bytes": kept.bytes, "used": used}
