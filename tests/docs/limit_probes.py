"""Probes of documented limits: each tries what a page says is not done."""

from __future__ import annotations

import base64
import http.client
import importlib.util
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from alert_data import ROOT, RUBIN
from archives import ask
from click.testing import CliRunner, Result
from processes import COMMAND, children

import flight_client as af
from flight_server.cli.app import main
from flight_server.protocol.errors import from_info

TRANSPORT_FAULTS = (fl.FlightUnavailableError, fl.FlightInternalError, fl.FlightTimedOutError)
SINCE = 2_458_000.5


@dataclass(frozen=True)
class Served:
    """A server process over 21 alerts that accepts uploads and signs tickets, and a working folder."""

    url: str
    process: int
    store: Path
    folder: Path

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def refuses(*words: str | Path, because: str) -> None:
    """Run a command that must fail with a usage error."""
    done = run(*words)
    assert (done.exit_code, because in done.stderr) == (2, True), f"{words}: exit code {done.exit_code}\n{done.output}"


def serve_refuses(*words: str | Path, because: str) -> None:
    """Run `serve`, which must fail with a usage error; it would not return if it worked."""
    told = subprocess.run([COMMAND, "serve", *map(str, words)], capture_output=True, text=True, check=False, timeout=120)
    assert (told.returncode, because in told.stderr) == (2, True), f"{words}: exit code {told.returncode}\n{told.stderr}"


def has_no_command(*names: str) -> None:
    for command in names:
        refuses(command, "--help", because=f"No such command '{command}'")


def has_no_setting(served: Served, word: str, *sections: str, value: Any = None) -> None:
    """Check that a setting is unknown in each section and at the top level."""
    file = served.folder / "settings.yml"
    for section in sections or ("",):
        file.write_text(json.dumps({section: {word: value}} if section else {word: value}))
        refuses("tables", "--config", file, "--data", served.store, because=f"sets '{word}', which is not a setting")


def code_of(error: Exception) -> str:
    domain = from_info(getattr(error, "extra_info", b"") or b"")
    return "" if domain is None else domain.code


def refusal(served: Served, call: Callable[[fl.FlightClient], Any]) -> str:
    """Make a call that the server must refuse; return the code of its error."""
    with fl.connect(served.url) as client, pytest.raises((fl.FlightError, pa.ArrowException)) as caught:
        call(client)
    return code_of(caught.value)


def ticket_refusal(served: Served, **fields: Any) -> str:
    ticket = fl.Ticket(json.dumps({"table": "ztf", "all": True} | fields))
    return refusal(served, lambda client: client.do_get(ticket).read_all())


def upload_refusal(served: Served, command: Any, alerts: pa.Table) -> str:
    def upload(client: fl.FlightClient) -> None:
        writer, reader = client.do_put(fl.FlightDescriptor.for_command(json.dumps(command)), alerts.schema)
        try:
            writer.write_table(alerts)
            writer.write_metadata(b'{"commit": true}')
            writer.done_writing()
            assert reader.read() is None
        finally:
            writer.close()

    return refusal(served, upload)


def action(client: fl.FlightClient, body: str, *how: fl.FlightCallOptions) -> Any:
    (result,) = client.do_action(fl.Action(body, b""), *how)
    return json.loads(result.body.to_pybytes())


def listening(process: int) -> set[int]:
    """Return the TCP ports that a process listens on."""
    held = set()
    for opened in Path(f"/proc/{process}/fd").iterdir():
        try:
            held.add(str(opened.readlink()))
        except OSError:  # closed meanwhile
            continue
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in held:
                ports.add(int(words[1].rsplit(":", 1)[1], 16))
    return ports


def statistics_of_one_survey(served: Served) -> None:
    store = served.folder / "store"
    assert run("ingest", RUBIN, "--data", store).exit_code == 0
    assert run("statistics", "--data", store).exit_code == 0
    tables = run("tables", "--data", store).stdout
    (line,) = (line for line in tables.splitlines() if line.startswith("rubin.statistics"))
    assert line.split()[1] == "0"


def authentication(served: Served) -> None:
    headers = fl.FlightCallOptions(headers=[(b"authorization", b"Bearer nonsense")])
    ticket = fl.Ticket(json.dumps({"table": "ztf", "all": True}))
    with fl.connect(served.url) as client:
        unnamed, named = client.do_get(ticket).read_all(), client.do_get(ticket, headers).read_all()
        assert (len(unnamed), len(named)) == (21, 21), "whoever asks is answered, whatever they say who they are"
        assert action(client, "server-info", headers) == action(client, "server-info")
        with pytest.raises(pa.ArrowNotImplementedError, match="does not have an authentication mechanism"):
            client.authenticate_basic_token("anybody", "nothing")
    has_no_setting(served, "auth", value={"tokens_file": None})
    refuses("get", "--all", "--token", "x", because="No such option")


def callers_have_no_names(served: Served) -> None:
    planned = fl.FlightDescriptor.for_command(json.dumps({"table": "ztf", "all": True}))
    headers = fl.FlightCallOptions(headers=[(b"authorization", b"Basic " + base64.b64encode(b"ada:x"))])
    with fl.connect(served.url) as client:
        for how in (fl.FlightCallOptions(), headers):
            for endpoint in client.get_flight_info(planned, how).endpoints:
                assert json.loads(endpoint.ticket.ticket)["sub"] == "anonymous"


class _Headers(fl.ServerMiddlewareFactory):
    """Keep the headers of all calls."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[dict[str, list[str]]] = []

    def start_call(self, _info: Any, headers: Any) -> None:
        self.held.append(dict(headers))


class _Listens(fl.FlightServerBase):
    def do_action(self, _context: Any, _action: Any) -> list[bytes]:
        return [b"{}"]


def the_token_stays_here(served: Served) -> None:
    headers = _Headers()
    profiles = served.folder / "alertflight" / "client.yml"
    profiles.parent.mkdir()
    with _Listens("grpc://127.0.0.1:0", middleware={"headers": headers}) as server:
        profiles.write_text(f"profiles: {{mine: {{url: 'grpc://127.0.0.1:{server.port}', token: hush-hush}}}}\n")
        profiles.chmod(0o600)
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("XDG_CONFIG_HOME", str(served.folder))
            with af.connect(profile="mine") as archive:
                assert archive.tables() == {}
    assert headers.held
    assert "hush-hush" not in str(headers.held)


def encryption(served: Served) -> None:
    secure = fl.connect(served.url.replace("grpc://", "grpc+tls://"), disable_server_verification=True)
    with secure as client, pytest.raises(TRANSPORT_FAULTS):
        action(client, "health")
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", served.port), timeout=60)
    with plain, pytest.raises((ssl.SSLError, ConnectionError)):
        trusting.wrap_socket(plain)
    has_no_setting(served, "tls", value={"cert": None, "key": None})
    serve_refuses("--tls-cert", "x", because="No such option")


def kerberos(served: Served) -> None:
    for word in ("principal", "keytab"):
        has_no_setting(served, word, "hbase", "hdfs", "gateway", value="x")
    has_no_setting(served, "kerberos", value={})


def http_is_not_spoken(served: Served) -> None:
    assert listening(served.process) == {served.port}
    for path in ("/", "/api/v1/objects?objectId=ZTF20abfcszi", "/tap/sync", "/metrics"):
        asking = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            asking.request("GET", path)
            asking.getresponse()
        asking.close()
    has_no_setting(served, "rest", value={"enabled": True})
    has_no_command("portal", "rest", "web")


def live_alerts(served: Served) -> None:
    assert ticket_refusal(served, follow=True) == "unknown_field"
    with fl.connect(served.url) as client:  # an answer ends with what there is
        assert ask(client, table="ztf", all=True, start=SINCE, columns=["i:jd"]).record["complete"]
    has_no_command("consume", "follow", "listen", "subscribe")
    topic = run("ingest", "kafka://127.0.0.1:9092/ztf", "--data", served.folder / "live")
    assert (topic.exit_code, "the file cannot be read" in topic.stderr) == (1, True), topic.stderr
    has_no_setting(served, "kafka", value={})


def conditions_on_values(served: Served) -> None:
    for field, value in {"where": "i:magpsf < 18.3", "filter": [["i:magpsf", "<", 18.3]], "sql": "SELECT 1", "i:fid": 1}.items():
        assert ticket_refusal(served, **{field: value}) == "unknown_field"
    assert refusal(served, lambda client: client.do_get(fl.Ticket(b"SELECT * FROM ztf")).read_all()) == "invalid_ticket"
    # Flight SQL: a message of type Any with a CommandStatementQuery
    kind, query = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery", b"\x0a\x08SELECT 1"
    command = b"\x0a" + bytes([len(kind)]) + kind + b"\x12" + bytes([len(query)]) + query
    assert refusal(served, lambda client: client.get_flight_info(fl.FlightDescriptor.for_command(command))) == "invalid_ticket"
    refuses("get", "--all", "--where", "i:magpsf < 18.3", because="No such option")


def several_processes(served: Served) -> None:
    serve_refuses("--workers", "2", because="No such option")
    has_no_setting(served, "workers", "server", value=2)
    assert children(served.process) == []
    serve_refuses("--port", str(served.port), "--data", served.store, because="is taken")


def tom_toolkit(served: Served) -> None:
    for module in ("tom_alertflight", "alertflight_tom", "flight_client_tom"):
        assert importlib.util.find_spec(module) is None
    for module in ("tom", "tom_toolkit"):
        assert importlib.util.find_spec(f"flight_client.{module}") is None
    assert not list(ROOT.glob("integrations/*")), served


def nobody_is_unauthenticated(served: Served) -> None:
    for value in (b"", b"nonsense", b"Basic " + base64.b64encode(b"a:b"), b"Bearer x"):
        headers = fl.FlightCallOptions(headers=[(b"authorization", value)])
        with fl.connect(served.url) as client:
            with pytest.raises(fl.FlightError) as caught:
                client.do_get(fl.Ticket(b"{}"), headers).read_all()
            assert code_of(caught.value) == "invalid_ticket"


def the_first_call_is_answered(served: Served) -> None:
    """Call a server as soon as its port is open, possibly before it is ready."""
    process = subprocess.Popen(
        [COMMAND, "serve", "--port", "0", "--data", served.store], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        ports: set[int] = set()
        while not ports:
            assert process.poll() is None
            time.sleep(0.001)
            ports = set[int]().union(*map(listening, children(process.pid)))
        with fl.connect(f"grpc://127.0.0.1:{ports.pop()}") as client:
            assert action(client, "health")["status"] == "serving"
    finally:
        process.terminate()
        process.wait(60)


def not_from_elsewhere(served: Served) -> None:
    for field in ("withEphem", "with_ephem", "withResiduals", "with_residuals"):
        assert ticket_refusal(served, table="ztf.ssnamenr", **{field: True}) == "unknown_field"
    for table in ("ztf.ssobulk", "ztf.ssoft", "ztf.simbad_resolver", "simbad"):
        assert ticket_refusal(served, table=table) == "unknown_table"
    for resolver in ("ztf.tns_resolver", "ztf.sso_resolver"):
        with fl.connect(served.url) as client:
            assert ask(client, table=resolver, name="Vega").record["rows"] == 0
    note = pa.table({"i:objectId": ["ZTF20abfcszi"], "d:comments": ["a note"]})
    assert upload_refusal(served, {"survey": "ztf", "table": "ztf.metadata"}, note) == "unknown_field"
    assert upload_refusal(served, {"survey": "ztf"}, note) == "bad_value"
