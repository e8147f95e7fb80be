"""How the alert packets of a survey, and its blocks of cutouts, are laid out, as config/tables/*.yml declares it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["AlertLayout", "BlockLayout", "Family", "Nested"]


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the cells of a column family stand in an alert: a struct, root fields, or all that is left."""

    struct: str | None = None
    root: tuple[str, ...] = ()
    rest: bool = False


class Nested(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A broker value of several parts: one cell for each of `cells`, or one text of `text` in that order."""

    cells: tuple[str, ...] = ()
    text: tuple[str, ...] = ()


class BlockLayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a survey's blocks of cutouts have what is searched: columns of the files, paths with dots.

    Parameters
    ----------
    alert_id
        The alert's own ID.
    stamps
        The cutouts of each kind.
    object_id
        The object's ID, which must agree too; None where the alert's alone is looked at.
    """

    alert_id: str
    stamps: Mapping[str, str]
    object_id: str | None = None

    def __hash__(self) -> int:
        # a key of caches, in spite of its mapping
        return hash((self.alert_id, self.object_id))


class AlertLayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"families": "cells", "block": "blocks"}):
    """How a survey's alert packets are recognised and read.

    `computed` are the stored columns that ingest makes, by name, with the derived column that each is.
    """

    recognised_by: tuple[str, ...]
    alert_id: str
    families: Mapping[str, Family]
    history: str
    stamps: Mapping[str, str]
    block: BlockLayout
    version: tuple[str, ...]
    nested: Mapping[str, Nested]
    not_stored: frozenset[str]
    computed: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def stamp_columns(self) -> dict[str, str]:
        """The column of each kind of cutout, `b:cutoutScience_stampData` for `cutoutScience.stampData`."""
        return {kind: "b:" + path.replace(".", "_") for kind, path in self.stamps.items()}
