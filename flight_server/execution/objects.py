"""The objects of an answer, in its order: those of the ticket, or those found in the sky."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

from flight_server.planning.cursors import MARK_BYTES, NO_MARK, Place, lost_place

__all__ = ["Objects", "mark_of"]

ObjectIds = Sequence[str | int]


class Objects:
    """The objects of an answer. Those of a search are found when they are needed, so that a limit ends the search too.

    Parameters
    ----------
    ids
        The objects known from the start, without repeats.
    after
        The cursor of the plan; the answer begins with its object.
    search
        Groups of further objects, possibly with repeats.
    """

    def __init__(self, ids: ObjectIds, after: Place | None, search: Iterable[ObjectIds] | None = None) -> None:
        self._found: list[str | int] = []
        self.ids = ids if search is None else self._found
        self._begin = 0 if after is None else after.request_index
        self._search = None if search is None else iter(search)
        self._known: set[str | int] = set()
        self._marked = 0
        self._hash = blake2b(digest_size=MARK_BYTES)

    @classmethod
    def search(cls, groups: Iterable[ObjectIds], after: Place | None, *, whole: bool) -> Objects:
        """Return the objects of a search.

        Parameters
        ----------
        groups
            Groups of objects, in order, possibly with repeats.
        after
            The cursor of the plan.
        whole
            Whether to find all objects now, since the order depends on all of them.

        Raises
        ------
        CursorMismatch
            The objects up to the cursor, or all if `whole`, are others than when it was made.
        """
        objects = cls((), after, groups)
        wanted = 0 if after is None else after.request_index + 1
        while (whole or len(objects.ids) < wanted) and objects._find():
            pass
        if whole:
            objects.mark(len(objects.ids) - 1)
        if after is not None and (len(objects.ids) < wanted or objects.mark(after.request_index) != after.mark):
            raise lost_place()
        return objects

    def groups(self, most: int) -> Iterator[tuple[int, ObjectIds]]:
        """Yield the objects from the cursor's on, at most so many at once, each time with the index of the first from there."""
        place = self._begin
        while place < len(self.ids) or self._find():
            group = self.ids[place : place + most]
            yield place - self._begin, group
            place += len(group)

    def mark(self, index: int) -> bytes:
        """Return a digest of the objects up to an index, or of more; indices ascend from call to call."""
        if self._search is None:
            return NO_MARK
        for one in self.ids[self._marked : index + 1]:
            self._hash.update(f"{one}\0".encode())
        self._marked = max(self._marked, index + 1)
        return self._hash.digest()

    def _find(self) -> bool:
        """Find more objects; return whether there are any."""
        for group in self._search or ():
            new = [one for one in dict.fromkeys(group) if one not in self._known]
            if new:
                self._known.update(new)
                self._found += new
                return True
        return False


def mark_of(keys: Iterable[bytes]) -> bytes:
    """Return a digest of row keys."""
    return blake2b(b"\0".join(keys), digest_size=MARK_BYTES).digest()
