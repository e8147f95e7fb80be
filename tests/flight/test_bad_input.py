"""Invalid requests: each gets its error code, names the offender, and leaves the server running."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from alert_data import TDE
from archives import Opened, ask
from depth import more_examples
from hypothesis import given
from hypothesis import strategies as st

from flight_server.protocol.errors import TRANSPORT
from flight_server.protocol.ticket_fields import FIELD_TYPES

GOOD = {"table": "ztf", "ids": ["ZTF20abfcszi"]}
REFUSED: list[tuple[bytes | dict[str, Any], str, str | None]] = [
    (b"", "invalid_ticket", "ticket"),
    (b"{", "invalid_ticket", "ticket"),
    (b"[]", "invalid_ticket", "ticket"),
    (b"null", "invalid_ticket", "ticket"),
    (b'"ztf"', "invalid_ticket", "ticket"),
    (b"\xff\xfe", "invalid_ticket", "ticket"),
    (b"[" * 100_000, "invalid_ticket", "ticket"),
    (b'{"table": "ztf", "table": "ztf", "ids": ["a"]}', "invalid_ticket", "table"),
    (b'{"table": "ztf", "ids": ["\\ud800"]}', "invalid_ticket", "ticket"),
    (b"\x80\x04\x95cposix\nsystem\n", "invalid_ticket", "ticket"),
    ({"ids": ["ZTF20abfcszi"]}, "invalid_ticket", "table"),
    ({"table": "ztf"}, "no_selection", "ids"),
    ({"table": "ztf", "ids": []}, "no_selection", "ids"),
    ({"table": "ztf", "all": False}, "no_selection", "ids"),
    ({"table": "ztf", "start": 2459000.5}, "no_selection", "ids"),
    ({"table": "ztf", "ids": ["a"], "all": True}, "invalid_ticket", "all"),
    (GOOD | {"colums": ["i:jd"]}, "unknown_field", "colums"),
    (GOOD | {"table": "ztff"}, "unknown_table", "table"),
    (GOOD | {"table": 7}, "bad_value", "table"),
    (GOOD | {"columns": ["i:jd", "i:jdd"]}, "unknown_column", "columns"),
    (GOOD | {"columns": ["v:classificatio"]}, "unknown_column", "columns"),
    (GOOD | {"columns": ["d:tag"]}, "unknown_column", "columns"),
    (GOOD | {"columns": ["b:cutoutScience_stampData"]}, "unknown_column", "columns"),
    (GOOD | {"columns": ["_written"]}, "unknown_column", "columns"),
    (GOOD | {"columns": []}, "bad_value", "columns"),
    (GOOD | {"columns": "i:jd"}, "bad_value", "columns"),
    (GOOD | {"columns": ["i:jd", "i:jd"]}, "bad_value", "columns"),
    (GOOD | {"ids": "ZTF20abfcszi"}, "bad_value", "ids"),
    (GOOD | {"ids": [3]}, "bad_value", "ids"),
    (GOOD | {"ids": [None]}, "bad_value", "ids"),
    (GOOD | {"ids": [""]}, "bad_value", "ids"),
    (GOOD | {"ids": [True]}, "bad_value", "ids"),
    (GOOD | {"ids": [["ZTF20abfcszi"]]}, "bad_value", "ids"),
    (GOOD | {"limit": 0}, "bad_value", "limit"),
    (GOOD | {"limit": -1}, "bad_value", "limit"),
    (GOOD | {"limit": 1.5}, "bad_value", "limit"),
    (GOOD | {"limit": float("nan")}, "bad_value", "limit"),
    (GOOD | {"limit": True}, "bad_value", "limit"),
    (GOOD | {"limit": 10**30}, "bad_value", "limit"),
    (GOOD | {"as_of": 0}, "bad_value", "as_of"),
    (GOOD | {"as_of": "2020-08"}, "bad_value", "as_of"),
    (GOOD | {"resume_after": 7}, "bad_value", "resume_after"),
    (GOOD | {"resume_after": "here"}, "cursor_mismatch", "resume_after"),
    (GOOD | {"resume_after": "h\u00e9re"}, "cursor_mismatch", "resume_after"),
    (GOOD | {"resume_after": "AAAA"}, "cursor_mismatch", "resume_after"),
    (GOOD | {"resume_after": "A" * 100}, "cursor_mismatch", "resume_after"),
    (GOOD | {"start": float("nan")}, "bad_value", "start"),
    (GOOD | {"stop": float("inf")}, "bad_value", "stop"),
    (GOOD | {"start": "yesterday"}, "bad_value", "start"),
    (GOOD | {"start": ""}, "bad_value", "start"),
    (GOOD | {"start": "2020-02-30"}, "bad_value", "start"),
    (GOOD | {"start": 59_001, "stop": 59_000}, "bad_value", "start"),
    (GOOD | {"cutouts": ["science"]}, "bad_value", "cutouts"),
    (GOOD | {"cutouts": ["Science", "Science"]}, "bad_value", "cutouts"),
    (GOOD | {"cutouts": ["Science"], "cutout_format": "png"}, "bad_value", "cutout_format"),
    (GOOD | {"table": "ztf.upper", "cutouts": ["Science"]}, "not_supported", "cutouts"),
    (GOOD | {"table": "ztf.upper", "upper_limits": True}, "not_supported", "upper_limits"),
    (GOOD | {"upper_limits": 1}, "bad_value", "upper_limits"),
    (GOOD | {"compression": "gzip"}, "bad_value", "compression"),
    (GOOD | {"digest": "yes"}, "bad_value", "digest"),
    (GOOD | {"max_message_bytes": 2**26 + 1}, "bad_value", "max_message_bytes"),
    (GOOD | {"max_message_bytes": 0}, "bad_value", "max_message_bytes"),
    (GOOD | {"max_message_bytes": 100}, "row_too_large", "max_message_bytes"),
    (GOOD | {"forced": True}, "not_supported", "forced"),
    (GOOD | {"forced": 1}, "bad_value", "forced"),
    ({"table": "ztf", "tag": "in_tns"}, "not_supported", "tag"),
    ({"table": "rubin.diaSource_static", "tag": "in_tn"}, "bad_value", "tag"),
]


def refusal(error: fl.FlightError) -> dict[str, Any]:
    """Check an error response, and return its `extra_info`."""
    info = json.loads(error.extra_info)
    assert set(info) == {"code", "message", "field", "value", "retry", "retry_after_ms", "error_id"}
    assert type(error).__name__ == TRANSPORT[info["code"]].flight
    assert info["retry"] == TRANSPORT[info["code"]].retry
    assert 0 < len(info["message"]) < 300
    assert len(error.extra_info) < 2048
    for text in (str(error), error.extra_info.decode()):
        assert "Traceback" not in text
        assert "/site-packages/" not in text
        assert ".py" not in text
    return info


def encoded(ticket: bytes | dict[str, Any]) -> bytes:
    return ticket if isinstance(ticket, bytes) else json.dumps(ticket).encode()


@pytest.mark.parametrize(("ticket", "code", "field"), REFUSED)
def test_a_bad_ticket_is_refused_by_name(
    client: fl.FlightClient, ticket: bytes | dict[str, Any], code: str, field: str | None
) -> None:
    with pytest.raises(fl.FlightError) as caught:
        for _ in client.do_get(fl.Ticket(encoded(ticket))):
            pass
    info = refusal(caught.value)
    assert (info["code"], info["field"]) == (code, field)
    if code == "row_too_large":
        return
    descriptor = fl.FlightDescriptor.for_command(encoded(ticket))
    with pytest.raises(fl.FlightError) as planned:
        client.get_flight_info(descriptor)
    assert refusal(planned.value)["code"] == code
    refused = client.get_schema(descriptor).schema
    assert len(refused) == 0, "get_schema never raises: pyarrow would lose the error"
    assert json.loads(refused.metadata[b"error"])["code"] == code


def test_the_offender_is_named(client: fl.FlightClient) -> None:
    for change, value in (
        ({"columns": ["i:jdd"]}, "i:jdd"),
        ({"table": "ztf.uper"}, "ztf.uper"),
        ({"start": "yesterday"}, "yesterday"),
    ):
        with pytest.raises(fl.FlightServerError) as caught:
            client.do_get(fl.Ticket(encoded(GOOD | change))).read_all()
        info = refusal(caught.value)
        assert info["value"] == value
        assert value in info["message"]


def test_a_ticket_over_the_limit_is_too_large(client: fl.FlightClient) -> None:
    ids = [f"ZTF{number:020d}" for number in range(45_000)]
    ticket = encoded({"table": "ztf", "ids": ids})
    assert len(ticket) > 1_048_576
    with pytest.raises(fl.FlightServerError) as caught:
        client.do_get(fl.Ticket(ticket)).read_all()
    assert refusal(caught.value)["code"] == "too_large"
    assert ask(client, table="ztf", ids=ids[:30_000], columns=["i:jd"]).record["missing"] == 30_000


def test_calls_that_are_not_answered(client: fl.FlightClient) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: list(client.do_action(fl.Action("drop-table", b""))),
        lambda: list(client.list_flights(b"criteria")),
        lambda: client.get_flight_info(fl.FlightDescriptor.for_path("ztf", "more")).schema,
        lambda: client.get_flight_info(fl.FlightDescriptor.for_path("nothing")).schema,
    ]
    codes = []
    for call in calls:
        with pytest.raises(fl.FlightError) as caught:
            call()
        codes.append(refusal(caught.value)["code"])
    assert codes == ["not_supported", "not_supported", "bad_value", "unknown_table"]
    writer, _ = client.do_put(fl.FlightDescriptor.for_path("ztf"), pa.schema([("a", pa.int32())]))
    with pytest.raises(fl.FlightError) as caught:
        writer.close()
    assert refusal(caught.value)["code"] == "not_supported"


def test_a_fault_of_the_server_reaches_the_client_as_a_number_only(
    open_store: Callable[..., Opened],
    serve: Callable[..., fl.FlightClient],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened = open_store()
    opened.ingest(TDE)
    client = serve(opened)

    def fail(*_: object) -> None:
        raise KeyError("/secret/path")

    monkeypatch.setattr(opened.archive, "_messages", fail)
    with pytest.raises(fl.FlightInternalError) as caught:
        ask(client, **GOOD)
    info = refusal(caught.value)
    assert "secret" not in str(caught.value)
    assert info["error_id"] in info["message"]
    assert any(info["error_id"] in record.getMessage() for record in caplog.records)
    monkeypatch.undo()
    assert ask(client, **GOOD).record["rows"] == 21


def test_a_flipped_byte_in_a_segment_ends_that_stream_alone(
    open_store: Callable[..., Opened], serve: Callable[..., fl.FlightClient]
) -> None:
    opened = open_store()
    opened.ingest(TDE)
    client = serve(opened)
    (segment,) = (opened.settings.folder / "segments" / "ztf").glob("*.arrow")
    with segment.open("r+b") as handle:
        handle.seek(segment.stat().st_size // 2)
        byte = handle.read(1)[0]
        handle.seek(-1, 1)
        handle.write(bytes([byte ^ 4]))
    with pytest.raises(fl.FlightInternalError) as caught:
        ask(client, **GOOD)
    info = refusal(caught.value)
    assert info["code"] == "corrupt_data"
    assert "ztf" in info["message"]
    assert "from ZTF20abfcszi_2459063.9292593 on" in info["message"]
    assert ask(client, table="ztf.cutouts", ids=["ZTF20abfcszi"]).record["rows"] == 21


def test_an_answer_that_takes_too_long_is_ended(open_store: Callable[..., Opened]) -> None:
    from flight_server.catalog.catalog import load_catalog
    from flight_server.execution.archive import Archive
    from flight_server.protocol.callers import Caller
    from flight_server.protocol.errors import DeadlinePassed
    from flight_server.protocol.query import Query

    opened = open_store()
    opened.ingest(TDE)
    hurried = replace(opened.settings, limits=replace(opened.settings.limits, seconds=1e-9))
    archive = Archive(load_catalog(), opened.store, opened.store.cutouts, hurried)
    with pytest.raises(DeadlinePassed):
        list(archive.answer(Query(table="ztf", all=True), Caller()).messages)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
sensible: dict[str, st.SearchStrategy[Any]] = {
    "table": st.sampled_from(["ztf", "ztf.upper", "ztf.uppervalid", "ztf.cutouts"]),
    "ids": st.lists(st.sampled_from(["ZTF20abfcszi", "ZTF18abadigg", "nobody"]) | st.text(min_size=1, max_size=12), max_size=5),
    "all": st.booleans(),
    "columns": st.lists(st.sampled_from(["i:jd", "i:fid", "i:objectId", "i:magpsf", "d:cdsxmatch", "*"]), max_size=4),
    "cutouts": st.lists(st.sampled_from(["Science", "Template", "Difference"]), max_size=3),
    "cutout_format": st.sampled_from(["bytes", "fits", "array"]),
    "upper_limits": st.booleans(),
    "start": st.floats(58_000, 61_000) | st.floats() | st.just("2020-08-20"),
    "stop": st.floats(58_000, 61_000) | st.just("2021-08-20"),
    "limit": st.integers(-1, 200),
    "as_of": st.integers(-1, 2**63) | st.just(631_152_000_000),
    "resume_after": st.text(max_size=80),
    "compression": st.sampled_from(["none", "lz4", "zstd", "snappy"]),
    "digest": st.booleans(),
    "max_message_bytes": st.integers(1, 2**27),
}
fields = st.sampled_from([*FIELD_TYPES, "colour"])
rest = {name: strategy for name, strategy in sensible.items() if name not in ("table", "ids", "all")}
tickets = st.one_of(
    st.fixed_dictionaries({"table": sensible["table"], "ids": sensible["ids"]}, optional=rest),
    st.fixed_dictionaries({"table": sensible["table"], "all": st.just(True)}, optional=rest),
    st.fixed_dictionaries({}, optional=sensible),
    st.dictionaries(fields, values, max_size=5),
    st.dictionaries(st.text(max_size=10), values, max_size=5),
)


@more_examples(4)
@given(ticket=tickets.map(encoded) | st.binary(max_size=40))
def test_any_ticket_is_answered_whole_or_refused_by_name(client: fl.FlightClient, ticket: bytes) -> None:
    try:
        reader = client.do_get(fl.Ticket(ticket))
        chunks = list(reader)
    except fl.FlightError as error:
        assert TRANSPORT[refusal(error)["code"]].http == 400
        return
    record = json.loads(chunks[-1].app_metadata.to_pybytes())
    asked = json.loads(ticket)
    assert record["rows"] == sum(len(chunk.data) for chunk in chunks)
    if "ids" in asked and record["complete"]:
        assert record["objects"] + record["missing"] == len(set(asked["ids"]))
    if "limit" in asked:
        assert record["rows"] <= asked["limit"]
