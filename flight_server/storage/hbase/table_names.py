"""The names of tables in HBase: a prefix and the name in the catalog, or what the settings say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.declarations import Table
from flight_server.protocol.errors import BadValue, UnknownTable

__all__ = ["TableNames", "table_names"]

VALID = re.compile(r"(\w+:)?\w[\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class TableNames:
    """The name of each table in HBase.

    Parameters
    ----------
    prefix
        The prefix of those that are not given.
    given
        Whole names, with a namespace or without, by the name in the catalog.
    """

    prefix: str = ""
    given: Mapping[str, str] = field(default_factory=dict)

    def of(self, table: Table) -> str:
        """Return the name of a table in HBase.

        >>> from flight_server.catalog.declarations import load_surveys
        >>> tables = load_surveys()["ztf"].tables
        >>> names = TableNames("test_", {"ztf": "fink:test_portal"})
        >>> [names.of(tables[name]) for name in ("ztf", "ztf.upper", "statistics_class")]
        ['fink:test_portal', 'test_ztf.upper', 'statistics_class']
        """
        return self.given.get(table.name) or (table.name if table.fixed_name else self.prefix + table.name)


def table_names(catalog: Catalog, prefix: str, given: Mapping[str, str]) -> TableNames:
    """Return the names that the settings give.

    Raises
    ------
    BadValue
        A name is none of a table, or cannot be one in HBase.
    """
    for name, full in given.items():
        try:
            catalog.table(name)
        except UnknownTable as error:
            raise BadValue(f"hbase.tables: {error.message}", field="hbase.tables", value=name) from error
        if not VALID.fullmatch(full):
            raise BadValue(f"hbase.tables: {full!r:.80} cannot be a table in HBase", field="hbase.tables", value=full)
    if prefix and not VALID.fullmatch(f"{prefix}x"):
        raise BadValue(
            f"hbase.prefix: {prefix!r:.80} cannot begin the name of a table in HBase", field="hbase.prefix", value=prefix
        )
    return TableNames(prefix, given)
