"""Whole tables of a store, and their files."""

from __future__ import annotations

from pathlib import Path

from archives import Answered, Opened, messages

from flight_server.protocol.query import Query


def everything(opened: Opened, table: str = "ztf", **fields: object) -> Answered:
    return messages(opened, Query(table=table, all=True, digest=True, **fields))  # type: ignore[arg-type]


def file_of(opened: Opened, ending: str, table: str = "ztf") -> Path:
    (file,) = (opened.settings.folder / "segments" / table).glob(f"*.{ending}")
    return file
