from pathlib import Path

import pytest

from flight_server.protocol.errors import BadValue
from flight_server.settings import load_settings


@pytest.fixture
def written(tmp_path):
    def writes(text):
        file = tmp_path / "settings.yml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return writes


def test_the_defaults_are_those_of_the_design():
    settings = load_settings(environment={})
    assert (settings.store, settings.data) == ("embedded", None)
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8815)
    assert settings.server.locations == ()
    assert settings.tickets.max_bytes == 1_048_576
    assert (settings.tickets.signing_key_file, settings.tickets.signed_only, settings.tickets.lifetime) == (None, False, 21_600)
    assert settings.ingest.do_put == "deny"
    assert (settings.limits.streams, settings.limits.seconds, settings.limits.cutouts) == (200, 600, 30_000)
    assert settings.cutouts.max_unpacked == 8_388_608
    assert settings.cutouts.array_shape == {"ztf": (63, 63), "rubin": (96, 96)}


@pytest.mark.parametrize(
    ("flag", "environment", "file", "port"),
    [
        (None, None, None, 8815),
        (None, None, 1, 1),
        (None, 2, 1, 2),
        (3, 2, 1, 3),
        (3, None, 1, 3),
        (0, 2, 1, 0),
        (None, 2, None, 2),
    ],
)
def test_flag_over_environment_over_file_over_default(written, flag, environment, file, port):
    settings = load_settings(
        written(f"server: {{port: {file}}}") if file else None,
        {"ALERTFLIGHT_SERVER__PORT": str(environment)} if environment else {},
        port=flag,
    )
    assert settings.server.port == port
    assert settings.server.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("flag", "environment", "file", "data"),
    [("f", "e", "y", "f"), (None, "e", "y", "e"), (None, None, "y", "y"), (None, None, None, None)],
)
def test_the_folder_follows_the_same_order(written, flag, environment, file, data):
    variables = {"ALERTFLIGHT_DATA": environment} if environment else {}
    assert load_settings(written(f"data: {file}") if file else None, variables, data=flag).data == data


def test_every_kind_of_setting_can_be_given(written):
    file = written("limits:\n  seconds: 1.5\n  streams: 7\nserver: {host: '::'}\ncutouts: {max_unpacked: 0}")
    settings = load_settings(
        file, {"ALERTFLIGHT_LIMITS__CUTOUTS": "9", "ALERTFLIGHT_TICKETS": "{max_bytes: 5}", "PATH": "/bin", "ALERTFLIGHTS": "x"}
    )
    assert (settings.limits.seconds, settings.limits.streams, settings.limits.cutouts) == (1.5, 7, 9)
    assert (settings.server.host, settings.cutouts.max_unpacked, settings.tickets.max_bytes) == ("::", 0, 5)
    assert load_settings(environment={}) != settings  # the defaults are as they were
    assert load_settings(environment={}).limits.streams == 200


def test_the_shape_of_one_survey_leaves_the_other(written):
    file = written("cutouts: {array_shape: {ztf: [48, 50]}}")
    assert load_settings(file, {}).cutouts.array_shape == {"ztf": (48, 50), "rubin": (96, 96)}
    environment = {"ALERTFLIGHT_CUTOUTS__ARRAY_SHAPE": "{rubin: [30, 31]}"}
    assert load_settings(file, environment).cutouts.array_shape == {"ztf": (48, 50), "rubin": (30, 31)}


def test_locations_are_uris_of_servers(written):
    uris = ("grpc://node1:8815", "grpc+tls://[::1]:8815", "grpc+tcp://node2.example:1", "arrow-flight-reuse-connection://?")
    assert load_settings(written(f"server: {{locations: [{', '.join(map(repr, uris))}]}}"), {}).server.locations == uris
    environment = {"ALERTFLIGHT_SERVER__LOCATIONS": "['grpc://node3:8825']"}
    assert load_settings(environment=environment).server.locations == ("grpc://node3:8825",)


def test_tickets_and_uploads_are_set(written):
    file = written("tickets: {signing_key_file: keys, signed_only: true, lifetime: 60}\ningest: {do_put: allow}")
    settings = load_settings(file, {})
    assert (settings.tickets.signing_key_file, settings.tickets.signed_only, settings.tickets.lifetime) == ("keys", True, 60)
    assert settings.ingest.do_put == "allow"
    assert load_settings(environment={"ALERTFLIGHT_TICKETS__SIGNING_KEY_FILE": "7"}).tickets.signing_key_file == "7"


def test_an_empty_file_changes_nothing(written):
    assert load_settings(written("# nothing\n"), {}) == load_settings(environment={})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sever: {port: 1}", "sever"),
        ("server: {prot: 1}", "prot"),
        ("server: 5", "server"),
        ("limits: [1]", "limits"),
        ("server:", "server"),
        ("1: 2", "1"),
        ("server: {port: '8815'}", "server.port"),
        ("server: {port: 8815.0}", "server.port"),
        ("server: {port: true}", "server.port"),
        ("server: {port: null}", "server.port"),
        ("server: {port: -1}", "server.port"),
        ("server: {host: 5}", "server.host"),
        ("data: 7", "data"),
        ("data: {a: 1}", "data"),
        ("limits: {seconds: soon}", "limits.seconds"),
        ("limits: {seconds: -0.5}", "limits.seconds"),
        ("limits: {seconds: 0}", "limits.seconds"),
        ("limits: {stall_seconds: 0.0}", "limits.stall_seconds"),
        ("limits: {streams: 0}", "limits.streams"),
        ("limits: {cutouts: 0}", "limits.cutouts"),
        ("limits: {streams: 1.5}", "limits.streams"),
        ("cutouts: {max_unpacked: {a: 1}}", "cutouts.max_unpacked"),
        ("cutouts: {array_shape: [63, 63]}", "array_shape"),
        ("cutouts: {array_shape: {lsst: [63, 63]}}", "lsst"),
        *(
            (f"cutouts: {{array_shape: {{ztf: {shape}}}}}", "cutouts.array_shape.ztf")
            for shape in ("63", "[63]", "[63, 63, 63]", "[0, 63]", "[63, 32768]", "[63, 6.3]", "[63, true]", "[63, -1]", "null")
        ),
        ("server: {locations: grpc://a:1}", "server.locations"),
        ("server: {locations: [1]}", "server.locations"),
        *(
            (f"server: {{locations: ['grpc://a:1', '{uri}']}}", "server.locations")
            for uri in (
                "node1:8815",
                "http://a:1",
                "grpc://a",
                "grpc://:1",
                "grpc://a:0",
                "grpc://a:1/x",
                "grpc://a:x",
                "grpc://[a:1",
            )
        ),
        ("tickets: {signed_only: true}", "tickets.signed_only"),
        ("tickets: {signed_only: 1}", "tickets.signed_only"),
        ("tickets: {signing_key_file: 5}", "tickets.signing_key_file"),
        ("tickets: {lifetime: 0}", "tickets.lifetime"),
        ("tickets: {lifetime: 1.5}", "tickets.lifetime"),
        ("ingest: {do_put: true}", "ingest.do_put"),
        ("ingest: {do_put: maybe}", "ingest.do_put"),
        ("store: postgres", "store"),
        ("hbase: {scan_threads: many}", "hbase.scan_threads"),
        ("hbase: {properties: [a]}", "hbase.properties"),
        ("hdfs: {roots: /}", "hdfs.roots"),
        ("hdfs: {rewrite: {a: 1}}", "hdfs.rewrite"),
        ("store: null", "store"),
        ("just text", "config"),
        ("[1, 2]", "config"),
        ("a: [", "config"),
        ("!!python/object/apply:os.getpid []", "config"),
        (b"data: \xff", "config"),
    ],
)
def test_a_wrong_file_is_refused_by_the_name_of_the_setting(written, text, name):
    with pytest.raises(BadValue) as caught:
        load_settings(written(text), {})
    assert caught.value.field == name
    assert len(caught.value.message) < 300


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadValue) as caught:
        load_settings(tmp_path / "none.yml", {})
    assert caught.value.field == "config"


@pytest.mark.parametrize(
    "environment",
    [
        {"ALERTFLIGHT_SEVER__PORT": "1"},
        {"ALERTFLIGHT_SERVER__PROT": "1"},
        {"ALERTFLIGHT_SERVER": "1"},
        {"ALERTFLIGHT_SERVER__PORT": "many"},
        {"ALERTFLIGHT_SERVER__PORT": ""},
        {"ALERTFLIGHT_SERVER__PORT": "["},
        {"ALERTFLIGHT_STORE__KIND": "x"},
        {"ALERTFLIGHT_SERVER": "x", "ALERTFLIGHT_SERVER__PORT": "1"},
        {"ALERTFLIGHT_SERVER__PORT": "1", "ALERTFLIGHT_SERVER": "x"},
        {"ALERTFLIGHT_": "1"},
    ],
    ids=str,
)
def test_a_wrong_variable_is_refused(environment):
    with pytest.raises(BadValue):
        load_settings(environment=environment)


@pytest.mark.parametrize("order", [1, -1])
def test_variables_of_a_section_and_of_its_setting_join_in_any_order(order):
    environment = [("ALERTFLIGHT_SERVER", "{host: here}"), ("ALERTFLIGHT_SERVER__PORT", "5")][::order]
    server = load_settings(environment=dict(environment)).server
    assert (server.host, server.port) == ("here", 5)


@pytest.mark.parametrize(
    ("data", "home", "folder"), [("/d", "/x", "/d"), (None, "/x", "/x/alertflight"), (None, "", "~/.local/share/alertflight")]
)
def test_the_folder_is_the_users_unless_it_is_given(monkeypatch, data, home, folder):
    monkeypatch.setenv("XDG_DATA_HOME", home)
    assert load_settings(environment={}, data=data).folder == Path(folder).expanduser()
