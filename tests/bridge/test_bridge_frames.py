"""Recorded frames of the data channel: a damaged stream is an error, never a wrong batch."""

import json
import math
import socket
import struct
import tracemalloc
from pathlib import Path

import google_crc32c
import numpy as np
import pyarrow as pa
import pytest

from hbase_bridge import BridgeFault, GatewayLost, ScanChannel, WriteChannel
from hbase_bridge.frames import ALIVE, BATCH, CHECKED, END, FAILED, HEADER, MOST_BYTES, TABLE, make_frame, read_frame

RECORDED = (Path(__file__).parent / "recorded_scan.frames").read_bytes()
RUN = 1
SCHEMA = pa.schema([
    ("i:objectId", pa.string()),
    ("i:jd", pa.float64()),
    ("i:fid", pa.int32()),
    ("i:candid", pa.int64()),
    ("d:score", pa.float32()),
    ("d:note", pa.string()),
    ("d:flag", pa.bool_()),
])  # fmt: skip
ROWS = [
    ("ZTF1", 2459000.5, 1, 2**60 + 1, 0.5, "\u00e9", True),
    ("ZTF1", 2459001.25, None, None, None, None, False),
    ("ZTF22", 2459000.5, 2, None, None, "hello", None),
]
KEYS = [b"ZTF1_2459000.5", b"ZTF1_2459001.25", b"ZTF22_2459000.5"]


@pytest.fixture
def listener(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "rows"))
        listening.listen()
        yield listening


def read(listener, data, run=RUN):
    """Read what a gateway sends: rows, keys and the totals at the end."""
    with ScanChannel(listener.getsockname(), run, "5a" * 32, SCHEMA, 30) as channel:
        gateway, _ = listener.accept()
        with gateway:
            assert gateway.recv(40, socket.MSG_WAITALL) == struct.pack("<Q", run) + b"Z" * 32
            gateway.sendall(data)
            gateway.shutdown(socket.SHUT_WR)
            batches = [batch for batch in channel if batch is not None]
            rows = [tuple(row.values()) for batch in batches for row in batch.cells.to_pylist()]
            assert [list(batch.request_index) for batch in batches] == [[0] * len(batch.cells) for batch in batches]
            return rows, [key for batch in batches for key in batch.keys.tolist()], channel.totals


def frames(data):
    """Split a recording into its frames."""
    found = []
    while data:
        length = HEADER.size + HEADER.unpack(data[: HEADER.size])[7]
        found.append(data[:length])
        data = data[length:]
    return found


def test_the_recording_is_read(listener):
    rows, keys, totals = read(listener, RECORDED)
    assert rows == ROWS
    assert keys == KEYS
    assert totals == {"rows": 3, "frames": len(frames(RECORDED)) - 1, "unknown": {}}
    assert totals["frames"] > 1


def test_a_flipped_bit_anywhere_is_an_error_or_says_nothing(listener):
    within = [place for frame in frames(RECORDED) for place in range(len(frame))]
    tracemalloc.start()
    for offset, place in enumerate(within):
        flipped = bytearray(RECORDED)
        flipped[offset] ^= 1 << offset % 8
        if CHECKED + 4 <= place < HEADER.size:  # behind the header's own checksum stands nothing
            assert read(listener, bytes(flipped))[:2] == (ROWS, KEYS)
            continue
        with pytest.raises(BridgeFault):
            read(listener, bytes(flipped))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20, "a length is believed only once it is checked"
    tracemalloc.stop()


def test_a_recording_that_ends_early_is_an_error_wherever_it_ends(listener):
    for length in range(len(RECORDED)):
        with pytest.raises(GatewayLost):
            read(listener, RECORDED[:length])


def test_frames_that_are_left_out_doubled_or_swapped_are_errors(listener):
    first, second, *others = frames(RECORDED)
    for order in ([first, *others], [first, first, second, *others], [second, first, *others], [first, second], [*others]):
        with pytest.raises(BridgeFault):
            read(listener, b"".join(order))
    with pytest.raises(BridgeFault, match="of run 1, not 0 of 2"):
        read(listener, RECORDED, run=2)


def test_an_end_that_counts_otherwise_is_an_error(listener):
    *batches, _ = frames(RECORDED)
    right = {"rows": 3, "frames": len(batches), "unknown": {}}
    for wrong in ({"rows": 2}, {"frames": 1}, {"rows": 0, "frames": 0}):
        end = json.dumps(right | wrong).encode()
        with pytest.raises(BridgeFault, match="the gateway says it sent"):
            read(listener, b"".join(batches) + make_frame(END, RUN, len(batches), end) + end)
    end = json.dumps(right).encode()
    assert read(listener, b"".join(batches) + make_frame(END, RUN, len(batches), end) + end)[0] == ROWS


def test_signs_of_life_are_no_rows_and_faults_are_raised(listener):
    first, *_ = frames(RECORDED)
    alive = make_frame(ALIVE, RUN, 1, b"")
    said = json.dumps({"code": "table_refused", "message": "no such table"}).encode()
    with pytest.raises(BridgeFault, match="no such table") as caught:
        read(listener, first + alive + make_frame(FAILED, RUN, 2, said) + said)
    assert caught.value.code == "table_refused"
    for kind in (TABLE, 9):
        with pytest.raises(BridgeFault, match=f"frame of kind {kind}"):
            read(listener, first + make_frame(kind, RUN, 1, b""))


@pytest.mark.parametrize("length", [MOST_BYTES + 1, 2**31, 2**32 - 1])
def test_no_memory_is_taken_for_a_frame_that_is_too_long(length):
    header = bytearray(make_frame(BATCH, RUN, 0, b""))
    struct.pack_into("<I", header, 32, length)
    struct.pack_into("<I", header, CHECKED, google_crc32c.value(bytes(header[:CHECKED])))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(header)
        tracemalloc.start()
        with pytest.raises(BridgeFault):
            read_frame(ours, RUN, 0)
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
        tracemalloc.stop()
    with pytest.raises(ValueError, match="too long"):
        make_frame(BATCH, RUN, 0, bytes(MOST_BYTES + 1))


def test_a_gateway_that_falls_silent_is_lost(listener):
    with ScanChannel(listener.getsockname(), RUN, "00" * 32, SCHEMA, 0.05) as channel:
        gateway, _ = listener.accept()
        with gateway:
            gateway.sendall(RECORDED[:60])
            with pytest.raises(GatewayLost, match="sends nothing any more"):
                list(channel)
    with pytest.raises(GatewayLost, match="cannot be opened"):
        ScanChannel(f"{listener.getsockname()}-absent", RUN, "00" * 32, SCHEMA, 1)


def test_rows_that_are_written_are_framed_in_turn(listener):
    table = pa.table({"d:score": pa.array([math.nan, None], pa.float32())})
    with WriteChannel(listener.getsockname(), 7, "00" * 32, 30) as channel:
        gateway, _ = listener.accept()
        with gateway:
            gateway.recv(40, socket.MSG_WAITALL)
            said = json.dumps({"rows": {"t": 2}}).encode()
            gateway.sendall(make_frame(ALIVE, 7, 0, b"") + make_frame(END, 7, 1, said) + said)
            channel.table("t", [{"name": "d:score", "type": "float"}])
            channel.write(table.to_batches()[0], np.array([b"a", b"bcd"]))
            assert channel.end() == {"t": 2}
            about, batch, end = (read_frame(gateway, 7, number) for number in range(3))
    assert (about.kind, batch.kind, end.kind) == (TABLE, BATCH, END)
    assert json.loads(about.payload) == {"table": "t", "columns": [{"name": "d:score", "type": "float"}], "mode": "puts"}
    assert (batch.rows, batch.key_width) == (2, 3)
    assert batch.payload[batch.batch_bytes :] == b"a\0\0bcd"
    assert pa.ipc.read_record_batch(pa.py_buffer(batch.payload[: batch.batch_bytes]), table.schema)["d:score"].null_count == 1
