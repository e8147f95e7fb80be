"""The method of the public services: rows as a map of maps of strings, as JSON over py4j, parsed into pandas."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click
import numpy as np
import pandas as pd
from measure import aligned
from py4j.java_gateway import GatewayParameters, JavaGateway

from hbase.jvm import java

__all__ = ["PublicWay", "public_way"]

# the types to which text columns are cast, by the type in the schema row
CASTS = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64"}


@dataclass(slots=True)
class PublicWay:
    """A client of TextGateway.java.

    Parameters
    ----------
    java
        Its entry point.
    """

    java: JavaGateway
    _types: dict[str, str] = field(init=False)
    _parts: dict[str, list[float]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._types = json.loads(self.java.entry_point.types())

    def rows(self, start: str, stop: str) -> pd.DataFrame:
        """Read a range of keys."""
        begun = time.perf_counter()
        text = self.java.entry_point.rows(start, stop)
        called = time.perf_counter()
        loaded = json.loads(text)
        parsed = time.perf_counter()
        frame = pd.DataFrame.from_dict(loaded, orient="index")
        framed = time.perf_counter()
        frame = pd.DataFrame({name: self._cast(name, frame[name]) for name in frame.columns})
        cast = time.perf_counter()
        scanned, written = (int(word) / 1e6 for word in self.java.entry_point.parts().split())
        self._note("scan into maps of texts, in Java", scanned)
        self._note("JSON, in Java", written)
        self._note("text over py4j", (called - begun) * 1000 - scanned - written)
        self._note("json.loads", (parsed - called) * 1000)
        self._note("DataFrame.from_dict", (framed - parsed) * 1000)
        self._note("casts", (cast - framed) * 1000)
        return frame

    def ms(self, start: str, stop: str) -> float:
        """Read a range of keys; return the time in ms."""
        self.rows(start, stop)
        return sum(times[-1] for times in self._parts.values())

    def parts(self, rounds: int, raw_ms: float) -> str:
        """Format the times of the stages in the last rounds, and the total added to the raw scan."""
        medians = {name: float(np.median(times[-rounds:])) for name, times in self._parts.items()}
        total = float(np.median(np.sum([times[-rounds:] for times in self._parts.values()], axis=0)))
        lines = {**medians, "= all": total, "added to the raw scan": total - raw_ms}
        return aligned([("the public services' way", "ms"), *((name, f"{value:.1f}") for name, value in lines.items())])

    def _cast(self, name: str, texts: pd.Series) -> pd.Series:
        kind = CASTS.get(self._types.get(name, "string"))
        if kind is None:
            return texts
        if kind.startswith("int") and texts.isna().any():
            kind = "float64"
        cast: pd.Series = texts.astype(np.dtype(kind))
        return cast

    def _note(self, name: str, value: float) -> None:
        self._parts.setdefault(name, []).append(value)


@contextmanager
def public_way(path: str, zookeeper: str, table: str) -> Iterator[PublicWay]:
    """Start its gateway."""
    token = secrets.token_hex(32)
    with java(path, "TextGateway", zookeeper, table) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(token + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise click.ClickException("the gateway of the public services' way does not start")
        gateway = JavaGateway(gateway_parameters=GatewayParameters(port=int(line), auth_token=token))
        yield PublicWay(gateway)
        gateway.close()
