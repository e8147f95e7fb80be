"""A data source of Spark 4 that reads an archive, one partition for each endpoint of a query.

`flight_client` must be installed where the executors run, since they read the endpoints themselves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession, types
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition

from flight_client.endpoints import MAX_QUERY_BYTES, Endpoint, plan, read_endpoint, schema_of
from flight_client.pushdown import Condition, declared, narrowed
from flight_server.protocol.errors import BadValue, NoSelection, NotSupported, UnknownField
from flight_server.protocol.query import SELECTIONS, Query
from flight_server.protocol.ticket_json import parse_ticket

__all__ = ["AlertflightDataSource", "register"]

LISTS = ("ids", "columns", "cutouts")
FLAGS = ("all", "upper_limits", "forced")
MOMENTS = ("start", "stop")
TICKET_OPTIONS = ("table", *LISTS, *FLAGS, *MOMENTS, "layout", "cutout_format")
OPTIONS = ("url", "query", *TICKET_OPTIONS)
PUSHING_WORKER = "pyspark.sql.worker.data_source_pushdown_filters"
RELATIONS = {
    "EqualTo": "in",
    "EqualNullSafe": "in",
    "In": "in",
    "GreaterThan": ">",
    "GreaterThanOrEqual": ">=",
    "LessThan": "<",
    "LessThanOrEqual": "<=",
}
EXACT = (types.StringType, types.IntegerType, types.LongType, types.DoubleType)  # the types of values in tickets
SPARK_TYPES: Mapping[pa.DataType, types.DataType] = {
    pa.bool_(): types.BooleanType(),
    pa.int8(): types.ByteType(),
    pa.int16(): types.ShortType(),
    pa.int32(): types.IntegerType(),
    pa.int64(): types.LongType(),
    pa.float32(): types.FloatType(),
    pa.float64(): types.DoubleType(),
    pa.string(): types.StringType(),
    pa.binary(): types.BinaryType(),
}


def register(spark: SparkSession) -> None:
    """Register the format `alertflight` of `spark.read.format` in a session."""
    spark.dataSource.register(AlertflightDataSource)


class AlertflightDataSource(DataSource):  # type: ignore[misc]
    """The rows of a table of an archive; docs/how-to/spark.md lists the options."""

    @classmethod
    def name(cls) -> str:
        """Return the name of the format."""
        return "alertflight"

    def schema(self) -> types.StructType:
        """Return the columns of the answer, from the server."""
        return spark_schema(schema_of(_url(self.options), _any_of(_query(self.options))))

    def reader(self, schema: types.StructType) -> DataSourceReader:
        """Return the reader; where pushdown is off, Spark refuses one with `pushFilters`."""
        cls = PushingReader if _takes_filters() else Reader
        return cls(_url(self.options), _query(self.options), schema)


class Reader(DataSourceReader):  # type: ignore[misc]
    """A reader of the endpoints of one query.

    Parameters
    ----------
    url
        The server that plans the query.
    query
        The query; None if no row can match.
    schema
        The Spark columns.
    """

    def __init__(self, url: str, query: Query | None, schema: types.StructType) -> None:
        self.url = url
        self.query = query
        self.columns = schema

    def partitions(self) -> list[InputPartition]:
        """Plan the query."""
        if self.query is None:
            return []
        _check_selection(self.query)
        return [InputPartition(endpoint) for endpoint in plan(self.url, self.query).endpoints]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Read one endpoint, on an executor."""
        endpoint: Endpoint | None = partition.value
        if endpoint is not None:  # Spark turns no partitions into one without value
            for piece in read_endpoint(endpoint):
                yield piece.batch


class PushingReader(Reader):
    """A reader that narrows its query by filters."""

    def pushFilters(self, filters: list[Any]) -> Iterable[Any]:  # noqa: N802  (Spark's name)
        """Narrow the query, and return all filters: Spark applies them to the rows too, so results do not depend on pushdown."""
        table = None if self.query is None else declared(self.query.table)
        if self.query is not None and table is not None:
            self.query = narrowed(self.query, table, _conditions(filters, self.columns))
        return filters


def spark_schema(schema: pa.Schema) -> types.StructType:
    """Return the Spark schema of the same columns, with units and descriptions as metadata.

    Raises
    ------
    NotSupported
        Spark has no type for a column, which the message names.
    """
    return types.StructType([_field(field, field.name) for field in schema])


def _field(field: pa.Field, path: str) -> types.StructField:
    words = {name.decode(): text.decode() for name, text in (field.metadata or {}).items() if text}
    if "description" in words:
        words["comment"] = words.pop("description")  # where Spark shows it
    return types.StructField(field.name, _type(field.type, path), field.nullable, words)


def _type(kind: pa.DataType, path: str) -> types.DataType:
    if kind in SPARK_TYPES:
        return SPARK_TYPES[kind]
    if pa.types.is_struct(kind):
        return types.StructType([_field(part, f"{path}.{part.name}") for part in kind])
    if pa.types.is_list(kind):
        return types.ArrayType(_type(kind.value_type, path), kind.value_field.nullable)
    if isinstance(kind, pa.FixedShapeTensorType):
        message = f"{path} is a tensor, for which Spark has no type: set cutout_format to bytes or fits"
        raise NotSupported(message, field=path)
    raise NotSupported(f"{path} has type {kind!s:.60}, for which Spark has no type: leave it out of the columns", field=path)


def _takes_filters() -> bool:
    """Return whether Spark is pushing filters, which only the running worker tells a data source."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return PUSHING_WORKER in sys.modules or getattr(spec, "name", None) == PUSHING_WORKER


def _conditions(filters: Iterable[Any], schema: types.StructType) -> Iterator[Condition]:
    """Yield the filters that a ticket may be able to express."""
    exact = {field.name for field in schema if isinstance(field.dataType, EXACT)}
    for each in filters:
        relation = RELATIONS.get(type(each).__name__)
        if relation is not None and len(each.attribute) == 1 and each.attribute[0] in exact:
            values = tuple(each.value) if type(each).__name__ == "In" else (each.value,)
            # nothing equals null, so no row passes
            if type(each).__name__ != "EqualNullSafe" or None not in values:
                yield Condition(each.attribute[0], relation, tuple(value for value in values if value is not None))


def _url(options: Mapping[str, str]) -> str:
    if "url" not in options:
        raise BadValue(
            "set the option url to an address of the server that executors can reach, such as grpc://host:8815", field="url"
        )
    return options["url"]


def _query(options: Mapping[str, str]) -> Query:
    """Return the query of the options; it may lack a selection, since a filter may provide it."""
    for name in options:
        if name.lower() not in OPTIONS:
            raise UnknownField(f"there is no option {name!r:.80}; known are {', '.join(OPTIONS)}", field=name)
    given = _object(options["query"]) if "query" in options else {}
    for name in TICKET_OPTIONS:
        if name in options:
            if name in given:
                raise BadValue(f"{name} is set both as an option and in the query: give it once", field=name, value=options[name])
            given[name] = _value(name, options[name])
    chosen = any(given.get(name, False) is not False for name in SELECTIONS)
    query = parse_ticket(json.dumps(given if chosen else given | {"all": True}).encode(), MAX_QUERY_BYTES)
    return query if chosen else replace(query, all=False)


def _object(text: str) -> dict[str, Any]:
    given = _json("query", text)
    if not isinstance(given, dict):
        raise BadValue(f"query must be a ticket, one JSON object, not {text[:80]}", field="query", value=text)
    return given


def _value(name: str, text: str) -> object:
    """Parse an option, always text, as the field of a ticket."""
    if name in LISTS:
        return _json(name, text) if text.lstrip().startswith("[") else [part.strip() for part in text.split(",")]
    if name in FLAGS:
        if text.lower() not in {"true", "false"}:
            raise BadValue(f"{name} must be true or false, not {text[:80]}", field=name, value=text)
        return text.lower() == "true"
    return text


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadValue(f"{name} is not JSON: {error}", field=name, value=text) from None


def _any_of(query: Query) -> Query:
    """Return a query with the same columns: the first ID of a list, or any selection if there is none."""
    if query.selections:
        return replace(query, ids=query.ids[:1]) if query.ids else query
    return replace(query, all=True)


def _check_selection(query: Query) -> None:
    if not query.selections and query.start is None and query.stop is None:
        message = "select rows with the option ids, query or all; or filter by ID with spark.sql.python.filterPushdown.enabled"
        raise NoSelection(message, field="ids")
