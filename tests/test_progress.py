"""Word of long work reaches whoever listens, while they listen."""

from __future__ import annotations

from contextlib import suppress

from tinyclsf.progress import listening, tell


def test_word_reaches_every_listener_inside_its_block_and_nobody_after() -> None:
    outer: list[tuple[str, int, int]] = []
    inner: list[tuple[str, int, int]] = []
    tell("reading pictures", 0, 2)
    with listening(lambda *word: outer.append(word)):
        tell("reading pictures", 1, 2)
        with suppress(KeyboardInterrupt), listening(lambda *word: inner.append(word)):
            tell("reading pictures", 2, 2)
            raise KeyboardInterrupt
        tell("reading labels", 1, 1)
    tell("reading labels", 2, 2)
    assert outer == [("reading pictures", 1, 2), ("reading pictures", 2, 2), ("reading labels", 1, 1)]
    assert inner == [("reading pictures", 2, 2)]
