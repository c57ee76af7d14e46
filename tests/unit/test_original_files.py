"""What the programs of 2020 wrote: every vector in every spelling, and what their line protocol carried.

Source: apps.md §4.2, §7.1, §7.6; tests/vectors/artifacts.json.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from offset_engine import files
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey, PublicKey
from offset_engine.files import Commit, FriendCard, Receipt, RemoteCard, Ticket, Token
from offset_engine.json_fields import parse_object
from tests.covers import covers

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "artifacts.json").read_text())
CASES = VECTORS["cases"]
SELLER = PublicKey.from_text(VECTORS["seller"]["publicKey"])
PAYMENT_ID = "8NHPDQKOG3p_0xBe1MjhLg"
PLAIN = next(one for one in CASES if (one["prefix"], one["case"]) == ("FUND_RESPONSE", "plain"))


def snake(values: Any) -> Any:
    if isinstance(values, dict):
        return {
            re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", k): snake(v) for k, v in values.items()
        }
    return [snake(one) for one in values] if isinstance(values, list) else values


SPELLINGS = {
    "mobile": lambda values: values,
    "stctrl": snake,
    "both": lambda values: {**values, **snake(values)},
}


def test_the_vectors_hold_both_prefixes_of_every_case() -> None:
    prefixes = {(one["prefix"], one["case"]) for one in CASES}
    cases = {case for _, case in prefixes}
    assert len(cases) == 5
    assert prefixes == {(p, c) for p in ("FUND_RESPONSE", "FUNDS_RESPONSE") for c in cases}


@covers("FIX-30", "FIX-32", "VFY-06")
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("case", CASES, ids=lambda one: f"{one['prefix']} {one['case']}")
def test_every_vector_means_the_same_in_every_spelling(case: dict[str, Any], spelling: str) -> None:
    spell = SPELLINGS[spelling]
    invoice = files.parse_invoice(json.dumps(spell(VECTORS["invoice"])))
    verdicts = [
        files.verify_receipt(invoice, files.parse_receipt(json.dumps(spell(case["receipt"]))))
    ]
    if "commit" in case:
        commit = files.parse_commit(json.dumps(spell(case["commit"])))
        verdicts.append(files.verify_commit(invoice, commit))
    for verdict in verdicts:
        assert verdict.is_valid == case["expect"].startswith("valid")
        assert verdict.is_complete == ("warning" not in case["expect"])
        assert verdict.prefix == (case["prefix"] if verdict.is_valid else None)


@pytest.mark.parametrize("style", files.Style)
def test_what_we_write_in_a_style_has_its_spelling(style: files.Style) -> None:
    commit = files.parse_commit(json.dumps(PLAIN["commit"]))
    wanted = set(SPELLINGS[style.value](PLAIN["commit"]))
    assert set(json.loads(files.to_json(commit, style))) == wanted
    assert files.parse_commit(files.to_json(commit, style)) == commit


# --- the line protocol of the phone app's backend -----------------------------------------------

FRIEND_TOKEN = {
    "prefixHash": "tvDm1nZFAIdPIm2ww8XmhhTkrIgvK6t4hXRCKdQVbS0",
    "randNonce": "oyPaZlJOnBWn-G9aLn6QXw",
    "newToken": (
        "4mbV9kqcwiu6DTEILT6bguTPAOApGVXg49peUSbR6RcN8RPTOrYtlp2cFqnKmMZ7CmSbOeyMTXNWrKU0jrNMBA"
    ),
    "tokenInfo": {
        "mc": {
            "localPublicKey": VECTORS["seller"]["publicKey"],
            "remotePublicKey": "ck2goUMTxvNmVlngwtZjUq2CQP9-V6giERhGm4BD7uA",
            "balances": {
                "USD": {"balance": "1250000", "localPendingDebt": "0", "remotePendingDebt": "0"}
            },
        },
        "counters": {"inconsistencyCounter": 0, "moveTokenCounter": "7"},
    },
}
RELAY = {
    "publicKey": "CqryKc4bZxUq4GA57TeezbeojmgLEF1gHwmU6cqWvVw",
    "address": {"address": {"address": "relay.example.org:4567"}},
}
FRIEND = {"publicKey": VECTORS["seller"]["publicKey"], "relays": [RELAY]}
REMOTE = {
    "nodeName": "shop",
    "appPrivateKey": "tzFXXI8PM3m9WHl5EeTz28TB-x87eGzghQ9CWaJVUsQ",
    "nodePublicKey": VECTORS["seller"]["publicKey"],
    "nodeAddress": {"address": {"address": "node.example.org:9876"}},
}

# Each line as the original wrote it, where in it an artifact is, and of which kind it is.
LINES: list[tuple[Any, tuple[str | int, ...], type]] = [
    (
        {"requestId": PAYMENT_ID, "inner": {"createNode": {"createNodeRemote": REMOTE}}},
        ("inner", "createNode", "createNodeRemote"),
        RemoteCard,
    ),
    (
        {"requestId": PAYMENT_ID, "inner": {"node": ["1", {"addRelay": {**RELAY, "name": "r"}}]}},
        ("inner", "node", 1, "addRelay"),
        Ticket,
    ),
    (
        {"requestId": PAYMENT_ID, "inner": {"node": ["1", {"addFriend": {**FRIEND, "name": "f"}}]}},
        ("inner", "node", 1, "addFriend"),
        FriendCard,
    ),
    (
        {
            "requestId": PAYMENT_ID,
            "inner": {"node": ["1", {"requestVerifyCommit": {"commit": PLAIN["commit"]}}]},
        },
        ("inner", "node", 1, "requestVerifyCommit", "commit"),
        Commit,
    ),
    (
        {
            "serverToUser": {
                "node": [
                    "1",
                    {"paymentCommit": {"paymentId": PAYMENT_ID, "commit": PLAIN["commit"]}},
                ]
            }
        },
        ("serverToUser", "node", 1, "paymentCommit", "commit"),
        Commit,
    ),
    (
        {
            "serverToUser": {
                "node": [
                    "1",
                    {
                        "paymentDone": {
                            "paymentId": PAYMENT_ID,
                            "status": {"success": [PLAIN["receipt"], "5", PAYMENT_ID]},
                        }
                    },
                ]
            }
        },
        ("serverToUser", "node", 1, "paymentDone", "status", "success", 0),
        Receipt,
    ),
    (
        {"serverToUser": {"node": ["1", {"report": {"optLastIncomingMoveToken": FRIEND_TOKEN}}]}},
        ("serverToUser", "node", 1, "report", "optLastIncomingMoveToken"),
        Token,
    ),
]


@covers("FIX-32")
@pytest.mark.parametrize(
    ("line", "place", "kind"), LINES, ids=lambda one: getattr(one, "__name__", "")
)
def test_what_a_line_of_2020_carries_is_read(
    line: Any, place: tuple[str | int, ...], kind: type
) -> None:
    found: Any = parse_object(json.dumps(line))
    for step in place:
        found = found[step]
    content = files.parse(json.dumps(found), kind)
    assert isinstance(content, kind)
    match content:
        case RemoteCard():
            assert (content.node_public_key, content.node_address) == (
                SELLER,
                "node.example.org:9876",
            )
            assert public_key_of(content.app_private_key) == public_key_of(
                PrivateKey.from_text(REMOTE["appPrivateKey"])
            )
        case Ticket():
            assert content.address == "relay.example.org:4567"
        case FriendCard():
            assert content.relays[0].address == "relay.example.org:4567"
        case Token():
            assert files.verify_token(content, SELLER).failed is None
        case Commit():
            invoice = files.parse_invoice(json.dumps(VECTORS["invoice"]))
            assert files.verify_commit(invoice, content).is_valid
        case Receipt():
            invoice = files.parse_invoice(json.dumps(VECTORS["invoice"]))
            assert files.verify_receipt(invoice, content).is_valid
