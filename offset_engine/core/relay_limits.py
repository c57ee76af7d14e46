"""What a relay gives to whom: its limits, the rate of dialling, and the words of each refusal.

Numbers are local choices of an operator. Refusals are counted by their true reason for the
operator; the other end is told only what the table here says.
Source: PROTOCOL.md, "Relays"; design R40.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from offset_engine.core.link import CloseCode
from offset_engine.core.values import value

_MINUTE_MS: Final = 60_000


@value
class RelayLimits:
    """What one relay gives to whom; local choices, of which listeners are told two (LISTENING)."""

    connections_max: int = 32_768
    """All together; keep it below the number of file descriptors."""
    connections_per_source_max: int = 64
    """Per IPv4 address or IPv6 /64; loopback is exempt from limits per source (design R40)."""
    connections_per_key_max: int = 256
    listeners_max: int = 10_000
    half_tunnels_per_listener_max: int = 16
    unanswered_per_listener_max: int = 32
    """Announcements a listener has not answered, those of dialers who left included."""
    dials_per_key_max: int = 4
    """Half tunnels and held dialers of one key."""
    tunnels_per_listener_max: int = 64
    """Half tunnels included."""
    connects_per_minute_key: int = 20
    """Rate and burst; 0 is unlimited, more than 60 000 too."""
    connects_per_minute_source: int = 20
    dialers_remembered_max: int = 65_536
    """Keys, and as many sources, whose recent CONNECTs are remembered for the rate."""
    first_message_ms: int = 5_000
    probe_ms: int = 3_000
    hold_ms: int = 3_000
    """How long after its CONNECT a dialer learns that nobody takes it."""
    half_tunnel_ms: int = 15_000
    idle_hint_s: int = 35
    """Told to listeners: silence after which this relay takes a connection for dead."""
    tunnel_buffer_bytes: int = 65_536
    """For the driver: per direction."""
    tunnel_stuck_ms: int = 30_000
    """For the driver: a tunnel end that takes no byte for so long ends the tunnel."""
    tunnel_bytes_per_second: int = 0
    """For the driver: 0 is unlimited."""
    tunnel_burst_bytes: int = 1_048_576


class Refusal(StrEnum):
    """Why a connection was closed, for the operator; the other end is told less."""

    NOT_ALLOWED = "not_allowed"
    SHUTDOWN = "shutdown"
    CONNECTIONS = "connections"
    SOURCE_CONNECTIONS = "source_connections"
    KEY_CONNECTIONS = "key_connections"
    SILENT = "silent"
    PROTOCOL = "protocol"
    LISTENERS = "listeners"
    DUPLICATE = "duplicate"
    REPLACED = "replaced"
    CONNECT_RATE = "connect_rate"
    DIALS = "dials"
    LISTENER_FULL = "listener_full"
    ABSENT = "absent"
    REJECTED = "rejected"
    UNANSWERED = "unanswered"
    TUNNEL_UNKNOWN = "tunnel_unknown"


_OVERLOADED: Final = (CloseCode.OVERLOADED, "the relay is at a limit, try later")
# One answer for all of these, word by word: it must not tell whether somebody is online.
_UNAVAILABLE: Final = (CloseCode.UNAVAILABLE, "not available")
ANSWERS: Final[Mapping[Refusal, tuple[CloseCode, str]]] = {
    Refusal.NOT_ALLOWED: (CloseCode.NOT_AUTHORIZED, "this relay does not serve this key"),
    Refusal.SHUTDOWN: (CloseCode.SHUTDOWN, "the relay is stopping"),
    Refusal.CONNECTIONS: _OVERLOADED,
    Refusal.SOURCE_CONNECTIONS: _OVERLOADED,
    Refusal.KEY_CONNECTIONS: _OVERLOADED,
    Refusal.SILENT: (CloseCode.TIMEOUT, "no first message"),
    Refusal.PROTOCOL: (CloseCode.PROTOCOL, "unexpected message"),
    Refusal.LISTENERS: _OVERLOADED,
    Refusal.DUPLICATE: (CloseCode.DUPLICATE, "another connection listens for this key"),
    Refusal.REPLACED: (CloseCode.REPLACED, "a newer connection took over"),
    Refusal.CONNECT_RATE: _OVERLOADED,
    Refusal.DIALS: _OVERLOADED,
    Refusal.LISTENER_FULL: _OVERLOADED,
    Refusal.ABSENT: _UNAVAILABLE,
    Refusal.REJECTED: _UNAVAILABLE,
    Refusal.UNANSWERED: _UNAVAILABLE,
    Refusal.TUNNEL_UNKNOWN: _UNAVAILABLE,
}


class DialRate:
    """Token buckets, each kept as the one moment at which it will be full again."""

    def __init__(self, per_minute: int, keys_max: int) -> None:
        """Let every key do so much per minute and at once; 0 for no limit. Remember `keys_max`."""
        self._interval_ms = _MINUTE_MS // per_minute if per_minute else 0
        self._burst_ms = self._interval_ms * per_minute
        self._keys_max = max(keys_max, 1)
        self._full_at: OrderedDict[bytes | str, int] = OrderedDict()  # by last use, oldest first

    def take(self, key: bytes | str, now_ms: int) -> bool:
        """Take one token of `key` if there is one; the empty key is not limited."""
        if not self._interval_ms or not key:
            return True
        full_at = max(self._full_at.pop(key, now_ms), now_ms)
        has_token = full_at + self._interval_ms - now_ms <= self._burst_ms
        self._full_at[key] = full_at + self._interval_ms if has_token else full_at
        for _ in range(2):  # two out for one in: a full bucket needs no memory
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now_ms and len(self._full_at) <= self._keys_max:
                break
            del self._full_at[oldest]
        return has_token


def network_of(source: str) -> str:
    """What limits per source count: an IPv4 address, an IPv6 /64, or "" for no limit."""
    try:
        ip = ipaddress.ip_address(source)
    except ValueError:
        return source
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None:
            return "" if ip.is_loopback else f"{int(ip) >> 64:x}/64"
        ip = ip.ipv4_mapped
    return "" if ip.is_loopback else str(ip)
