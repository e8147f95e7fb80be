"""The command `serve`. It imports little: what serves is loaded in the process that its supervisor starts."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from flight_server.cli.options import store_options
from flight_server.service.supervisor import Start, supervise

__all__ = ["serve"]


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 chooses a free one.  [default: 8815]")
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="Wait so long for an HBase that is down, instead of failing.",
)
@store_options
def serve(host: str | None, port: int | None, wait: float, data: str | None, config: Path | None) -> None:
    """Serve the archive until interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")

    def run(start: Start) -> None:
        from flight_server.cli.server import run_server

        run_server(start, host=host, port=port, data=data, config=config, wait=wait)

    supervise(run)
