"""The depth of a test run: number of random examples, and amount of data in sweeps."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

EXAMPLES = {"default": 25, "all": 100, "long": 1000}
# no deadline and no check of speed: a busy machine is not a bug
UNCHECKED = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
for name, count in EXAMPLES.items():
    settings.register_profile(name, max_examples=count, deadline=None, database=None, suppress_health_check=UNCHECKED)
settings.load_profile("default")


def load_depth(name: str) -> None:
    """Set the depth of this run, one of `EXAMPLES`, before tests are imported."""
    settings.load_profile(name)


def more_examples(factor: float) -> settings:
    """Return settings for a Hypothesis test with more or fewer random examples than others."""
    return settings(max_examples=max(1, round(settings.default.max_examples * factor)))


def is_thorough() -> bool:
    """Return whether sweeps use all available data."""
    return settings.get_current_profile_name() != "default"
