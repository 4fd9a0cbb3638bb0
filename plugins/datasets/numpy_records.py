"""What a pickle's calls become: inert records, each checked to be exactly what NumPy writes for arrays of numbers.

No name in a pickle is looked up and none of its calls is made. An allow-list of NumPy's own functions would not be enough,
because a forged state can crash NumPy; here the bytes become an array only after type, shape and length are found to agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_MAX_ARRAYS = 8  # the tutorial's MNIST has 6
_MAX_KEYS = 16  # CIFAR-100 has 5
_CODES = {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}


class Refused(Exception):
    """Something in the file that arrays of numbers do not need."""


class Global(NamedTuple):
    """A name that the pickle asks for."""

    module: str
    name: str


_RECONSTRUCT = {Global(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}
_FROM_BUFFER = {Global(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")}
_NDARRAY, _DTYPE, ENCODE = Global("numpy", "ndarray"), Global("numpy", "dtype"), Global("_codecs", "encode")
_ALLOWED = _RECONSTRUCT | _FROM_BUFFER | {_NDARRAY, _DTYPE, ENCODE}


@dataclass(eq=False)
class Dtype:
    """A number type; its state brings the byte order."""

    code: str
    order: str | None = None


@dataclass(eq=False)
class Array:
    """An array whose bytes are still in the file; its state brings them, or the call itself under protocol 5."""

    view: NDArray[Any] | None = None


def named(module: Any, name: Any) -> Global:
    """The record of a name.

    Raises: Refused if arrays of numbers do not need this name.
    """
    found = Global(word(module), word(name))
    if found not in _ALLOWED:
        raise Refused(f"asks for {'.'.join(found)[:80]!a}")
    return found


def called(function: Any, arguments: Any) -> Array | Dtype | memoryview:
    """The record of a call.

    Raises: Refused if the arguments are not those that NumPy writes.
    """
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise Refused("calls something that is not a function")
    if function in _RECONSTRUCT and len(arguments) == 3:
        kind, shape, code = arguments
        if kind == _NDARRAY and shape == (0,) and word(code) == "b":
            return Array()
    elif function == _DTYPE and len(arguments) == 3:
        code, align, copy = arguments
        if word(code) not in _CODES:
            raise Refused(f"has an array of type {word(code)[:20]!a}")
        if align in (False, 0) and copy in (True, 1):
            return Dtype(word(code))
    elif function in _FROM_BUFFER and len(arguments) == 4:
        data, dtype, shape, order = arguments
        if word(order) in ("C", "F"):
            return Array(_array(data, dtype, shape, fortran=word(order) == "F"))
    elif function == ENCODE and len(arguments) == 2:
        text, codec = arguments
        if isinstance(text, str) and word(codec) in ("latin1", "latin-1"):
            return memoryview(text.encode("latin-1"))
    raise Refused(f"calls {function.module}.{function.name} with arguments that no array of numbers has")


def set_state(target: Any, state: Any) -> None:
    """Complete the record of an array or of its number type.

    Raises: Refused if the state is not what NumPy writes.
    """
    if isinstance(target, Dtype) and isinstance(state, tuple) and len(state) == 8:
        version, order, *rest = state
        wanted = ("|",) if target.code.endswith("1") else ("<", ">")
        if version == 3 and word(order) in wanted and rest == [None, None, None, -1, -1, 0]:
            target.order = word(order)
            return
    if isinstance(target, Array) and target.view is None and isinstance(state, tuple) and len(state) == 5:
        version, shape, dtype, fortran, data = state
        if version == 1 and fortran in (False, True):
            target.view = _array(data, dtype, shape, fortran=bool(fortran))
            return
    raise Refused("sets a state that no array of numbers has")


def finished_arrays(value: Any, limit: int) -> Any:
    """The records in a value as arrays of their own: writable, in C order and the machine's byte order.

    Raises: Refused if the value is not an array, or tuples or lists of arrays two deep at most, of `limit` bytes in all.
    """
    # The memo can name the same bytes many times, and a list can hold itself: all is counted before any is copied.
    parts = value if isinstance(value, (tuple, list)) else [value]
    arrays: list[Any] = []
    for part in parts[: _MAX_ARRAYS + 1]:
        arrays.extend(part[: _MAX_ARRAYS + 1] if isinstance(part, (tuple, list)) else [part])
    if not all(isinstance(each, Array) and each.view is not None for each in arrays):
        raise Refused("holds something that is not an array")
    if len(parts) > _MAX_ARRAYS or len(arrays) > _MAX_ARRAYS:
        raise Refused(f"holds more than {_MAX_ARRAYS} arrays")
    if sum(each.view.nbytes for each in arrays) > limit:
        raise Refused("holds the same array many times")
    return _copied(value)


def finished_dictionary(value: Any, limit: int) -> dict[str, Any]:
    """The dictionary with its arrays as views of the file's bytes, in its own lists and with bytes as texts.

    Raises: Refused if it is not a dictionary, or holds anything but arrays, integers, texts, and lists of integers or texts,
    of `limit` elements in all.
    """
    if not isinstance(value, dict):
        raise Refused("holds something that is not a dictionary")
    if len(value) > _MAX_KEYS:
        raise Refused(f"has a dictionary of more than {_MAX_KEYS} keys")
    # The memo can name the same list many times.
    if sum(len(each) for each in value.values() if isinstance(each, list)) > limit:
        raise Refused("holds the same list many times")
    return {key: _finished_value(each) for key, each in value.items()}


def _finished_value(value: Any) -> Any:
    if isinstance(value, Array) and value.view is not None:
        return value.view
    if isinstance(value, list):
        return [_number_or_text(each) for each in value]
    return _number_or_text(value)


def _number_or_text(value: Any) -> int | str:
    if type(value) is int and -(1 << 63) <= value < 1 << 63:
        return value
    return word(value)


def _copied(value: Any) -> Any:
    if isinstance(value, Array):
        assert value.view is not None
        return np.array(value.view, dtype=value.view.dtype.newbyteorder("="), order="C")
    return type(value)(_copied(each) for each in value)


def _array(data: Any, dtype: Any, shape: Any, *, fortran: bool) -> NDArray[Any]:
    if not isinstance(dtype, Dtype) or dtype.order is None or not isinstance(data, memoryview):
        raise Refused("has an array without a number type or without bytes")
    if not isinstance(shape, tuple) or not 1 <= len(shape) <= 4:
        raise Refused("has an array without a shape")
    if not all(type(size) is int and 0 < size <= len(data) for size in shape):
        raise Refused("has an array that is empty or larger than its bytes")
    number = np.dtype(dtype.order + dtype.code)
    wanted = prod(shape) * number.itemsize
    if len(data) != wanted:
        raise Refused(f"has an array of {len(data):,} bytes where its shape wants {wanted:,}")
    return np.frombuffer(data, number).reshape(shape, order="F" if fortran else "C")


def word(value: Any) -> str:
    """A short text, or the byte string that Python 2 wrote for it.

    Raises: Refused if it is anything else.
    """
    if isinstance(value, memoryview) and len(value) <= 256:
        return bytes(value).decode("latin-1")
    if not isinstance(value, str) or len(value) > 256:
        raise Refused("has something else where a word is wanted")
    return value
