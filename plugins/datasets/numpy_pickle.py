"""Reading a pickle of NumPy arrays as data, without `pickle` and without running anything that it names.

A pickle is a program for a small stack machine, whose opcodes may call any function of any module. This machine knows only
the few opcodes that arrays of numbers and dictionaries of them need, and its calls only make records.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyclsf.plugin import DataError
from tinyclsf_plugins.datasets.numpy_records import (
    ENCODE,
    Refused,
    called,
    finished_arrays,
    finished_dictionary,
    named,
    set_state,
    word,
)

_ARRAY_OPCODES = 10_000  # the tutorial's MNIST has about 150
_DICTIONARY_OPCODES = 1_000_000  # CIFAR-100 has about 200,000, and half a million where Python 3 rewrote its names as bytes
_MARK = object()


def parse_numpy_pickle(content: bytes | bytearray, name: str) -> Any:
    """The content of a pickle of numeric arrays in tuples or lists, at most two deep; `name` is the file's, for the message.

    Protocols 2 to 5, written by Python 2 or 3; strings of Python 2 are read as Latin-1.
    Raises: DataError if the pickle is cut short, has bytes after its end, or holds anything else; nothing in it is run.
    """
    return _parsed(content, name, _ARRAY_OPCODES, finished_arrays, "tuples of number arrays")


def parse_pickled_dictionary(content: memoryview, name: str) -> dict[str, Any]:
    """The content of a pickled dictionary of number arrays, integers, texts, and lists of integers or texts.

    Protocols 2 to 5, written by Python 2 or 3. Keys and texts may be bytes of Latin-1; the arrays are views of `content`.
    Raises: DataError if the pickle is cut short, has bytes after its end, or holds anything else; nothing in it is run.
    """
    wanted = "a dictionary of number arrays, whole numbers, texts and lists of those two"
    found: dict[str, Any] = _parsed(content, name, _DICTIONARY_OPCODES, finished_dictionary, wanted)
    return found


def _parsed(
    content: bytes | bytearray | memoryview, name: str, max_opcodes: int, finish: Callable[[Any, int], Any], wanted: str
) -> Any:
    try:
        return finish(_Machine(content).run(max_opcodes), len(content))
    except Refused as error:
        message = f"{name} {error}; wanted {wanted} and nothing else; nothing in it was run"
        raise DataError(f"{message}; fetch it again from a source you trust") from None
    except Exception as error:
        # Whatever else a forged program makes of the machine, it is the file that is at fault.
        raise DataError(f"{name} is not a whole pickle of number arrays ({type(error).__name__}); fetch it again") from error


class _Machine:
    """A stack, a memo and a place in the file."""

    def __init__(self, content: bytes | bytearray | memoryview) -> None:
        self.view = memoryview(content)
        self.at = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.encoded = 0

    def run(self, max_opcodes: int) -> Any:
        if bytes(self.view[:1]) != b"\x80":
            raise Refused(f"starts with {bytes(self.view[:4]).hex(' ')}, not with 80 as pickles of protocol 2 to 5 do")
        for _ in range(max_opcodes):
            opcode = self.take(1)[0]
            if opcode == ord("."):
                if len(self.stack) != 1:
                    raise Refused(f"ends with {len(self.stack)} values where one is wanted")
                if self.at != len(self.view):
                    raise Refused(f"has {len(self.view) - self.at:,} bytes after its end")
                return self.stack.pop()
            if opcode not in _OPCODES:
                raise Refused(f"uses pickle opcode {opcode:#04x}")
            _OPCODES[opcode](self)
        raise Refused(f"has more than {max_opcodes:,} opcodes")

    def take(self, size: int) -> memoryview:
        if not 0 <= size <= len(self.view) - self.at:
            raise Refused("is cut short")
        self.at += size
        return self.view[self.at - size : self.at]

    def number(self, form: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def sized(self, form: str) -> memoryview:
        return self.take(self.number(form))

    def text(self, form: str) -> str:
        data = self.sized(form)
        # C3 is the highest byte of Latin-1 in UTF-8; Python would keep any other text at two or four bytes a character.
        if len(data) and np.frombuffer(data, np.uint8).max() > 0xC3:
            raise Refused("has text outside Latin-1")
        return str(data, "utf-8")

    def line(self) -> str:
        end = bytes(self.view[self.at : self.at + 256]).find(b"\n")
        if end < 0:
            raise Refused("has a name without an end")
        return str(self.take(end + 1)[:end], "ascii")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise Refused("takes a value where there is none")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        values = []
        while self.stack and self.stack[-1] is not _MARK:
            values.append(self.stack.pop())
        if not self.stack:
            raise Refused("takes a mark where there is none")
        self.stack.pop()
        return values[::-1]

    def push_tuple(self, size: int) -> None:
        self.push(tuple([self.pop() for _ in range(size)][::-1]))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        self.push(named(module, name))

    def extend(self, values: list[Any]) -> None:
        target = self.pop()
        if not isinstance(target, list):
            raise Refused("appends to something that is not a list")
        target.extend(values)
        self.push(target)

    def append(self) -> None:
        value = self.pop()
        self.extend([value])

    def set_items(self, items: list[Any]) -> None:
        target = self.pop()
        if not isinstance(target, dict) or len(items) % 2:
            raise Refused("sets items of something that is not a dictionary")
        target.update((word(key), value) for key, value in zip(items[::2], items[1::2], strict=True))
        self.push(target)

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if function == ENCODE and isinstance(arguments, tuple) and arguments and isinstance(arguments[0], str):
            self.encoded += len(arguments[0])
            if self.encoded > len(self.view):  # a text fetched from the memo again and again
                raise Refused("encodes more text than it has")
        self.push(called(function, arguments))

    def build(self) -> None:
        state, target = self.pop(), self.pop()
        set_state(target, state)
        self.push(target)

    def memoize(self, key: int) -> None:
        value = self.pop()
        self.memo[key] = value
        self.push(value)

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise Refused(f"recalls value {key:,} of its memo, which it never stored")
        self.push(self.memo[key])


def _protocol(machine: _Machine) -> None:
    version = machine.take(1)[0]
    if not 2 <= version <= 5:
        raise Refused(f"has pickle protocol {version}")


def _long(machine: _Machine) -> None:
    machine.push(int.from_bytes(machine.take(machine.number("<B")), "little", signed=True))


_OPCODES: dict[int, Callable[[_Machine], object]] = {
    0x80: _protocol,
    0x95: lambda m: m.take(8),  # FRAME, whose length adds nothing to the opcodes' own
    ord("("): lambda m: m.push(_MARK),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(m.number("<i")),  # BININT
    ord("K"): lambda m: m.push(m.number("<B")),  # BININT1
    ord("M"): lambda m: m.push(m.number("<H")),  # BININT2
    0x8A: _long,  # LONG1
    ord("U"): lambda m: m.push(m.sized("<B")),  # SHORT_BINSTRING
    ord("T"): lambda m: m.push(m.sized("<i")),  # BINSTRING
    ord("C"): lambda m: m.push(m.sized("<B")),  # SHORT_BINBYTES
    ord("B"): lambda m: m.push(m.sized("<I")),  # BINBYTES
    0x8E: lambda m: m.push(m.sized("<Q")),  # BINBYTES8
    0x96: lambda m: m.push(m.sized("<Q")),  # BYTEARRAY8
    0x8C: lambda m: m.push(m.text("<B")),  # SHORT_BINUNICODE
    ord("X"): lambda m: m.push(m.text("<I")),  # BINUNICODE
    0x8D: lambda m: m.push(m.text("<Q")),  # BINUNICODE8
    ord(")"): lambda m: m.push(()),
    0x85: lambda m: m.push_tuple(1),
    0x86: lambda m: m.push_tuple(2),
    0x87: lambda m: m.push_tuple(3),
    ord("t"): lambda m: m.push(tuple(m.pop_to_mark())),
    ord("]"): lambda m: m.push([]),
    ord("a"): lambda m: m.append(),
    ord("e"): lambda m: m.extend(m.pop_to_mark()),
    ord("}"): lambda m: m.push({}),
    ord("s"): lambda m: m.set_item(),
    ord("u"): lambda m: m.set_items(m.pop_to_mark()),
    ord("c"): lambda m: m.push(named(m.line(), m.line())),
    0x93: lambda m: m.stack_global(),
    ord("R"): lambda m: m.reduce(),
    ord("b"): lambda m: m.build(),
    ord("q"): lambda m: m.memoize(m.number("<B")),
    ord("r"): lambda m: m.memoize(m.number("<I")),
    0x94: lambda m: m.memoize(len(m.memo)),
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
}
