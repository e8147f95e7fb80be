"""Where each object's rows stand in a segment, for reads of many objects at once.

It is made from the segment's keys when it is first wanted: one entry for each object, so that a thousand objects are
found in one search of a short array and not in two of a long one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flight_server.storage.keys import KeyExpression

__all__ = ["ObjectIndex"]

Keys = npt.NDArray[np.bytes_]
Places = npt.NDArray[np.int64]
STEP = 262_144  # keys that are looked at together


class ObjectIndex:
    """The objects of one segment, n of them.

    Parameters
    ----------
    keys
        All row keys, ascending.
    expression
        How they are made; the object's ID comes first in them.
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
        """Find the rows [low, high) of objects, by what their keys begin with; low is high where there are none."""
        width = self._names.dtype.itemsize
        cut = beginnings.astype(f"S{width}")
        order = np.argsort(cut)  # neighbours are found near each other
        at = np.empty(len(cut), dtype=np.int64)
        at[order] = np.searchsorted(self._names, cut[order])
        inside = np.minimum(at, len(self._names) - 1)
        there = (self._names[inside] == cut) & (np.char.str_len(beginnings) <= width)
        low = self._starts[inside]
        return low, np.where(there, self._starts[inside + 1], low)


def _beginnings(keys: Keys, expression: KeyExpression) -> Keys:
    """Give what each key begins with up to the end of its object's ID, the text that separates it included."""
    literal = expression.literals[0].encode()
    if not literal:
        return keys
    width = keys.dtype.itemsize
    letters = np.ascontiguousarray(keys).view(np.uint8).reshape(len(keys), width)
    front = len(expression.front.encode())
    ends = np.argmax(letters[:, front:] == literal[0], axis=1) + front + 1
    longest = int(ends.max(initial=1))
    kept = np.where(np.arange(longest) < ends[:, None], letters[:, :longest], 0).astype(np.uint8)
    found: Keys = np.ascontiguousarray(kept).view(f"S{longest}").reshape(len(keys))
    return found
