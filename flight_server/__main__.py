"""`python -m flight_server` is the command `alertflight`."""

from flight_server.cli.app import main

main()
