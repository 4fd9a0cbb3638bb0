"""Word of long work reaches whoever listens, while they listen."""

from __future__ import annotations

from contextlib import suppress

from tinyclsf.progress.telling import listening, tell_progress, within


def test_word_reaches_the_innermost_listener_inside_its_block_and_nobody_after() -> None:
    outer: list[tuple[str, int, int]] = []
    inner: list[tuple[str, int, int]] = []
    tell_progress("reading pictures", 0, 2)
    with listening(lambda *word: outer.append(word)):
        tell_progress("reading pictures", 1, 2)
        with suppress(KeyboardInterrupt), listening(lambda *word: inner.append(word)):
            tell_progress("reading pictures", 2, 2)
            raise KeyboardInterrupt
        tell_progress("reading labels", 1, 1)
    tell_progress("reading labels", 2, 2)
    assert outer == [("reading pictures", 1, 2), ("reading labels", 1, 1)]
    assert inner == [("reading pictures", 2, 2)]


def test_work_on_a_part_counts_towards_the_whole() -> None:
    words: list[tuple[str, int, int]] = []
    with listening(lambda *word: words.append(word)):
        with suppress(KeyboardInterrupt), within("predicting", 10, 15):
            tell_progress("reading pictures", 2, 5)
            raise KeyboardInterrupt
        tell_progress("reading labels", 1, 1)
    with within("predicting", 0, 5):
        tell_progress("reading pictures", 1, 5)
    assert words == [("predicting", 12, 15), ("reading labels", 1, 1)]
