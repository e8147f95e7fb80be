"""The requests: all objects of a store, in the order of the table and shuffled, as planned tickets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import click
import numpy as np
import pyarrow as pa
import pyarrow.flight as fl
from measure import Times, compare
from processes import Served

from flight_server.execution.digests import Digest
from flight_server.simulate.recipes import load_recipes
from flight_server.simulate.sky import object_names

__all__ = ["COLUMNS", "LAYOUTS", "Set", "against_bare", "draw", "plan"]

COLUMNS = ("i:objectId", "i:jd", "i:fid", "i:magpsf", "i:sigmapsf")
ORDERS = ("table order", "shuffled")
LAYOUTS = ("rows", "nested")
IDS_A_CALL = 20_000
CHECKED = 3
SEED = 7


@dataclass(frozen=True, slots=True)
class Set:
    """All objects in one order, and the tickets that the server plans for them, by layout."""

    order: str
    ids: Sequence[str]
    tickets: dict[str, list[bytes]]

    def read(self, served: Served, layout: str = "rows") -> list[pa.Table]:
        """Read all answers, one after the other."""
        return [served.ask(ticket) for ticket in self.tickets[layout]]


def draw(served: Served, objects: int) -> list[Set]:
    """Return all objects of a store in both orders, planned by the server."""
    ordered = sorted(object_names(load_recipes()["ztf"].names, objects).to_pylist())
    places = np.random.default_rng(SEED).permutation(objects).tolist()
    lists = (ordered, [ordered[place] for place in places])
    return [
        Set(order, ids, {layout: plan(served, ids, layout) for layout in LAYOUTS})
        for order, ids in zip(ORDERS, lists, strict=True)
    ]


def plan(served: Served, ids: Sequence[str], layout: str) -> list[bytes]:
    """Return the tickets that the server plans for a list of IDs, with 20,000 IDs per call."""
    found = []
    for first in range(0, len(ids), IDS_A_CALL):
        words = {"table": "ztf", "ids": ids[first : first + IDS_A_CALL], "columns": COLUMNS, "layout": layout}
        info = served.client.get_flight_info(fl.FlightDescriptor.for_command(json.dumps(words)))
        found += [endpoint.ticket.ticket for endpoint in info.endpoints]
    return found


def against_bare(asked: Set, layout: str, real: Served, bare: Served, repeat: int) -> tuple[Times, Times]:
    """Read all tickets from both servers, ticket by ticket in turn; return the total ms of each repetition."""
    tickets = asked.tickets[layout]
    for ticket in tickets:
        list(bare.client.do_action(fl.Action("record", ticket)))
    for ticket in tickets[:CHECKED]:
        _same(ticket, real, bare)
    sums = []
    for _ in range(repeat):
        times = compare(tickets, partial(_drain, real), partial(_drain, bare), warm=tickets[:CHECKED])
        sums.append([float(side.sum()) for side in times])
    ours, reference = np.array(sums).T
    return ours, reference


def _drain(served: Served, ticket: bytes) -> pa.Table:
    return served.ask(ticket)


def _same(ticket: bytes, real: Served, bare: Served) -> None:
    """Check that both servers send the same data; by digest, since NaN does not equal NaN."""
    marks = []
    for side in (real, bare):
        answer = side.ask(ticket)
        digest = Digest(answer.schema)
        for batch in answer.to_batches():
            digest.update(batch)
        marks.append((answer.schema.metadata, len(answer), digest.hexdigest()))
    if marks[0] != marks[1] or not marks[0][1]:
        raise click.ClickException(f"the two servers answer {ticket[:80]!r} differently")
