"""The Alertflight server: astronomical alerts as Arrow, over Arrow Flight."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("alertflight")
