"""Simulation for tests and benchmarks: real alerts, replicated with new names, positions, times and brightnesses."""

from flight_server.simulate.run import simulate

__all__ = ["simulate"]
