"""The catalog: every table and its columns.

The catalog determines the type of a column, not the files. Columns that are not in config/columns get the narrowest type
that holds their values (`widening`), which the store records; `with_stored` adds them to the catalog.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

import pyarrow as pa

from flight_server.catalog.columns import TYPES, Column, Projection
from flight_server.catalog.declarations import Survey, Table, load_surveys
from flight_server.protocol.errors import NotSupported, UnknownColumn, UnknownTable
from flight_server.settings.resources import load_folder, load_resource

__all__ = ["Catalog", "load_catalog"]

MAX_PROJECTIONS = 256
CUTOUTS_HOLD = {
    "bytes": "FITS file, exactly as stored, which may be compressed",
    "fits": "FITS file, unpacked",
    "array": "pixels of the cutout from [0, 0] on, padded with NaN",
}


@dataclass(frozen=True)
class Catalog:
    """The tables and columns of one archive; immutable.

    Parameters
    ----------
    surveys
        The declarations, by survey.
    known
        The packaged columns of each survey, by name, in order.
    stored
        The columns that the store has recorded for each table, in order, with their types.
    array_shape
        The rows and columns of cutouts as arrays, by survey.
    own
        The packaged columns that differ from the survey's in one table, by table and name.
    refused
        The columns that the store holds in a way that contradicts the catalog, by table and name, with the reason.
    """

    surveys: Mapping[str, Survey]
    known: Mapping[str, Mapping[str, Column]]
    stored: Mapping[str, Mapping[str, pa.DataType]] = field(default_factory=dict)
    array_shape: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Column]] = field(default_factory=dict)
    refused: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # caches per table and per list of names: too slow to build for each request
    _stored_columns: dict[str, dict[str, Column]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _described: dict[str, Mapping[str, Column]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _projections: dict[tuple[str, tuple[str, ...] | None], Projection] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def tables(self) -> dict[str, Table]:
        """All tables by name."""
        return {name: table for survey in self.surveys.values() for name, table in survey.tables.items()}

    def with_stored(
        self, stored: Mapping[str, Mapping[str, pa.DataType]], refused: Mapping[str, Mapping[str, str]] | None = None
    ) -> Catalog:
        """Return the catalog for a store with these columns, and without those that it refuses."""
        return replace(self, stored=stored, refused=refused or {})

    def with_array_shape(self, array_shape: Mapping[str, tuple[int, int]]) -> Catalog:
        """Return the catalog with these rows and columns of cutouts as arrays, by survey."""
        return replace(self, array_shape=array_shape)

    def table(self, name: str) -> Table:
        """Find a table.

        Raises
        ------
        UnknownTable
            There is none; names the most similar ones.
        """
        tables = self.tables
        if name not in tables:
            near = difflib.get_close_matches(name, tables, n=3, cutoff=0.4) or list(tables)
            raise UnknownTable(f"there is no table {name!r:.80}; did you mean {', '.join(near)}?", field="table", value=name)
        return tables[name]

    def described(self, table: Table) -> Mapping[str, Column]:
        """Return the packaged columns of a table, by name."""
        own = self.own.get(table.name)
        if own is None:
            return self.known[table.survey]
        if table.name not in self._described:
            self._described[table.name] = {**self.known[table.survey], **own}
        return self._described[table.name]

    def stored_columns(self, table: Table) -> dict[str, Column]:
        """Return the columns of an answer to a ticket without `columns`, by name, in order."""
        if table.name not in self._stored_columns:
            self._stored_columns[table.name] = self._find_stored_columns(table)
        return self._stored_columns[table.name]

    def cell_columns(self, table: Table) -> dict[str, Column]:
        """Return those of `stored_columns` that are cells of rows, unlike those that are in the key only."""
        return {name: column for name, column in self.stored_columns(table).items() if table.takes(name)}

    def _find_stored_columns(self, table: Table) -> dict[str, Column]:
        known = self.described(table)
        if table.columns is not None:
            always = {name: known[name] for name in table.columns}
        else:
            always = {name: column for name, column in known.items() if self._always(table, column)}
        stored = self.stored.get(table.name, {})
        held = {*(name for name in stored if table.takes(name)), *table.key_only}
        brought = {name: known[name] for name in known if name in held}
        found = {name: Column(name=name, type=kind) for name, kind in stored.items() if name not in known and table.takes(name)}
        refused = self.refused.get(table.name, {})
        return {name: column for name, column in (always | brought | found).items() if name not in refused}

    def column(self, table: Table, name: str) -> Column:
        """Find one column that a ticket may name.

        Raises
        ------
        UnknownColumn
            There is none, or the store refuses it; names the column, its table and the most similar names.
        """
        if name in (refused := self.refused.get(table.name, {})):
            raise UnknownColumn(f"{table.name} does not serve {name}: {refused[name]}", field="columns", value=name)
        stored = self.stored_columns(table)
        if name in stored:
            return stored[name]
        known = self.described(table)
        if name in known and self.storable(table, name):
            return known[name]
        near = difflib.get_close_matches(name, stored, n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(near)}?" if near else f"; the schema of {table.name} lists them"
        raise UnknownColumn(f"{table.name} has no column {name!r:.80}{hint}", field="columns", value=name)

    def columns(self, table: Table, names: Iterable[str] | None) -> Projection:
        """Return the named columns, or all stored ones; cached by names."""
        key = (table.name, None if names is None else tuple(names))
        found = self._projections.get(key)
        if found is None:
            stored = self.stored_columns(table)
            found = Projection(stored.values() if key[1] is None else (self.column(table, name) for name in key[1]))
            if len(self._projections) >= MAX_PROJECTIONS:
                self._projections.clear()
            self._projections[key] = found
        return found

    def cutout_columns(
        self, table: Table, kinds: Iterable[str], cutout_format: str, planes: Sequence[str] = ("image",)
    ) -> tuple[Column, ...]:
        """Return the cutout columns of some kinds, in order. In the format `array`, each is followed by a column of shapes.

        There is one for each of the `planes`, the images of a cutout.

        Raises
        ------
        NotSupported
            The settings have no array shape for the survey, or its cutouts have no such plane.
        """
        held = self.surveys[table.survey].alerts.planes
        for plane in planes:
            if plane not in held:
                message = f"cutouts of {table.survey} have no {plane}, only {', '.join(held)}"
                raise NotSupported(message, field="cutout_planes", value=plane)
        names = self.surveys[table.survey].alerts.cutout_columns
        found = []
        for kind in kinds:
            stored = self.known[table.survey][names[kind]]
            column = replace(stored, description=f"{stored.description}: {CUTOUTS_HOLD[cutout_format]}")
            if cutout_format != "array":
                found.append(column)
                continue
            if table.survey not in self.array_shape:
                message = f"the setting cutouts.array_shape has no shape for {table.survey}"
                raise NotSupported(message, field="cutout_format", value=cutout_format)
            base = stored.name.removesuffix("_stampData")
            for plane in planes:
                is_image = plane == held[0]
                name = stored.name if is_image else f"{base}_{plane}"
                kind_ = pa.fixed_shape_tensor(pa.float32(), self.array_shape[table.survey])
                about = column.description if is_image else f"{stored.description}: pixels of its {plane}, as those of the image"
                found.append(replace(column, name=name, type=kind_, description=about))
                found.append(
                    Column(
                        name=f"{base if is_image else name}_shape",
                        type=pa.list_(pa.int16(), 2),
                        unit="pix",
                        origin=stored.origin,
                        description=f"Rows and columns of the cutout in {name} as stored",
                    )
                )
        return tuple(found)

    def type_of(self, table: Table, name: str) -> pa.DataType | None:
        """Return the type of a column, or None if neither the catalog nor the store knows it yet."""
        known = self.described(table).get(name)
        return known.type if known else self.stored.get(table.name, {}).get(name)

    def possible_columns(self, table: Table) -> dict[str, Column]:
        """Return the stored columns of a table, and those that it can store but has no cell of: they are null."""
        described = {name: column for name, column in self.described(table).items() if self.storable(table, name)}
        return described | self.stored_columns(table)

    def storable(self, table: Table, name: str) -> bool:
        """Return whether cells of this column can be stored in a table."""
        column = self.described(table).get(name)
        derived = column is not None and column.origin == "derived"
        return table.takes(name) and not derived and name not in self.refused.get(table.name, {})

    def _always(self, table: Table, column: Column) -> bool:
        layout = self.surveys[table.survey].alerts.families
        family = layout.get(column.name.partition(":")[0])
        return self.storable(table, column.name) and family is not None and not family.rest


@cache
def load_catalog() -> Catalog:
    """Load the packaged catalog."""
    known = {}
    own: dict[str, dict[str, Column]] = {}
    for declared in load_folder("columns"):
        known[declared["survey"]] = _columns(declared["columns"])
        own |= {table: _columns(columns) for table, columns in declared.get("tables", {}).items()}
    shapes = load_resource("alertflight.yml")["cutouts"]["array_shape"]
    array_shape = {survey: (rows, columns) for survey, (rows, columns) in shapes.items()}
    return Catalog(load_surveys(), known, array_shape=array_shape, own=own)


def _columns(declared: Mapping[str, Mapping[str, Any]]) -> dict[str, Column]:
    return {name: _column(name, words) for name, words in declared.items()}


def _column(name: str, words: Mapping[str, Any]) -> Column:
    typed = {**words, "type": TYPES[words["type"]], "missing": tuple(words.get("missing", ()))}
    if "bounds" in words:
        low, high = words["bounds"]
        typed["bounds"] = (float(low), float(high))
    return Column(name=name, **typed)
