"""What a user decides: relays, index servers, friends, limits, rates, currencies, resets.

Source: PROTOCOL.md, "Commands"; payments.md §6.1; design R31.
"""

from typing import TypeVar

from offset_engine.core import answers, resets, transit
from offset_engine.core.api import (
    AddFriend,
    AddIndexServer,
    AddRelay,
    CommandFault,
    RemoveFriend,
    RemoveFriendCurrency,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendName,
    SetFriendRelays,
)
from offset_engine.core.crypto import is_valid_identity
from offset_engine.core.draft import Draft
from offset_engine.core.friend import CurrencyConfig, Friend
from offset_engine.core.signing import terms_hash
from offset_engine.core.token_channel import (
    Inconsistent,
    are_terms_acceptable,
    new_channel,
)
from offset_engine.core.values import (
    ACTIVE_CURRENCIES_MAX,
    CREDITS_MAX,
    FRIENDS_MAX,
    INDEX_SERVERS_MAX,
    NAME_BYTES_MAX,
    RELAYS_MAX,
    Currency,
    NamedAddress,
    PublicKey,
    Rate,
    RelayAddress,
    is_text,
    parse_address,
)

# --- servers ------------------------------------------------------------------------------------


def add_relay(draft: Draft, command: AddRelay) -> CommandFault | None:
    """Listen at a relay."""
    changed = _with_server(draft.state.relays, command.relay, RELAYS_MAX)
    if isinstance(changed, CommandFault):
        return changed
    draft.state.relays = changed
    draft.mark_settings()
    return None


def remove_relay(draft: Draft, key: PublicKey) -> CommandFault | None:
    """Stop listening at a relay."""
    draft.state.relays = tuple(one for one in draft.state.relays if one.public_key != key)
    draft.mark_settings()
    return None


def add_index_server(draft: Draft, command: AddIndexServer) -> CommandFault | None:
    """Use an index server."""
    changed = _with_server(draft.state.index_servers, command.server, INDEX_SERVERS_MAX)
    if isinstance(changed, CommandFault):
        return changed
    draft.state.index_servers = changed
    draft.mark_settings()
    return None


def remove_index_server(draft: Draft, key: PublicKey) -> CommandFault | None:
    """Stop using an index server."""
    servers = draft.state.index_servers
    draft.state.index_servers = tuple(one for one in servers if one.public_key != key)
    draft.mark_settings()
    return None


def _with_server(
    servers: tuple[NamedAddress, ...], server: NamedAddress, limit: int
) -> tuple[NamedAddress, ...] | CommandFault:
    if not _is_address(server.address) or not _is_name(server.name):
        return CommandFault.INVALID_ARGUMENT
    if not is_valid_identity(server.public_key):
        return CommandFault.INVALID_ARGUMENT
    if any(one.public_key == server.public_key for one in servers):
        return tuple(server if one.public_key == server.public_key else one for one in servers)
    if len(servers) >= limit:
        return CommandFault.LIMIT_REACHED
    return (*servers, server)


def _is_address(text: str) -> bool:
    try:
        return parse_address(text) == text
    except ValueError:
        return False


def _is_name(text: str) -> bool:
    return is_text(text, NAME_BYTES_MAX)


def _are_relays(relays: tuple[RelayAddress, ...]) -> bool:
    keys = {relay.public_key for relay in relays}
    return (
        len(relays) <= RELAYS_MAX
        and len(keys) == len(relays)
        and all(_is_address(relay.address) for relay in relays)
        and all(is_valid_identity(relay.public_key) for relay in relays)
    )


# --- friends ------------------------------------------------------------------------------------


def add_friend(draft: Draft, command: AddFriend) -> CommandFault | None:
    """Add a friend, disabled, with a fresh channel."""
    key, local = command.friend, draft.state.local_public_key
    if key in draft.state.friends:
        return CommandFault.FRIEND_EXISTS
    is_fine = (
        key != local
        and is_valid_identity(key)
        and _are_relays(command.relays)
        and _is_name(command.name)
    )
    if not is_fine:
        return CommandFault.INVALID_ARGUMENT
    if len(draft.state.friends) >= FRIENDS_MAX:
        return CommandFault.LIMIT_REACHED
    channel = new_channel(local, key)
    draft.put_friend(Friend(key, command.name, command.relays, channel, imported=command.relays))
    draft.mark_connections()
    return None


def remove_friend(draft: Draft, command: RemoveFriend) -> CommandFault | None:
    """Forget a friend; what passes over its channel ends as in an inconsistency."""
    known = draft.state.friends.get(command.friend)
    if known is None:
        return CommandFault.FRIEND_DOES_NOT_EXIST
    if not command.force and _is_exposed(known):
        return CommandFault.PENDING_EXPOSURE
    resets.end_transactions(draft, command.friend, {})
    draft.drop_friend(command.friend)
    draft.mark_connections()
    return None


def _is_exposed(friend: Friend) -> bool:
    channel = friend.consistent
    if channel is None:
        return True
    return any(not ledger.is_zero for ledger in channel.ledgers.values())


def enable_friend(draft: Draft, key: PublicKey) -> CommandFault | None:
    """Connect to a friend."""
    known = draft.state.friends.get(key)
    if known is None:
        return CommandFault.FRIEND_DOES_NOT_EXIST
    if not known.is_enabled:
        draft.friend(key).is_enabled = True
        draft.mark_connections()
    return None


def disable_friend(draft: Draft, key: PublicKey) -> CommandFault | None:
    """Disconnect from a friend; what waits for it is cancelled."""
    known = draft.state.friends.get(key)
    if known is None:
        return CommandFault.FRIEND_DOES_NOT_EXIST
    if known.is_enabled:
        draft.friend(key).is_enabled = False
        transit.go_offline(draft, key)
        draft.mark_connections()
    return None


def set_friend_relays(draft: Draft, command: SetFriendRelays) -> CommandFault | None:
    """Where to reach a friend."""
    known = draft.state.friends.get(command.friend)
    if known is None:
        return CommandFault.FRIEND_DOES_NOT_EXIST
    if not _are_relays(command.relays):
        return CommandFault.INVALID_ARGUMENT
    if (known.remote_relays, known.imported) != (command.relays, command.relays):
        friend = draft.friend(command.friend)
        friend.remote_relays = friend.imported = command.relays
        draft.mark_connections()
    return None


def set_friend_name(draft: Draft, command: SetFriendName) -> CommandFault | None:
    """Our label for a friend."""
    if command.friend not in draft.state.friends:
        return CommandFault.FRIEND_DOES_NOT_EXIST
    if not _is_name(command.name):
        return CommandFault.INVALID_ARGUMENT
    draft.friend(command.friend).name = command.name
    return None


# --- currencies ---------------------------------------------------------------------------------


def set_rate(draft: Draft, command: SetFriendCurrencyRate) -> CommandFault | None:
    """What we charge for requests that arrive from a friend."""
    if not command.rate.is_valid:
        return CommandFault.INVALID_ARGUMENT
    return _configure(draft, command.friend, command.currency, rate=command.rate)


def set_max_debt(draft: Draft, command: SetFriendCurrencyMaxDebt) -> CommandFault | None:
    """The most a friend may owe us; what it owes already stays."""
    if not 0 <= command.max_debt <= CREDITS_MAX:
        return CommandFault.INVALID_AMOUNT
    return _configure(draft, command.friend, command.currency, max_debt=command.max_debt)


def open_currency(draft: Draft, key: PublicKey, currency: Currency) -> CommandFault | None:
    """Let requests of others pass."""
    return _configure(draft, key, currency, is_open=True)


def close_currency(draft: Draft, key: PublicKey, currency: Currency) -> CommandFault | None:
    """Let no request of others pass; those that wait are cancelled, own ones stay."""
    fault = _configure(draft, key, currency, is_open=False)
    if fault is None:
        answers.cancel_queued(
            draft,
            key,
            lambda entry: entry.currency == currency and isinstance(entry.origin, PublicKey),
        )
    return fault


_V = TypeVar("_V")


def _chosen(new: _V | None, old: _V) -> _V:
    return old if new is None else new


def _configure(
    draft: Draft,
    key: PublicKey,
    currency: Currency,
    *,
    rate: Rate | None = None,
    max_debt: int | None = None,
    is_open: bool | None = None,
) -> CommandFault | None:
    """Change one currency's settings, creating them if missing; a removal is called off."""
    known = draft.state.friends.get(key)
    if known is None:
        return CommandFault.FRIEND_DOES_NOT_EXIST
    old = known.configs.get(currency)
    listed = {*known.configs, *_offered(known), currency}
    if old is None and len(listed) > ACTIVE_CURRENCIES_MAX:
        return CommandFault.LIMIT_REACHED
    base = CurrencyConfig() if old is None else old
    config = CurrencyConfig(
        _chosen(rate, base.rate), _chosen(max_debt, base.max_debt), _chosen(is_open, base.is_open)
    )
    if config != old:
        draft.friend(key).configs[currency] = config
    return None


def remove_currency(draft: Draft, command: RemoveFriendCurrency) -> CommandFault | None:
    """Stop using a currency: closed now, gone when nothing is owed or pending."""
    known = draft.state.friends.get(command.friend)
    if known is None:
        return CommandFault.FRIEND_DOES_NOT_EXIST
    config = known.configs.get(command.currency)
    if config is None:
        return CommandFault.CURRENCY_NOT_CONFIGURED
    friend = draft.friend(command.friend)
    if not _is_agreed(friend, command.currency):
        # The friend was never told: nothing to agree on.
        del friend.configs[command.currency]
    else:
        friend.configs[command.currency] = CurrencyConfig(
            config.rate, config.max_debt, is_open=False, is_removing=True
        )
    answers.cancel_queued(draft, command.friend, lambda entry: entry.currency == command.currency)
    return None


def _is_agreed(friend: Friend, currency: Currency) -> bool:
    """Whether the friend knows that we use this currency, or a reset may bring it back."""
    channel = friend.channel
    if isinstance(channel, Inconsistent):
        return currency in _offered(friend)
    return currency in channel.active_local or currency in _offered(friend)


def _offered(friend: Friend) -> tuple[Currency, ...]:
    """Currencies of our own terms that the friend may still accept, also after we accepted its."""
    channel = friend.channel
    terms = channel.local_terms if isinstance(channel, Inconsistent) else channel.offered_terms
    return () if terms is None else tuple(currency for currency, _ in terms.balances)


# --- channels -----------------------------------------------------------------------------------


def reset_channel(draft: Draft, command: ResetFriendChannel) -> CommandFault | None:
    """Accept the friend's terms, if they are still the ones the user saw."""
    known = draft.state.friends.get(command.friend)
    if known is None:
        return CommandFault.FRIEND_DOES_NOT_EXIST
    channel = known.channel
    if not isinstance(channel, Inconsistent) or channel.remote_terms is None:
        return CommandFault.NOT_INVITED_TO_RESET
    terms = channel.remote_terms
    seen = terms_hash(command.friend, draft.state.local_public_key, terms)
    if seen != command.terms_hash or not are_terms_acceptable(terms, channel.consistent_counter):
        return CommandFault.RESET_TERMS_MISMATCH
    theirs = (currency for currency, _ in terms.balances)
    listed = {*known.configs, *_offered(known), *theirs}
    if len(listed) > ACTIVE_CURRENCIES_MAX:
        return CommandFault.LIMIT_REACHED
    resets.accept_reset(draft, command.friend)
    return None


def dispute(draft: Draft, key: PublicKey) -> CommandFault | None:
    """Declare the channel inconsistent and offer our own terms."""
    known = draft.state.friends.get(key)
    if known is None:
        return CommandFault.FRIEND_DOES_NOT_EXIST
    if isinstance(known.channel, Inconsistent):
        return CommandFault.CHANNEL_INCONSISTENT
    resets.break_channel(draft, key)
    return None
