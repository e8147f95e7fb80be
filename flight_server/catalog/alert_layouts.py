"""The layouts of a survey's alert packets and blocks of cutouts, declared in config/tables/*.yml."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["AlertLayout", "BlockLayout", "Family", "Nested"]


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sources of a column family in an alert packet: structs, root fields, or all remaining fields.

    Fields of several structs may have one name: each table says of which structs its cells are. The fields of `prefixed`
    structs have a prefix in their names, and are cells of every table.
    """

    structs: tuple[str, ...] = ()
    prefixed: Mapping[str, str] = msgspec.field(default_factory=dict)
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

    `table` is the table of alerts, in which those of one object and time are told apart. Of `histories` the first has
    points that may become rows of it. Columns that are the `same` in all structs are read from that of the alert, since
    some files have rounded numbers in others. `planes` are the images of a cutout, in the order of its file. `computed`
    maps the stored columns that ingest computes to the derived columns that they are.
    """

    table: str
    recognised_by: tuple[str, ...]
    alert_id: str
    families: Mapping[str, Family]
    histories: tuple[str, ...]
    stamps: Mapping[str, str]
    block: BlockLayout
    version: tuple[str, ...]
    nested: Mapping[str, Nested]
    not_stored: frozenset[str]
    same: frozenset[str] = frozenset()
    planes: tuple[str, ...] = ("image",)
    computed: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def structs(self) -> dict[str, str]:
        """The family of each struct whose fields have their own names."""
        return {struct: name for name, family in self.families.items() for struct in family.structs}

    @property
    def points(self) -> str:
        """The struct that the points of histories are like: that of the alert itself."""
        return next(iter(self.structs))

    @property
    def cutout_columns(self) -> dict[str, str]:
        """The column of each kind of cutout, `b:cutoutScience_stampData` for `cutoutScience.stampData`."""
        return {kind: "b:" + path.replace(".", "_") for kind, path in self.stamps.items()}
