"""The address other people dial: what may be one, what is odd about it, and where to listen for it."""

import argparse
import ipaddress
from collections.abc import Sequence
from typing import Final

import anyio

from offset_engine.core.values import parse_address
from offset_engine.net.transport import resolve

_RESOLVE_S: Final = 3
"""How long a name server may take before nothing is said about the name."""


def public_address(text: str) -> str:
    """Check a `host:port` others dial and give its canonical form. For `add_argument(type=...)`.

    Raises:
        argparse.ArgumentTypeError: with a sentence saying what is wrong.
    """
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:80]!a}: {error}") from None


def listening_for(address: str) -> str:
    """Where a server listens whose canonical address is this: its port, everywhere on this machine."""
    host, _, port = address.rpartition(":")
    return f"[::]:{port}" if host.startswith("[") else f"0.0.0.0:{port}"


def warning_of(address: str) -> str | None:
    """Why others cannot dial a canonical address, or not all of them; None if nothing is odd.

    Names are not looked up; see `looked_up_warning_of`.
    """
    host = address.rpartition(":")[0]
    if host == "localhost" or host.endswith(".localhost"):
        return _sentence(host, "127.0.0.1")
    return _sentence(host, host.strip("[]")) if _is_ip(host) else None


def is_this_machine(address: str) -> bool:
    """Whether only programs on this machine can dial a canonical address; names are not looked up."""
    host = address.rpartition(":")[0]
    if _is_ip(host):
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    return host == "localhost" or host.endswith(".localhost")


async def looked_up_warning_of(address: str) -> str | None:
    """Like `warning_of`, but a name is looked up, once and for at most a few seconds."""
    host, _, port = address.rpartition(":")
    if _is_ip(host):
        return warning_of(address)
    with anyio.move_on_after(_RESOLVE_S):
        try:
            found = await resolve(host, int(port))
        except OSError as error:
            why = f" ({error.strerror})" if error.strerror else ""
            return f"no address is known for {host}{why}; nobody can use a name that does not exist"
        return _warning_of_name(host, found)
    return f"the name server does not say in time what {host} is; check the name"


def _warning_of_name(host: str, found: Sequence[str]) -> str | None:
    """What is odd about a name that means these IP addresses; one that all can dial is enough."""
    sentences = [_sentence(f"{host} ({ip})", ip) for ip in found]
    return None if None in sentences or not sentences else sentences[0]


def _is_ip(host: str) -> bool:
    return host.startswith("[") or host.rpartition(".")[2].isdigit()


def _sentence(shown: str, text: str) -> str | None:
    ip = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_unspecified:
        return f"{shown} means every address of this machine; nobody else can dial it"
    if ip.is_loopback:
        return f"{shown} is this machine itself; only programs on it can dial it"
    if ip.is_multicast or ip.is_reserved:
        return f"{shown} is no address of a machine; nobody can dial it"
    if not ip.is_global:
        return f"{shown} is a private address; only others on the same network can dial it"
    return None
