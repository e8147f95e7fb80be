"""One Spark session for all tests, and the address of the server that they read from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from spark_sessions import Session, spark_session

from flight_server.flight import FlightServer

collect_ignore = ["driver.py"]  # runs in another environment


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.spark)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with spark_session(tmp_path_factory.mktemp("spark")) as session:
        yield session


@pytest.fixture
def url(server: FlightServer) -> str:
    return f"grpc://127.0.0.1:{server.port}"
