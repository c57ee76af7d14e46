"""Which relay addresses named by a friend this node is willing to dial.

A friend tells us its relays inside a move token. Without a filter it could make our node knock at
machines in our own house. So an address that is not plainly public is dialed only if

* a person imported exactly that address (file, paste, invite, ticket), or
* it lies in a network where one of our own relays, index servers or listen addresses is: loopback as a
  whole, a private IPv4 network of 256 addresses, a private IPv6 network of prefix 64.

Link-local, multicast, unspecified and reserved addresses need the import. Names are judged by what they
say, not by what they resolve to; `localhost` and names below it are loopback. A refused address is kept
and shown, just not dialed, and never an error (design R41).
"""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

_Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_SHARED: Final = ipaddress.IPv4Network("100.64.0.0/10")
_LOOPBACK: Final = "loopback"


def dial_filter(imported: Iterable[str], local: Iterable[str]) -> Callable[[str], bool]:
    """Build the predicate that says whether an address of a friend may be dialed.

    Args:
        imported: canonical addresses a person brought in; these are always allowed.
        local: canonical addresses of own relays, index servers and listening sockets.
    """
    known = frozenset(imported)
    near = frozenset(network for network in map(_near_network, local) if network is not None)

    def may_dial(address: str) -> bool:
        if address in known:
            return True
        ip = _ip_of(address)
        if ip is not None and ip.is_global and not ip.is_multicast:
            return True
        if ip is None and not _is_local_name(address):
            return True
        network = _near_network(address)
        return network is not None and network in near

    return may_dial


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _is_local_name(address: str) -> bool:
    host = _host(address)
    return host == "localhost" or host.endswith(".localhost")


def _ip_of(address: str) -> _Ip | None:
    try:
        ip = ipaddress.ip_address(_host(address).strip("[]"))
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


def _near_network(address: str) -> str | None:
    """A name for the local network an address is in, or None if it is in none we would enter."""
    if _is_local_name(address):
        return _LOOPBACK
    ip = _ip_of(address)
    if ip is None or ip.is_global or ip.is_multicast:
        return None
    if ip.is_loopback:
        return _LOOPBACK
    if ip.is_link_local or ip.is_unspecified or ip.is_reserved:
        return None
    if isinstance(ip, ipaddress.IPv4Address):
        is_house = ip.is_private or ip in _SHARED
        return str(ipaddress.ip_network(f"{ip}/24", strict=False)) if is_house else None
    return str(ipaddress.ip_network(f"{ip}/64", strict=False)) if ip.is_private else None
