"""The layouts of a survey's alert packets and blocks of cutouts, declared in config/tables/*.yml."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["AlertLayout", "BlockLayout", "Family", "Nested"]


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The source of a column family in an alert packet: a struct, root fields, or all remaining fields."""

    struct: str | None = None
    root: tuple[str, ...] = ()
    rest: bool = False


class Nested(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A broker value of several parts: one cell for each part in `cells`, or one text of the parts in `text`, in that order."""

    cells: tuple[str, ...] = ()
    text: tuple[str, ...] = ()


class BlockLayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The columns of a survey's blocks of cutouts, as dotted paths in the Parquet files.

    Parameters
    ----------
    alert_id
        The column of the alert ID.
    stamps
        The column of each kind of cutout.
    object_id
        The column of the object ID, which must match too; None if the alert ID is enough.
    """

    alert_id: str
    stamps: Mapping[str, str]
    object_id: str | None = None

    def __hash__(self) -> int:
        # hashable in spite of its mapping, since it is a cache key
        return hash((self.alert_id, self.object_id))


class AlertLayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"families": "cells", "block": "blocks"}):
    """The layout of a survey's alert packets, and how they are recognised.

    `computed` maps the stored columns that ingest computes to the derived columns that they are.
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
    def cutout_columns(self) -> dict[str, str]:
        """The column of each kind of cutout, `b:cutoutScience_stampData` for `cutoutScience.stampData`."""
        return {kind: "b:" + path.replace(".", "_") for kind, path in self.stamps.items()}
