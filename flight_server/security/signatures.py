"""Signed tickets: queries that a server of this archive has planned for a caller, valid for a limited time.

A signed ticket is `{"query": {...}, "kid": ..., "sub": ..., "exp": ..., "sig": ...}`. The signature covers the first
four fields, so that every server with the key can verify the ticket by itself.

PyJWT does not fit: a JWT is three base64 parts whose signature covers their bytes. A signed ticket is a readable JSON object
whose signature covers the meaning of its query, however a client's JSON library writes it again. All that PyJWT would be
left with is one HMAC-SHA256, which the standard library has.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NotRequired, TypedDict

import msgspec

from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import BadValue, Forbidden, InvalidTicket, UnknownField
from flight_server.protocol.json_text import decode_once, load_object
from flight_server.protocol.query import Query
from flight_server.protocol.ticket_fields import Text, TicketFields
from flight_server.protocol.ticket_json import parse_query

__all__ = ["RESUME", "Signer", "load_ticket"]

RESUME = "resume_after"
FIELDS = {
    "query": (dict, "an object"),
    "kid": (str, "a string"),
    "sub": (str, "a string"),
    "exp": (int, "an integer"),
    "sig": (str, "a string"),
}


class Envelope(TypedDict):
    """A signed ticket; `resume_after` is not covered by the signature."""

    query: TicketFields
    kid: str
    sub: str
    exp: int
    sig: str
    resume_after: NotRequired[Text]


_DECODER = msgspec.json.Decoder(Envelope)


def load_ticket(ticket: bytes) -> Mapping[str, Any]:
    """Decode a ticket: with the fast decoder if it has the form of a signed one, else with the strict one.

    Raises
    ------
    InvalidTicket
        See `load_object`.
    """
    return decode_once(ticket, _DECODER) or load_object(ticket)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs queries, and verifies tickets signed with its keys.

    Parameters
    ----------
    keys
        The secrets by their IDs. The first one signs; all verify.
    lifetime
        The validity of a signed ticket, seconds.
    """

    keys: Mapping[str, bytes]
    lifetime: int

    def sign(self, query: Query, subject: str, now: float) -> bytes:
        """Return the signed ticket.

        Parameters
        ----------
        query
            The query of the ticket.
        subject
            The name of the caller.
        now
            The time, seconds since 1970.
        """
        kid = next(iter(self.keys), None)
        if kid is None:
            raise BadValue("there is no key to sign tickets with", field="kid")
        covered = {"query": query.to_dict(), "kid": kid, "sub": subject, "exp": int(now) + self.lifetime}
        return _json(covered | {"sig": _signature(self.keys[kid], covered)})

    def read(self, ticket: bytes, caller: Caller, now: float) -> Query:
        """Verify a signed ticket and return its query; see `take`."""
        return self.take(load_ticket(ticket), caller, now)

    def take(
        self,
        given: Mapping[str, Any],
        caller: Caller,
        now: float,
        parse: Callable[[Mapping[str, Any]], Query] = parse_query,
    ) -> Query:
        """Verify a signed ticket whose JSON is decoded, and return its query, read by `parse`.

        Beside the signed fields it may have `resume_after`: a resumed query needs no new signature, since a cursor
        belongs to one query.

        Raises
        ------
        UnknownField, InvalidTicket
            It is not a signed ticket, or its query is not valid; names the field.
        Forbidden
            It was not signed with a key of this server, was changed, has expired, or is another caller's.
        """
        _check_form(given)
        secret = self.keys.get(given["kid"])
        if secret is None:
            raise Forbidden("the ticket is signed with a key that this server does not have", field="kid", value=given["kid"])
        # the signature covers the query in its shortest form, so a client's JSON library may rewrite its numbers
        query = parse(given["query"])
        covered = {"query": query.to_dict(), "kid": given["kid"], "sub": given["sub"], "exp": given["exp"]}
        if not hmac.compare_digest(_signature(secret, covered).encode(), given["sig"].encode()):
            raise Forbidden("the signature is wrong: the ticket was changed after it was signed", field="sig")
        if given["sub"] != caller.name:
            raise Forbidden(f"the ticket was made for another caller, not for {caller.name!r:.60}", field="sub")
        if now >= given["exp"]:
            raise Forbidden("the ticket has expired: get a new one from get_flight_info", field="exp", value=given["exp"])
        return replace(query, resume_after=given[RESUME]) if RESUME in given else query


def _check_form(given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in FIELDS and name != RESUME:
            raise UnknownField(f"a signed ticket has no field {name!r:.80}; it has {', '.join(FIELDS)}, {RESUME}", field=name)
    for name, (kind, wanted) in FIELDS.items():
        if name not in given:
            raise InvalidTicket(f"the signed ticket lacks {name}", field=name)
        if not isinstance(given[name], kind) or isinstance(given[name], bool):
            raise InvalidTicket(f"{name} must be {wanted} in a signed ticket", field=name)
    after = given.get(RESUME, "cursor")
    if not isinstance(after, str) or not after:
        raise BadValue(f"{RESUME} must be a string", field=RESUME)


def _json(value: Mapping[str, Any], *, in_order: bool = False) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=in_order).encode()


def _signature(secret: bytes, covered: Mapping[str, Any]) -> str:
    made = hmac.new(secret, _json(covered, in_order=True), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")
