"""Volume for tests and benchmarks: real alerts, replicated under new names, places, times and brightnesses."""

from flight_server.simulate.run import simulate

__all__ = ["simulate"]
