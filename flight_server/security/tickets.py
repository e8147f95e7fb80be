"""Issue and check tickets, signed and plain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import Forbidden, NotSupported, TooLarge
from flight_server.protocol.query import Query
from flight_server.protocol.ticket_json import decode_query, parse_exchange, parse_query
from flight_server.security.signatures import RESUME, Signer, load_ticket
from flight_server.security.signing_keys import load_keys
from flight_server.settings import Tickets

__all__ = ["Issued", "TicketOffice"]

ENVELOPE_BYTES = 1024  # the most that a signature adds to a ticket


@dataclass(frozen=True, slots=True)
class Issued:
    """A ticket that the server issued, and when it expires, seconds since 1970; None if never."""

    ticket: bytes
    expires: int | None


class TicketOffice:
    """Issuer of the tickets of plans, and reader of all tickets that come in, signed and plain.

    Parameters
    ----------
    settings
        Limits, and the file with the keys.

    Raises
    ------
    BadValue
        The keys cannot be read.
    """

    def __init__(self, settings: Tickets) -> None:
        self._settings = settings
        file = settings.signing_key_file
        self._signer = Signer({} if file is None else load_keys(Path(file)), settings.lifetime)

    def issue(self, query: Query, caller: Caller, now: float) -> Issued:
        """Return a ticket for a query, signed for the caller if there are keys."""
        if not self._signer.keys:
            return Issued(query.to_json(), None)
        return Issued(self._signer.sign(query, caller.name, now), int(now) + self._settings.lifetime)

    def read(self, ticket: bytes, caller: Caller, now: float, *, planned: bool = True) -> Query:
        """Read a ticket of either kind.

        Parameters
        ----------
        ticket
            UTF-8 JSON, one object.
        caller
            The sender.
        now
            The time, seconds since 1970.
        planned
            Whether to refuse an unsigned ticket if the setting `signed_only` is on, since rows are read for it.

        Raises
        ------
        AlertflightError
            See `parse_ticket` and `Signer.take`.
        """
        most = self._settings.max_bytes
        if len(ticket) > most + ENVELOPE_BYTES:
            raise _too_large(ticket, most)
        query = decode_query(ticket) if len(ticket) <= most else None
        if query is None:
            given = load_ticket(ticket)
            if "sig" in given:
                return self._signer.take(given, caller, now)
            if len(ticket) > most:
                raise _too_large(ticket, most)
            query = parse_query(given)
        if planned and self._settings.signed_only:
            raise Forbidden("this server accepts only signed tickets: get one from get_flight_info", field="sig")
        return query

    def read_exchange(self, command: bytes, caller: Caller, now: float, *, planned: bool = True) -> Query:
        """Read the command of a `do_exchange`, signed or plain; see `read`."""
        most = self._settings.max_bytes
        if len(command) > most + ENVELOPE_BYTES:
            raise _too_large(command, most, "command")
        given = load_ticket(command)
        if "sig" in given:
            if RESUME in given:
                raise NotSupported(f"a do_exchange command has no {RESUME}", field=RESUME)
            return self._signer.take(given, caller, now, parse_exchange)
        if len(command) > most:
            raise _too_large(command, most, "command")
        query = parse_exchange(given)
        if planned and self._settings.signed_only:
            message = "this server accepts only signed commands of do_exchange: get one from the action exchange-ticket"
            raise Forbidden(message, field="sig")
        return query


def _too_large(ticket: bytes, most: int, what: str = "ticket") -> TooLarge:
    message = f"the {what} has {len(ticket)} bytes, at most {most} are accepted: split the list of IDs"
    return TooLarge(message, field="ticket", value=len(ticket))
