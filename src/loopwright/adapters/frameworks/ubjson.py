"""Universal Binary JSON (draft 12), as XGBoost writes it, decoded within bounds."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["decode"]

_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_CONSTANTS = {"Z": None, "T": True, "F": False}
_DEPTH = 32


def decode(data: bytes) -> Any:
    """The value that the bytes are; typed arrays are NumPy's. `ValueError` for what is none."""
    reader = _Reader(data)
    value = reader.value(reader.marker(), 0)
    if reader.at != len(data):
        raise ValueError("there are bytes behind the value")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def marker(self) -> str:
        while True:
            found = chr(self._take(1)[0])
            if found != "N":
                return found

    def value(self, marker: str, depth: int) -> Any:
        if depth > _DEPTH:
            raise ValueError("too deep")
        if marker in _NUMBERS:
            return self._number(marker)
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker in {"S", "H"}:
            return self._text()
        if marker == "C":
            return chr(self._take(1)[0])
        if marker == "[":
            return self._array(depth)
        if marker == "{":
            return self._object(depth)
        raise ValueError(f"no value begins with {marker!r}")

    def _take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self._data):
            raise ValueError("it ends too soon")
        self.at += size
        return self._data[self.at - size : self.at]

    def _number(self, marker: str) -> int | float:
        kind = np.dtype(_NUMBERS[marker])
        return np.frombuffer(self._take(kind.itemsize), kind)[0].item()  # type: ignore[no-any-return]  # a scalar of that type

    def _length(self) -> int:
        marker = self.marker()
        if marker not in "iUIlL":
            raise ValueError("a length is no integer")
        return int(self._number(marker))

    def _text(self) -> str:
        return self._take(self._length()).decode()

    def _array(self, depth: int) -> Any:
        marker = self.marker()
        if marker == "$":
            kind = self.marker()
            if self.marker() != "#" or kind not in _NUMBERS:
                raise ValueError("a typed array has no count, or no numbers")
            dtype, count = np.dtype(_NUMBERS[kind]), self._length()
            return np.frombuffer(self._take(count * dtype.itemsize), dtype)
        if marker == "#":
            return [self.value(self.marker(), depth + 1) for _ in range(self._counted())]
        found = []
        while marker != "]":
            found.append(self.value(marker, depth + 1))
            marker = self.marker()
        return found

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        marker = self.marker()
        count = self._counted() if marker == "#" else None
        while count is None or len(found) < count:
            if count is not None:
                marker = self.marker()
            if marker == "}":
                break
            if marker not in "iUIlL":
                raise ValueError("a key has no length")
            key = self._take(int(self._number(marker))).decode()
            if key in found:
                raise ValueError("a key comes twice")
            found[key] = self.value(self.marker(), depth + 1)
            if count is None:
                marker = self.marker()
        return found

    def _counted(self) -> int:
        count = self._length()
        if count > len(self._data):
            raise ValueError("a count is beyond the bytes")
        return count
