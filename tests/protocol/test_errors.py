import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.protocol.errors import ERRORS, TRANSPORT, AlertflightError, from_info, shorten
from flight_server.protocol.ticket_json import parse_ticket

SERVER, UNAVAILABLE, INTERNAL = "FlightServerError", "FlightUnavailableError", "FlightInternalError"
BAD_REQUESTS = ["invalid_ticket", "unknown_field", "unknown_table", "unknown_column", "no_selection", "bad_value", "too_large"]
BAD_REQUESTS += ["row_too_large", "not_supported", "cursor_mismatch"]
DESIGNED = dict.fromkeys(BAD_REQUESTS, (SERVER, 400)) | {
    "unauthenticated": ("FlightUnauthenticatedError", 401),
    "forbidden": ("FlightUnauthorizedError", 403),
    "table_refused": (UNAVAILABLE, 503),
    "starting": (UNAVAILABLE, 503),
    "draining": (UNAVAILABLE, 503),
    "overloaded": (UNAVAILABLE, 429),
    "backend_lost": (UNAVAILABLE, 503),
    "deadline": ("FlightTimedOutError", 504),
    "cancelled": (SERVER, None),  # has no HTTP status: nobody is left to read it
    "corrupt_data": (INTERNAL, 500),
    "internal": (INTERNAL, 500),
}


def test_the_table_of_transports_is_that_of_the_design():
    assert set(TRANSPORT) == set(DESIGNED) == set(ERRORS)
    for code, (flight, http) in DESIGNED.items():
        assert TRANSPORT[code].flight == flight, code
        assert http in {None, TRANSPORT[code].http}, code
        assert TRANSPORT[code].retry in {"here", "other", "never"}, code


@pytest.mark.parametrize("code", DESIGNED)
def test_nobody_is_told_to_repeat_a_bad_request(code):
    assert (TRANSPORT[code].retry == "never") == (DESIGNED[code][1] in {None, 400, 401, 403})


@pytest.mark.parametrize("code", DESIGNED)
@pytest.mark.parametrize(
    "given",
    [{}, {"field": "limit", "value": "0"}, {"field": "é", "value": "x" * 200, "error_id": "12ab", "retry_after_ms": 250}],
    ids=["bare", "some", "all"],
)
def test_an_error_survives_the_wire(code, given):
    sent = ERRORS[code]("what is wrong", **given)
    got = from_info(sent.to_json())
    assert type(got) is ERRORS[code]
    assert got.info() == sent.info()
    assert json.loads(sent.to_json()) == sent.info()
    assert list(sent.info()) == ["code", "message", "field", "value", "retry", "retry_after_ms", "error_id"]
    assert (got.message, got.field, got.error_id) == ("what is wrong", given.get("field"), given.get("error_id"))
    assert got.retry_after_ms == given.get("retry_after_ms")


@given(st.text(max_size=400), st.integers(1, 400))
def test_shortening_keeps_short_texts_and_marks_cut_ones(text, length):
    cut = shorten(text, length)
    assert len(cut) == min(len(text), length)
    assert cut == text if len(text) <= length else (cut.endswith("…") and text.startswith(cut[:-1]))


@given(st.text(st.characters(exclude_categories=()), max_size=1000), st.one_of(st.text(), st.integers(), st.lists(st.floats())))
def test_messages_and_values_stay_short_and_encodable(message, value):
    error = AlertflightError(message, value=value)
    assert len(error.message) < 300
    assert len(error.value) <= 80
    assert from_info(error.to_json()) is not None


def test_no_field_name_makes_an_error_too_large_for_a_header():
    with pytest.raises(AlertflightError) as caught:
        parse_ticket(json.dumps({"x" * 100_000: 1}).encode())
    assert len(caught.value.to_json()) < 4096


@pytest.mark.parametrize(
    "info",
    [b"", b"\xff", "no JSON", "1", "[]", "null", '"code"', "{}", '{"code": "bad_value"}', '{"code": "none", "message": "x"}'],
)
def test_what_is_not_ours_is_no_error_of_ours(info):
    assert from_info(info) is None


@given(
    st.binary()
    | st.dictionaries(st.sampled_from(["code", "message", "field", "value"]), st.none() | st.text() | st.lists(st.text())).map(
        json.dumps
    )
)
def test_whatever_arrives_is_read_or_is_none(info):
    assert from_info(info) is None or isinstance(from_info(info), AlertflightError)


def test_a_long_message_is_cut_to_299_characters():
    assert AlertflightError("é" * 299).message == "é" * 299
    assert AlertflightError("é" * 300).message == "é" * 298 + "…"
