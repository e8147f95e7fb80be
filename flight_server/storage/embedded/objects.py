"""An index of the rows of each object in a segment, for reads of many objects.

It is built from the keys of the segment on first use and has one entry per object, so that a thousand objects need one
search of a short array instead of two of a long one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flight_server.storage.keys import KeyExpression

__all__ = ["ObjectIndex"]

Keys = npt.NDArray[np.bytes_]
Places = npt.NDArray[np.int64]
STEP = 262_144  # keys that are processed together


class ObjectIndex:
    """The objects of one segment, n of them.

    Parameters
    ----------
    keys
        All row keys, ascending.
    expression
        The expression of the keys, which begin with the ID of the object.
    """

    def __init__(self, keys: Keys, expression: KeyExpression) -> None:
        names: list[Keys] = []
        starts: list[Places] = []
        for first in range(0, len(keys), STEP):
            found = _beginnings(keys[first : first + STEP], expression)
            new = np.append(True, found[1:] != found[:-1])
            if names and len(found) and names[-1][-1] == found[0]:
                new[0] = False
            names.append(found[new])
            starts.append(np.flatnonzero(new) + first)
        self._names: Keys = np.concatenate(names)
        self._starts: Places = np.concatenate([*starts, [len(keys)]])

    def find(self, beginnings: Keys) -> tuple[Places, Places]:
        """Return the rows [low, high) of objects by their key prefixes; low equals high if there are none."""
        width = self._names.dtype.itemsize
        cut = beginnings.astype(f"S{width}")
        order = np.argsort(cut)  # sorted searches access memory close together
        at = np.empty(len(cut), dtype=np.int64)
        at[order] = np.searchsorted(self._names, cut[order])
        inside = np.minimum(at, len(self._names) - 1)
        there = (self._names[inside] == cut) & (np.char.str_len(beginnings) <= width)
        low = self._starts[inside]
        return low, np.where(there, self._starts[inside + 1], low)


def _beginnings(keys: Keys, expression: KeyExpression) -> Keys:
    """Return the prefix of each key up to the object ID and its separator."""
    literal = expression.literals[0].encode()
    if not literal:
        return keys
    width = keys.dtype.itemsize
    letters = np.ascontiguousarray(keys).view(np.uint8).reshape(len(keys), width)
    front = len(expression.front.encode())
    separators = letters[:, front:] == literal[0]
    if expression.skipped:
        separators &= np.cumsum(separators, axis=1) > expression.skipped
    ends = np.argmax(separators, axis=1) + front + 1
    longest = int(ends.max(initial=1))
    kept = np.where(np.arange(longest) < ends[:, None], letters[:, :longest], 0).astype(np.uint8)
    found: Keys = np.ascontiguousarray(kept).view(f"S{longest}").reshape(len(keys))
    return found
