"""PROTOCOL.md, "App messages", against the codec: numbers, fields, lengths, permissions."""

import dataclasses
import typing

import pytest

from offset_engine.core import api, app_codec, payer, reports, signing, token_channel, values
from offset_engine.core import app_messages as m
from offset_engine.core.app_session import PERMISSION_OF
from tests.unit.test_protocol_document import Row, names, section, table, tables

KINDS = [
    ("type", 0, m.AppMessage),
    ("type", 1, m.NodeMessage),
    ("kind", 0, api.Command | api.Batch | m.Question),
    ("answer", 0, m.Answer),
    ("notice", 0, api.Notice),
    ("record", 0, reports.Record),
]
INSIDE = {
    kind.__name__: kind
    for kind in (
        m.AppPermissions,
        m.ReportHead,
        reports.Connections,
        reports.ServerReport,
        reports.FriendReport,
        reports.CurrencyReport,
        reports.TermsReport,
        reports.PayReport,
        reports.PartReport,
        reports.InvoiceReport,
        reports.PendingReport,
        reports.HistoryEntry,
        signing.Invoice,
        signing.Commit,
        signing.Receipt,
        token_channel.MoveTokenHashed,
        signing.TokenInfo,
        signing.BalanceInfo,
        values.NamedAddress,
        values.RelayAddress,
        values.Rate,
        api.RoutesChoice,
        payer.PlannedPart,
    )
}


def field_names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


@pytest.mark.parametrize(("column", "position", "union"), KINDS)
def test_every_kind_has_the_number_fields_and_length_stated(
    column: str, position: int, union: object
) -> None:
    found = [rows for rows in tables(section("App messages")) if column in rows[0]][position]
    kinds = {kind.__name__: kind for kind in typing.get_args(union)}
    assert [row["name"] for row in found] == list(kinds)
    for row in found:
        kind = kinds[row["name"]]
        assert int(row[column]) == app_codec.TAGS[kind], row
        assert names(row["fields"]) == field_names(kind), row
        assert int(row["elements"]) == 1 + len(field_names(kind)), row


def test_what_is_inside_has_the_fields_stated() -> None:
    rows = table("App messages", "inside")
    assert [row["inside"] for row in rows] == list(INSIDE)
    for row in rows:
        assert names(row["fields"]) == field_names(INSIDE[row["inside"]]), row
        assert int(row["elements"]) == len(names(row["fields"])), row


def test_the_states_of_a_server_are_named() -> None:
    text = section("Reports")
    assert all(f"`{state.value}`" in text for state in reports.ServerState)


def stated(row: Row) -> tuple[str | None, bool]:
    permission = row["permission"].removesuffix(" or transactions")
    return None if permission == "none" else permission, permission != row["permission"]


def test_permissions_are_those_the_node_checks() -> None:
    looking = (m.GetPay, m.ListPays, m.GetInvoice, m.ListInvoices)
    rows = {row["name"]: row for row in table("App messages", "kind")}
    assert rows.pop("Batch")["permission"] == "of all its commands"
    for kind, needed in PERMISSION_OF.items():
        permission = None if needed is None else needed.value
        assert stated(rows.pop(kind.__name__)) == (permission, kind in looking)
    assert rows == {}
