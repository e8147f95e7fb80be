import pytest

from flight_server.protocol.errors import Overloaded, StreamCancelled
from flight_server.service.streams import Streams


def test_no_more_streams_are_open_than_allowed():
    streams = Streams(2)
    with streams.stream("a"):
        with streams.stream(None), pytest.raises(Overloaded) as caught, streams.stream(None):
            pass
        with streams.stream("a"):
            pass
    assert caught.value.retry_after_ms == 1000
    assert "2 streams" in caught.value.message


def test_a_stream_that_breaks_off_gives_its_place_back():
    streams = Streams(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), streams.stream("a"):
            raise ValueError("broken")


def test_cancelling_ends_the_streams_of_the_plan_and_refuses_later_ones():
    streams = Streams(9)
    first, second, other, none = (streams.stream(plan) for plan in ("a", "a", "b", None))
    with first, second, other, none:
        streams.cancel(["a"])
        assert [stream.cancelled for stream in (first, second, other, none)] == [True, True, False, False]
        with pytest.raises(StreamCancelled) as caught:
            first.check()
        assert caught.value.field == "plan"
        other.check()
    with pytest.raises(StreamCancelled), streams.stream("a"):
        pass
    begun = streams.stream("b")
    streams.cancel(["b", "c"])
    with pytest.raises(StreamCancelled), begun:
        pass
    with streams.stream("é"), streams.stream(None):
        pass


def test_a_refused_stream_takes_no_place():
    streams = Streams(1)
    streams.cancel(["a"])
    for _ in range(2):
        with pytest.raises(StreamCancelled), streams.stream("a"):
            pass
    with streams.stream("b"):
        pass


def test_the_newest_cancelled_plans_are_remembered():
    streams = Streams(1, remembered=3)
    streams.cancel("abc")
    streams.cancel("ad")
    for plan in "acd":
        with pytest.raises(StreamCancelled), streams.stream(plan):
            pass
    with streams.stream("b"):
        pass


def test_a_running_stream_stays_cancelled_when_its_plan_is_forgotten():
    streams = Streams(9, remembered=1)
    with streams.stream("a") as running:
        streams.cancel("a")
        streams.cancel("b")
        with streams.stream("a"), pytest.raises(StreamCancelled):
            running.check()
