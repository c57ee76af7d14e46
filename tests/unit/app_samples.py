"""Strategies for every app message, built from the types of its fields."""

import dataclasses
import types
import typing
from enum import Enum

from hypothesis import strategies as st

from offset_engine.core import api, app_messages, reports
from offset_engine.core.values import Currency, FixedBytes
from tests.strategies import addresses, amounts, any_u128, balances, currencies, fixed, u32, u64

SUMS = st.integers(0, 2**192 - 1)
NUMBERS = {
    "balance": balances,
    "fee": SUMS,
    "frozen": SUMS,
    "received": SUMS,
    "local_pending_debt": any_u128,
    "remote_pending_debt": any_u128,
    "move_token_counter": any_u128,
    "add": u32,
    "mul": u32,
    "lasts_s": u32,
    "decimals": st.integers(0, 255),
    "people": st.integers(0, 255),
    "skip": u32,
    "latency_ms": u32,
    "limit": st.integers(0, 1_000),
}
AMOUNTS = {
    "amount",
    "confirm_above",
    "dest_payment",
    "fees",
    "max_debt",
    "max_fee",
    "reachable",
    "total_dest_payment",
}
TEXTS = {"address": addresses}
_FEW = 3


def of_field(kind: typing.Any, place: tuple[type, str]) -> st.SearchStrategy[typing.Any]:
    """Valid values of a field."""
    owner, name = place
    if (owner, name) in (
        (reports.TermsReport, "balances"),
        (reports.ResetRecord, "balances"),
    ):
        return some(st.tuples(currencies, balances))
    if (owner, name) == (reports.FriendReport, "lost"):
        return some(st.tuples(currencies, amounts))
    if isinstance(kind, types.UnionType):
        return st.one_of(*(of_field(one, place) for one in typing.get_args(kind)))
    if kind is types.NoneType:
        return st.none()
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        if len(items) == 2 and items[1] is Ellipsis:
            return some(of_field(items[0], place))
        return st.tuples(*(of_field(one, place) for one in items))
    return of_single(kind, name)


def of_single(kind: typing.Any, name: str) -> st.SearchStrategy[typing.Any]:
    if kind is bool:
        return st.booleans()
    if kind is int:
        if name.startswith("version"):
            return st.integers(0, 65_535)
        return amounts if name in AMOUNTS else NUMBERS.get(name, u64)
    if kind is Currency:
        return currencies
    if kind is str:
        return TEXTS.get(name, st.text(max_size=8))
    if issubclass(kind, FixedBytes):
        return fixed(kind)
    return st.sampled_from(kind) if issubclass(kind, Enum) else of_record(kind)


def some(items: st.SearchStrategy[typing.Any]) -> st.SearchStrategy[tuple[typing.Any, ...]]:
    return st.lists(items, max_size=_FEW).map(tuple)


def of_record(kind: type) -> st.SearchStrategy[typing.Any]:
    """Valid values of a class."""

    def build() -> st.SearchStrategy[typing.Any]:
        hints = typing.get_type_hints(kind)
        names = [field.name for field in dataclasses.fields(kind)]
        return st.builds(kind, *(of_field(hints[name], (kind, name)) for name in names))

    return st.deferred(build)


def of_kinds(union: object) -> list[type]:
    return list(typing.get_args(union))


requests = st.one_of(
    *(
        st.builds(app_messages.Request, u64, of_record(kind))
        for kind in (*of_kinds(api.Command), api.Batch, *of_kinds(app_messages.Question))
    )
)
app_messages_any = st.one_of(of_record(app_messages.Hello), requests)
answers = st.one_of(*map(of_record, of_kinds(app_messages.Answer)))
node_messages_any = st.one_of(
    st.builds(
        app_messages.Result,
        u64,
        st.none() | st.sampled_from(api.CommandFault),
        st.text(max_size=8),
        st.none() | answers,
    ),
    *(
        of_record(kind)
        for kind in of_kinds(app_messages.NodeMessage)
        if kind is not app_messages.Result
    ),
)
