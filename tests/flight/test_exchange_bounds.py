"""An exchange stays small whatever is sent: names that are not found, tiny batches, large ones, input that nobody answers."""

from __future__ import annotations

import builtins
import json
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from alert_data import SAMPLES
from archives import Answered, Opened, ask
from exchanges import OF_IDS, command, exchange, of
from slow_stores import for_ever, pausing
from waiting import wait_until

from flight_server.flight import incoming
from flight_server.flight.incoming import Incoming
from flight_server.flight.pump import Pump
from flight_server.protocol import completeness
from flight_server.protocol.errors import TooLarge

TDE = "ZTF20abfcszi"


def lists(answer: Answered, name: str) -> list[list[Any]]:
    return [said[name] for _, said in answer.messages if said.get(name)]


def test_missing_names_come_in_parts_as_the_exchange_goes_on(client: fl.FlightClient) -> None:
    names = [f"{'x' * 50}{number}" for number in range(60_000)]
    batches = (of(TDE, *names[first : first + 5_000]) for first in range(0, len(names), 5_000))
    answer = exchange(client, batches, table="ztf", columns=["i:jd"])
    assert answer.missing == names
    assert (answer.record["missing"], answer.record["asked"]) == (60_000, 60_012)
    parts = lists(answer, "missing_ids")
    assert all(len(json.dumps(part)) <= completeness.LIST_BYTES for part in parts)
    order = ["rows" if rows else "names" for rows, said in answer.messages if rows or "missing_ids" in said]
    assert order.index("names") < len(order) - order[::-1].index("rows"), "names come between rows, not at the end"


def test_names_that_are_sent_again_are_listed_once_for_each_part(client: fl.FlightClient) -> None:
    few = exchange(client, [of("nobody", "none"), of("nobody", TDE, "nobody")], table="ztf", columns=["i:jd"])
    assert (few.record["missing_ids"], few.record["missing"]) == (["nobody", "none"], 4)
    names = [f"{'x' * 1000}{number}" for number in range(500)]
    many = exchange(client, [of(*names), of(*names)] * 3, table="ztf", columns=["i:jd"])
    assert set(many.missing) == set(names)
    assert many.record["missing"] == 3000
    for part in lists(many, "missing_ids"):
        assert len(set(part)) == len(part)


def test_cutouts_that_cannot_be_read_come_in_parts(
    open_store: Callable[..., Opened], serve: Callable[..., fl.FlightClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_store()
    opened.ingest(SAMPLES)
    for block in opened.settings.folder.rglob("*.parquet"):
        block.unlink()
    client = serve(opened)
    fields: dict[str, Any] = {"table": "ztf", "columns": ["i:candid"], "cutouts": ["Science"]}
    whole = exchange(client, [of(TDE)] * 5, **fields)
    monkeypatch.setattr(completeness, "LIST_BYTES", 2_000)
    parts = exchange(client, [of(TDE)] * 5, **fields)
    assert len(whole.record["failed_cutouts"]) == 105
    found = [cutout for part in lists(parts, "failed_cutouts") for cutout in part]
    assert found == whole.record["failed_cutouts"]
    assert len(lists(parts, "failed_cutouts")) > 5
    assert parts.record["cutout_errors"] == whole.record["cutout_errors"]


@pytest.fixture
def queue() -> Incoming:
    return Incoming(60.0, lambda: None)


@pytest.fixture
def answers() -> Pump[Any]:
    return Pump(iter(()), lambda: None, 60.0)


def test_tiny_batches_take_a_time_for_each_however_many_wait(
    queue: Incoming, answers: Pump[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()

    def counted(value: Any) -> int:
        calls["len"] += 1
        return builtins.len(value)

    monkeypatch.setattr(incoming, "len", counted, raising=False)
    queue.begin(OF_IDS)
    tiny = of("x")
    for _ in range(60_000):
        queue.put(tiny)
    assert len(queue._waiting) + len(queue._small) < 500
    queue.end()
    found = list(queue.batches(answers))
    assert sum(map(len, found)) == 60_000
    assert len(found) == 4
    assert calls["len"] < 10 * 60_000


def test_batches_stay_in_order_whatever_their_sizes(queue: Incoming, answers: Pump[Any]) -> None:
    queue.begin(OF_IDS)
    sizes = [1, 1, 300, 2, 99, 100, 1, 25_000, 1, *([1] * 700), 20_000, 3]
    names = iter(str(number) for number in range(sum(sizes)))
    for size in sizes:
        queue.put(of(*(next(names) for _ in range(size))))
    queue.end()
    found = list(queue.batches(answers))
    assert pa.Table.from_batches(found)["id"].to_pylist() == [str(number) for number in range(sum(sizes))]
    assert queue._rows == queue._bytes == 0


def test_the_queue_is_bounded_in_bytes_too(queue: Incoming, answers: Pump[Any]) -> None:
    half = of("x" * (incoming.READ_AHEAD_BYTES // 2 - 1000))
    queue.begin(OF_IDS)
    queue.put(half)
    queue.put(half)
    putting = threading.Thread(target=queue.put, args=(half,))
    putting.start()
    taken = queue.batches(answers)
    assert len(next(taken)) == 1
    putting.join()
    assert queue._bytes <= incoming.READ_AHEAD_BYTES
    with pytest.raises(TooLarge, match="bytes was sent"):
        queue.put(of("x" * (incoming.READ_AHEAD_BYTES + 1)))


def test_an_exchange_that_failed_keeps_no_input(
    sample: Opened, serve: Callable[..., fl.FlightClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Incoming] = []
    begin = Incoming.__init__

    def recorded(self: Incoming, *args: Any) -> None:
        begin(self, *args)
        made.append(self)

    monkeypatch.setattr(Incoming, "__init__", recorded)
    client = serve(pausing(sample, for_ever, seconds=0.5))
    writer, reader = client.do_exchange(command(table="ztf", columns=["i:jd"]))
    writer.begin(OF_IDS)
    for number in range(50):
        writer.write_batch(of(*(f"none{number}_{one}" for one in range(1000))))
    wait_until(lambda: made[0]._rows > 20_000, "the server reads ahead")
    wait_until(lambda: not made[0]._rows, "the deadline has ended the exchange, and its input is dropped")
    writer.write_batch(of("x"))  # the client has not stopped yet
    told = next(said for said in (json.loads(chunk.app_metadata.to_pybytes()) for chunk in reader if chunk.app_metadata))
    assert told["error"]["code"] == "deadline"
    assert not made[0]._rows
    writer.done_writing()
    with suppress(fl.FlightError):
        writer.close()
    assert ask(serve(sample), table="ztf", ids=[TDE]).record["rows"] == 21
