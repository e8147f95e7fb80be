"""The settings of the store hbase."""

import pytest
from alert_data import ROOT

from flight_server.protocol.errors import BadValue
from flight_server.settings import load_settings


def loaded(tmp_path, text="", **environment):
    file = tmp_path / "settings.yml"
    file.write_text(text)
    return load_settings(file, {f"ALERTFLIGHT_{name}": value for name, value in environment.items()})


def test_the_defaults_are_those_of_a_cluster_on_this_machine(tmp_path):
    settings = loaded(tmp_path, "store: hbase")
    assert settings.hbase.zookeeper == "127.0.0.1:2181"
    assert (settings.hbase.prefix, settings.hbase.schema, settings.hbase.scan_threads) == ("", "newest", 4)
    assert settings.hbase.properties == {}
    assert (settings.gateway.heap, settings.gateway.arrow_bytes, settings.gateway.call_timeout) == ("512m", 2**28, 30)
    assert settings.gateway.jar is None
    assert settings.hdfs.url == "hdfs://127.0.0.1:8020"
    assert (settings.hdfs.roots, settings.hdfs.rewrite, settings.hdfs.archive) == (("/",), {}, "/archive")
    assert settings.place == "HBase at 127.0.0.1:2181"


def test_the_packaged_example_is_read():
    assert load_settings(ROOT / "config" / "cluster.yml", {}).store == "hbase"


def test_mappings_of_the_users_own_words(tmp_path):
    text = """
store: hbase
hbase: {properties: {hbase.rpc.timeout: '5000'}, prefix: fink.}
hdfs: {rewrite: {"hdfs://old:8020": "hdfs://new:8020"}, roots: [/a, /b]}
"""
    settings = loaded(tmp_path, text)
    assert settings.hbase.properties == {"hbase.rpc.timeout": "5000"}
    assert settings.hbase.prefix == "fink."
    assert settings.hdfs.rewrite == {"hdfs://old:8020": "hdfs://new:8020"}
    assert settings.hdfs.roots == ("/a", "/b")


def test_the_environment_stands_over_the_file(tmp_path):
    settings = loaded(
        tmp_path,
        "hbase: {zookeeper: 'a:1', scan_threads: 2}\ngateway: {call_timeout: 1}",
        STORE="hbase",
        HBASE__ZOOKEEPER="b:2",
        HBASE__PREFIX="2024",
        HBASE__SCHEMA="schema_4.0_6.1.1",
        GATEWAY__CALL_TIMEOUT="2.5",
        GATEWAY__JAR="/x/y.jar",
        HDFS__ROOTS="[/c]",
        HDFS__REWRITE='{"hdfs://a": "/b"}',
    )
    assert settings.store == "hbase"
    assert (settings.hbase.zookeeper, settings.hbase.prefix, settings.hbase.scan_threads) == ("b:2", "2024", 2)
    assert settings.hbase.schema == "schema_4.0_6.1.1"
    assert (settings.gateway.call_timeout, settings.gateway.jar) == (2.5, "/x/y.jar")
    assert (settings.hdfs.roots, settings.hdfs.rewrite) == (("/c",), {"hdfs://a": "/b"})


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("store: cassandra", "store"),
        ("hbase: {zookeper: 'a:1'}", "zookeper"),
        ("hbase: {scan_threads: four}", "hbase.scan_threads"),
        ("hbase: {scan_threads: -1}", "hbase.scan_threads"),
        ("hbase: {prefix: 7}", "hbase.prefix"),
        ("hbase: {properties: {hbase.rpc.timeout: 5000}}", "hbase.properties"),
        ("hbase: {properties: [a]}", "hbase.properties"),
        ("gateway: {call_timeout: -1}", "gateway.call_timeout"),
        ("gateway: {call_timeout: true}", "gateway.call_timeout"),
        ("gateway: {arrow_bytes: 1.5}", "gateway.arrow_bytes"),
        ("gateway: 7", "gateway"),
        ("hdfs: {roots: /}", "hdfs.roots"),
        ("hdfs: {roots: [1]}", "hdfs.roots"),
        ("hdfs: {rewrite: {a: 1}}", "hdfs.rewrite"),
        ("hdfs: {url: null}", "hdfs.url"),
    ],
)
def test_what_is_no_setting_is_named(tmp_path, text, field):
    with pytest.raises(BadValue) as caught:
        loaded(tmp_path, text)
    assert caught.value.field == field
    assert field.rpartition(".")[2] in caught.value.message
