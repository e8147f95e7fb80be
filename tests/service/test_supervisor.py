"""The process above a server: it starts the server again after SIGBUS, and passes on signals and exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
from alert_data import TDE
from archives import ask
from processes import COMMAND, Serving, serving
from waiting import is_running, wait_until

from flight_server.protocol.errors import from_info

# a server that lists the signals that it gets until SIGTERM, and whether SIGINT was kept from it
LISTS_SIGNALS = """
import os, signal
from flight_server.service.supervisor import supervise
def serve(start):
    got, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    start.report(1)
    print("ready", flush=True)
    print(list(os.read(got, 100)), signal.SIGINT in signal.sigpending(), flush=True)
supervise(serve)
"""
ENDS = """
import os, signal, sys
from flight_server.service.supervisor import supervise
def serve(start):
    print("start", start.port, flush=True)
    {}
supervise(serve)
print("behind it")
"""


@pytest.fixture(scope="module")
def ingested_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ingested")
    subprocess.run([COMMAND, "ingest", TDE, "--data", folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def store(ingested_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ingested_folder, tmp_path / "store"))


@pytest.fixture
def running(store: Path) -> Iterator[Serving]:
    with serving([COMMAND, "serve", "--port", "0", "--data", store]) as found:
        yield found


def rest_of(running: Serving) -> str:
    """Return what was printed after the ready line, once the command has ended."""
    assert running.process.stdout is not None
    return running.process.stdout.read()


def health(url: str) -> Any:
    """Return the health of a server, or None if it does not answer."""
    try:
        with fl.connect(url, generic_options=[("grpc.use_local_subchannel_pool", 1)]) as client:
            (result,) = client.do_action(fl.Action("health", b""))
            return json.loads(result.body.to_pybytes())
    except (fl.FlightUnavailableError, fl.FlightInternalError, fl.FlightCancelledError):  # the last one if it ends meanwhile
        return None


def answer(url: str, **fields: Any) -> str | int:
    """Return the number of rows, the code of the error, or `gone` if the server does not answer."""
    try:
        with fl.connect(url, generic_options=[("grpc.use_local_subchannel_pool", 1)]) as client:
            rows: int = ask(client, **fields).record["rows"]
            return rows
    except fl.FlightError as error:
        found = from_info(error.extra_info or b"")
        return "gone" if found is None else found.code


def end_by(signal_number: signal.Signals, running: Serving) -> int:
    """End the server by a signal; return the process ID that it had."""
    server = running.server
    os.kill(server, signal_number)
    wait_until(lambda: not is_running(server), "the server has ended")
    return server


def test_a_server_that_sigbus_ends_is_back_on_its_port(running: Serving) -> None:
    for _ in range(2):
        first = end_by(signal.SIGBUS, running)
        wait_until(lambda: health(running.url), "another server answers at the same address")
        assert running.server != first
        assert answer(running.url, table="ztf", all=True) == 21
    last = running.server
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
    assert not is_running(last)
    said = rest_of(running)
    assert said.count("SIGBUS ended the server") == 2
    assert said.count(f"the server is ready again at {running.url}") == 2
    assert "ready grpc" not in said


def test_a_segment_cut_short_under_a_running_server(running: Serving, store: Path) -> None:
    assert answer(running.url, table="ztf", all=True) == 21
    (segment,) = (store / "segments" / "ztf").glob("*.arrow")
    content = segment.read_bytes()
    os.truncate(segment, 4096)
    # `gone` if it was touched before the server looked at it
    assert answer(running.url, table="ztf", all=True) in {"corrupt_data", "gone"}
    wait_until(lambda: answer(running.url, table="ztf", all=True) == "corrupt_data", "it is told as damage")
    assert health(running.url)["tables"]["ztf"] == "corrupt_data"
    assert answer(running.url, table="ztf.class", all=True) == 21
    assert running.process.poll() is None
    segment.write_bytes(content)
    wait_until(lambda: answer(running.url, table="ztf", all=True) == 21, "a mended file is read again")


def test_damage_shows_in_health_while_nobody_asks_for_rows(store: Path) -> None:
    with serving([COMMAND, "serve", "--port", "0", "--data", store], {"ALERTFLIGHT_SCRUB__SECONDS": "0.1"}) as running:
        (block,) = (store / "blocks").glob("*.parquet")
        with block.open("r+b") as handle:
            handle.seek(1000)
            handle.write(bytes(1000))
        wait_until(lambda: health(running.url)["tables"]["ztf.cutouts"] == "corrupt_data", "a scrub finds it")
        assert block.name in health(running.url)["faults"]["ztf.cutouts"]
        assert answer(running.url, table="ztf", all=True) == 21


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_other_ends_are_passed_on(running: Serving, number: signal.Signals) -> None:
    end_by(number, running)
    assert running.process.wait(60) == -number


def test_a_server_ends_with_its_supervisor(running: Serving) -> None:
    server = running.server
    running.process.kill()
    running.process.wait(60)
    wait_until(lambda: not is_running(server), "the server ends too")


@pytest.mark.deep
def test_what_a_killed_server_left_is_removed_by_the_next_one(store: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [COMMAND, "serve", "--port", "0", "--data", store]
    environment = {"TMPDIR": str(temporary), "ALERTFLIGHT_INGEST__DO_PUT": "allow"}
    alerts = pq.read_table(TDE)
    with serving(command, environment) as running, fl.connect(running.url) as client:
        writer, _ = client.do_put(fl.FlightDescriptor.for_command(b'{"survey": "ztf"}'), alerts.schema)
        writer.write_table(alerts)
        wait_until(lambda: list(temporary.glob("*/*")), "the upload is kept in a file")
        end_by(signal.SIGKILL, running)
        with pytest.raises((fl.FlightError, pa.ArrowException)):
            writer.close()
    assert list(temporary.iterdir())
    with serving(command, environment):
        assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("ending", "status", "printed"),
    [
        ("sys.exit(3)", 3, "start None\n"),
        ("return", 0, "start None\nbehind it\n"),
        ("raise ValueError", 1, "start None\n"),
        ("os.kill(os.getpid(), signal.SIGBUS)", -signal.SIGBUS, "start None\n"),  # it was not ready
        ("start.report(7); start.port or os.kill(os.getpid(), signal.SIGBUS)", 0, "start None\nstart 7\nbehind it\n"),
        ("os.kill(os.getppid(), signal.SIGTERM); signal.pause()", -signal.SIGTERM, "start None\n"),
    ],
)
def test_the_command_ends_as_its_server(ending: str, status: int, printed: str) -> None:
    done = subprocess.run([sys.executable, "-c", ENDS.format(ending)], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (status, printed), done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_reaches_the_server_once(number: signal.Signals) -> None:
    """Ctrl-C in a terminal is sent to the command and to its server."""
    process = subprocess.Popen([sys.executable, "-c", LISTS_SIGNALS], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        assert process.stdout.readline() == f"[{int(signal.SIGTERM)}] {number == signal.SIGINT}\n"
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


# a server that would give calls under way ten minutes to finish
PATIENT = """
import sys
from flight_server.cli.app import main
from flight_server.service import process
process.GRACE_SECONDS = 600.0
main(sys.argv[1:])
"""


def test_a_second_signal_ends_calls_under_way_and_the_exit_code_says_so(store: Path) -> None:
    command = [sys.executable, "-c", PATIENT, "serve", "--port", "0", "--data", store]
    with serving(command) as running, fl.connect(running.url) as client:
        descriptor = fl.FlightDescriptor.for_command(b'{"table": "ztf", "columns": ["i:jd"]}')
        writer, reader = client.do_exchange(descriptor)
        writer.begin(pa.schema({"id": pa.string()}))
        writer.write_batch(pa.record_batch({"id": ["ZTF20abfcszi"]}))
        assert reader.read_chunk().data.num_rows, "the exchange is under way, and its client sends no end"
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: health(running.url) is None, "no new calls are taken")
        assert running.process.poll() is None
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 1
        assert "calls under way were cut off" in rest_of(running)
