"""Which relay addresses of a friend are dialed."""

import pytest

from offset_engine.core.codec import decode_friend_message, encode_friend_message
from offset_engine.core.dial_filter import dial_filter
from offset_engine.core.messages import MoveToken, MoveTokenMessage
from offset_engine.core.values import HashResult, PublicKey, RandValue, RelayAddress, Signature
from offset_engine.errors import DecodeError
from tests.covers import covers

PUBLIC = ("relay.example.org:9000", "8.8.8.8:1", "[2a00:1450::1]:80", "localhost.example.org:5")
GUARDED = (
    "127.0.0.1:9000",
    "localhost:9000",
    "a.localhost:9000",
    "[::1]:9000",
    "[::ffff:127.0.0.1]:9000",
    "[::ffff:10.0.0.5]:9000",
    "10.0.0.5:9000",
    "172.16.3.4:9000",
    "192.168.1.7:9000",
    "100.64.0.9:9000",
    "169.254.1.1:9000",
    "0.0.0.0:9000",
    "224.0.0.1:9000",
    "240.0.0.1:9000",
    "[::]:9000",
    "[fe80::1]:9000",
    "[fd00::1]:9000",
    "[ff02::1]:9000",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_and_names_are_dialed(address: str) -> None:
    assert dial_filter((), ())(address)


@pytest.mark.parametrize("address", GUARDED)
def test_anything_not_public_is_dialed_only_if_imported_as_it_is(address: str) -> None:
    assert not dial_filter((), ("relay.example.org:1", "8.8.8.8:1"))(address)
    assert dial_filter((address,), ())(address)
    assert not dial_filter((address.replace("9000", "9001"),), ())(address)


@pytest.mark.parametrize(
    ("local", "friendly", "foreign"),
    [
        ("127.0.0.1:9", "127.0.0.2:1", "10.0.0.1:1"),
        ("localhost:9", "[::1]:1", "192.168.1.1:1"),
        ("192.168.1.2:9", "192.168.1.77:1", "192.168.2.77:1"),
        ("10.1.2.3:9", "10.1.2.9:1", "10.1.3.9:1"),
        ("[fd00:1::2]:9", "[fd00:1::9]:1", "[fd00:2::9]:1"),
    ],
)
def test_an_own_address_opens_its_network_and_no_other(
    local: str, friendly: str, foreign: str
) -> None:
    may_dial = dial_filter((), (local,))
    assert may_dial(friendly)
    assert not may_dial(foreign)


@pytest.mark.parametrize("odd", ["169.254.1.1:9", "0.0.0.0:9", "224.0.0.1:9", "[fe80::1]:9"])
def test_special_addresses_open_no_network(odd: str) -> None:
    assert not dial_filter((), (odd,))(odd)


def told(address: str) -> bytes:
    """A friend's message that names one relay."""
    token = MoveToken(
        old_token=Signature(bytes(64)),
        currencies_operations=(),
        local_relays=(RelayAddress(PublicKey(bytes(32)), address),),
        active_currencies=None,
        info_hash=HashResult(bytes(32)),
        rand_nonce=RandValue(bytes(16)),
        new_token=Signature(bytes(64)),
    )
    return encode_friend_message(MoveTokenMessage(token, token_wanted=False))


@covers("NT42")
@pytest.mark.parametrize("address", ["host:99999", "host", "host:0", "a" * 295 + ":9000", "[x]:1"])
def test_an_address_without_the_form_of_one_makes_the_message_unreadable(address: str) -> None:
    with pytest.raises(DecodeError):
        decode_friend_message(told(address))


@covers("NT42")
@pytest.mark.parametrize("address", ["127.0.0.1:9000", "10.0.0.5:9000", "[::1]:9000"])
def test_a_private_address_is_read_and_kept_but_not_dialed(address: str) -> None:
    message = decode_friend_message(told(address))
    assert isinstance(message, MoveTokenMessage)
    relays = message.move_token.local_relays
    assert relays is not None
    assert relays[0].address == address
    assert not dial_filter((), ())(relays[0].address)
