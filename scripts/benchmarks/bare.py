"""The bare server: a pyarrow Flight server that replays the answers of the real one from memory.

It measures the cost of the transport alone: the same schema with its metadata, the same batches at the same
boundaries, the same metadata with each and the same last message. Nothing is parsed, looked up or split.

usage: bare.py URL_OF_THE_REAL_SERVER     then the action `record` with a ticket, then `do_get` of that ticket
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

import pyarrow as pa
import pyarrow.flight as fl

Recorded = tuple[pa.Schema, list[tuple[pa.RecordBatch, bytes]]]


class BareServer(fl.FlightServerBase):  # type: ignore[misc]
    """A server of recorded answers.

    Parameters
    ----------
    upstream
        The address of the real server.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__("grpc://127.0.0.1:0")
        self._upstream = fl.connect(upstream)
        self._answers: dict[bytes, Recorded] = {}

    def do_action(self, context: fl.ServerCallContext, action: fl.Action) -> list[fl.Result]:  # noqa: ARG002  (pyarrow's)
        """Record the answer of the real server."""
        ticket = action.body.to_pybytes()
        reader = self._upstream.do_get(fl.Ticket(ticket))
        messages = [(chunk.data, chunk.app_metadata.to_pybytes()) for chunk in reader]
        self._answers[ticket] = reader.schema, messages
        return []

    def do_get(self, context: fl.ServerCallContext, ticket: fl.Ticket) -> fl.GeneratorStream:  # noqa: ARG002  (pyarrow's)
        """Send a recorded answer."""
        schema, messages = self._answers[ticket.ticket]
        return fl.GeneratorStream(schema, iter(messages))


def main() -> None:
    """Serve until a signal."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    server = BareServer(sys.argv[1])
    print(f"ready grpc://127.0.0.1:{server.port}", flush=True)
    stop.wait()


if __name__ == "__main__":
    main()
