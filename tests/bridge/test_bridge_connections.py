"""Failed connections to the gateway leave no open socket, which would raise a ResourceWarning."""

from __future__ import annotations

import gc
import socket

import pytest
from py4j.java_gateway import GatewayParameters
from py4j.protocol import Py4JNetworkError

from hbase_bridge.process import _JavaGateway


def refused(port: int) -> None:
    parameters = GatewayParameters(port=port, auth_token="token", read_timeout=0.1)
    with pytest.raises(Py4JNetworkError) as caught:
        _JavaGateway(gateway_parameters=parameters).entry_point.call(1, "{}")
    caught.value.cause = caught.value  # a cycle, as errors that pass through several threads may be in
    del caught
    gc.collect()


def test_a_connection_to_a_closed_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    refused(port)


def test_a_connection_that_gets_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        refused(server.getsockname()[1])
