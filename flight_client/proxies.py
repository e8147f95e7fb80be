"""HTTP proxies that the environment names. gRPC uses them for every connection, also to servers that they cannot reach.

gRPC reads the first of `PROXIES` that is set, in lower case only, and passes it by for the hosts in `no_grpc_proxy` or
`no_proxy` (doc/environment_variables.md of gRPC). The client also passes it by for this machine, and for what other programs
take as an exception: `NO_PROXY`, `*`, ports and networks.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

__all__ = ["is_direct", "proxy_hint"]

PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
EXCEPTIONS = ("no_grpc_proxy", "no_proxy", "NO_GRPC_PROXY", "NO_PROXY")
UNUSED = ("GRPC_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
SCHEME = "http://"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_direct(url: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a server is to be reached without a proxy.

    >>> is_direct("grpc://127.0.0.1:8815", {}), is_direct("grpc://archive.example:8815", {"NO_PROXY": ".example"})
    (True, True)
    """
    host = _host(url)
    return not host or _is_loopback(host) or any(_matches(host, exception) for exception in _exceptions(environment))


def proxy_hint(url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return what an error of a connection should say about the proxies in the environment, or None."""
    if is_direct(url, environment):
        return None
    host = _host(url)
    used = next((name for name in PROXIES if environment.get(name)), None)
    if used is None:
        unused = ", ".join(name for name in UNUSED if environment.get(name))
        return f"gRPC does not use the proxy in {unused}: set grpc_proxy if it is needed" if unused else None
    if not environment[used].lower().startswith(SCHEME):
        return f"gRPC cannot use the proxy in {used}: it must begin with {SCHEME}, or {host} be in no_proxy"
    return f"the connection went through the proxy in {used}: to connect without it, add {host} to no_proxy"


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _exceptions(environment: Mapping[str, str]) -> Iterator[str]:
    for name in EXCEPTIONS:
        yield from filter(None, re.split(r"[\s,]+", environment.get(name, "").lower()))


def _matches(host: str, exception: str) -> bool:
    """Return whether a host is an exception: `*`, its end (as in gRPC, wherever it begins), or its network."""
    address = _address(host)
    if address is not None and "/" in exception:
        with suppress(ValueError):
            return address in ipaddress.ip_network(exception, strict=False)
    if _address(exception) is None:
        exception = re.sub(r":\d+$", "", exception)
    exception = exception.strip("[]").removeprefix("*")
    return not exception or host.endswith(exception) or host == exception.removeprefix(".")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return address is not None and ((mapped or address).is_loopback or address.is_unspecified)


def _address(host: str) -> Address | None:
    with suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]"))
    with suppress(OSError, UnicodeError):  # other spellings, such as 127.1
        return ipaddress.IPv4Address(socket.inet_aton(host)) if host[:1].isdigit() else None
    return None
