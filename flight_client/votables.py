"""Tables as VOTable files, with or without Parquet in them, for TOPCAT and other tools of the Virtual Observatory."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flight_client.files import check_ending, whole_file
from flight_client.frames import check_holds, to_astropy

__all__ = ["ENDINGS", "write_votable"]

ENDINGS = (".vot", ".xml", ".parquet")
NAMESPACE = "{http://www.ivoa.net/xml/VOTable/v1.3}"  # of all versions from 1.3 on
VERSION = {"version": "1.4", "version_1_4_or_later": True}  # the first with TIMESYS
PARQUET_VERSION = "1.0"  # of the IVOA note "Parquet in the VO"


def write_votable(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write rows to a VOTable (`.vot`, `.xml`), or to a Parquet file with the header of one (`.parquet`).

    Names have `_` in place of `:`, and null texts are empty, as in `to_astropy(plain=True)`. Times are numbers whose scale is
    in a TIMESYS element.

    Raises
    ------
    BadValue
        The file cannot be written, or its ending is none of these.
    NotSupported
        A column is nested or binary.
    """
    check_ending(path, ENDINGS)
    check_holds(schema, plain=True)
    table = pa.Table.from_batches(batches, schema=schema)
    if path.suffix == ".parquet":
        content = _parquet(table)
    else:
        file = io.BytesIO()
        _votable(table, {}).to_xml(file, tabledata_format="binary2")
        content = file.getvalue()
    with whole_file(path) as sink:
        sink.write(content)


def _votable(table: pa.Table, lengths: Mapping[str, str]) -> Any:
    """Return the tree of a VOTable; `lengths` has those of texts that are not in the table."""
    from astropy.io.votable.tree import TimeSys, VOTableFile

    plain = to_astropy(table, plain=True)
    plain.meta.clear()
    made = VOTableFile.from_table(plain)
    resource = made.resources[0]
    systems: dict[str, Any] = {}
    for field in resource.tables[0].fields:
        field.ID = field.name
        field.arraysize = lengths.get(field.name, field.arraysize)
        scale = plain[field.name].info.meta.get("time_scale")
        if scale and str(field.unit) == "d":
            origin = "MJD-origin" if "mjd" in field.name.lower() else "JD-origin"
            name = f"{scale}_{origin[:-7].lower()}"
            systems[name] = TimeSys(name, origin, scale.upper(), "UNKNOWN", config=VERSION)
            field.ref = name
    resource.time_systems.extend(systems.values())
    return made


def _parquet(table: pa.Table) -> pa.Buffer:
    columns = [_plain(table[field.name]) for field in table.schema]
    fields = [field.with_type(column.type) for field, column in zip(table.schema, columns, strict=True)]
    names = [name.replace(":", "_") for name in table.column_names]
    lengths = {
        name: str(pc.max(pc.utf8_length(column)).as_py() or 1)
        for name, column in zip(names, columns, strict=True)
        if pa.types.is_string(column.type)
    }
    header = io.BytesIO()
    _votable(pa.table([column[:0] for column in columns], schema=pa.schema(fields)), lengths).to_xml(header)
    root = ET.fromstring(header.getvalue())  # noqa: S314  (written right here)
    (element,) = root.iter(f"{NAMESPACE}TABLE")
    for data in element.findall(f"{NAMESPACE}DATA"):
        element.remove(data)
    ET.SubElement(element, f"{NAMESPACE}PARQUET", type="Parquet-local-XML")
    ET.register_namespace("", NAMESPACE[1:-1])
    metadata = {
        "IVOA.VOTable-Parquet.version": PARQUET_VERSION,
        "IVOA.VOTable-Parquet.content": ET.tostring(root, encoding="unicode", xml_declaration=True),
    }
    metadata |= {f"table::len::{name}": length for name, length in lengths.items()}  # where astropy looks for them
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, names=names, metadata=metadata), sink, compression="zstd")
    return sink.getvalue()


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts with empty ones in the place of nulls, and tensors as the lists that they are stored as."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.fill_null(column, "")
    if isinstance(column.type, pa.BaseExtensionType):
        return pa.chunked_array([part.storage for part in column.chunks], column.type.storage_type)
    return column
