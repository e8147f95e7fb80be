"""Flight descriptors: a command, which is a ticket as JSON, or the path of a table."""

from __future__ import annotations

import pyarrow.flight as fl

from flight_server.protocol.errors import BadValue, InvalidTicket

__all__ = ["check_command", "is_path", "table_name"]


def is_path(descriptor: fl.FlightDescriptor) -> bool:
    """Return whether a descriptor is a path."""
    return bool(descriptor.descriptor_type == fl.DescriptorType.PATH)


def check_command(descriptor: fl.FlightDescriptor) -> None:
    """Raise `InvalidTicket` if a descriptor is not a command."""
    if descriptor.descriptor_type != fl.DescriptorType.CMD:
        raise InvalidTicket("a descriptor is a command (a ticket) or a path of one table", field="descriptor")


def table_name(descriptor: fl.FlightDescriptor) -> str:
    """Return the name of the table in a path.

    Raises
    ------
    BadValue
        The path has not exactly one element, or is not UTF-8 text.
    """
    if len(descriptor.path) != 1:
        raise BadValue("a path has one element, the name of the table", field="path", value=len(descriptor.path))
    try:
        return str(descriptor.path[0].decode())
    except UnicodeDecodeError:
        raise BadValue("the path is not UTF-8 text", field="path") from None
