"""PROTOCOL.md against the code: numbers, names, message shapes, codes, vectors and cited headings."""

import ast
import dataclasses
import re
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path

import msgpack
import pytest

from offset_engine.core import (
    api,
    codec,
    events,
    framing,
    friend_links,
    index,
    index_session,
    inquiring,
    link,
    noise,
    relay_limits,
    reports,
    route_memory,
    route_planning,
    route_search,
    route_terms,
    searching,
    signing,
    values,
)
from offset_engine.core import messages as m
from offset_engine.core.crypto import (
    expand_seed,
    hash_lock,
    public_key_of,
    sha512_256,
    sign,
)
from offset_engine.core.mutual_credit import OperationFault
from offset_engine.core.payer import PayFailure, PayStage
from offset_engine.core.payment import PaymentStage
from offset_engine.core.token_channel import (
    Outgoing,
    TokenFault,
    TokenParts,
    new_channel,
    prefix_of,
    seal,
)
from offset_engine.core.values import (
    Currency,
    HashResult,
    InvoiceId,
    PlainLock,
    PrivateKey,
    PublicKey,
    RandValue,
    Rate,
    RelayAddress,
    Signature,
    Uid,
)
from offset_engine.net import questions

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "offset_engine" / "PROTOCOL.md").read_text()
FENCES = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PROSE = FENCES.sub("", TEXT)
HEADINGS = re.findall(r"^#+ (.+)$", PROSE, re.MULTILINE)

Row = dict[str, str]


# --- reading the document -----------------------------------------------------------------------


def section(heading: str) -> str:
    """The text below a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#+ |\Z)", PROSE, re.M | re.S)
    assert found, heading
    return found.group(1)


def tables(text: str) -> Iterator[list[Row]]:
    """Every table, as rows by column name; backticks are left out."""
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        head, rule, *body = block.splitlines()
        names = cells(head)
        assert set(rule) <= set("|- "), rule
        for line in body:
            assert len(cells(line)) == len(names), line
        yield [dict(zip(names, cells(line), strict=True)) for line in body]


def cells(line: str) -> list[str]:
    return [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]


def table(heading: str, column: str) -> list[Row]:
    """All rows of the tables under a heading that have this column."""
    found = [row for rows in tables(section(heading)) for row in rows if column in row]
    assert found, (heading, column)
    return found


def number(text: str) -> int:
    """`10 000`, `2^127-1` or `137`."""
    power = re.fullmatch(r"2\^(\d+)(-1)?", text)
    if power:
        return (1 << int(power.group(1))) - bool(power.group(2))
    return int(text.replace(" ", ""))


def quoted_numbers(text: str) -> list[tuple[str, int]]:
    """Every `name` = 10 000 (what it is)."""
    found = re.findall(r"`([\w.]+)` = ([\d^ -]+?) \(", text)
    return [(name, number(value)) for name, value in found]


def column(heading: str, name: str) -> list[str]:
    return [row[name] for row in table(heading, name)]


def words(heading: str, after: str) -> list[str]:
    """Names in backticks between `after` and the next full stop at a line's end."""
    text = section(heading).split(after, 1)[1]
    return re.findall(r"`([a-z_]+)`", text.split(".\n", 1)[0])


def quoted_values() -> dict[str, int]:
    return {
        name: found
        for name, found in vars(values).items()
        if name.isupper() and not name.startswith("_") and type(found) is int
    }


# --- limits -------------------------------------------------------------------------------------


def test_the_table_of_limits_is_the_list_of_limits_in_values() -> None:
    assert {row["limit"]: number(row["value"]) for row in table("Limits", "limit")} == (
        quoted_values()
    )


def defaults(kind: type) -> dict[str, int]:
    instance = kind()
    return {field.name: getattr(instance, field.name) for field in dataclasses.fields(kind)}


def test_every_waiting_time_is_listed_with_its_default() -> None:
    listed = {row["timer"]: number(row["ms"]) for row in table("Waiting times", "timer")}
    assert listed == defaults(values.Timers)


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("Relays", relay_limits.RelayLimits),
        ("Index servers", index.IndexLimits),
        ("Index servers: federation", index.FederationLimits),
    ],
)
def test_every_limit_of_a_server_is_listed_with_its_default(heading: str, kind: type) -> None:
    assert dict(quoted_numbers(section(heading))) == defaults(kind)


MODULES = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        *(codec, framing, friend_links, index_session, inquiring, link, noise),
        *(questions, route_memory, route_planning, route_search, route_terms, searching),
    )
}


@pytest.mark.parametrize(
    ("place", "quoted"), [pair for pair in quoted_numbers(PROSE) if "." in pair[0]]
)
def test_every_other_number_is_the_one_of_its_module(place: str, quoted: int) -> None:
    first, *path = place.split(".")
    found: object = MODULES[first]
    for name in path:
        found = getattr(found() if isinstance(found, type) else found, name)
    assert found == quoted


def test_buckets_are_listed() -> None:
    buckets = ", ".join(f"{size:,}".replace(",", " ") for size in noise.BUCKETS)
    assert f"{buckets} bytes" in section("Records")


def test_purposes_have_their_message_sizes() -> None:
    listed = {
        (row["purpose"], *(number(row[c]) for c in list(row)[1:]))
        for row in table("Links", "purpose")
    }
    assert listed == {
        (noise.Purpose(one.purpose).name, *dataclasses.astuple(one)) for one in link.PURPOSE_LIMITS
    }


# --- signed bytes -------------------------------------------------------------------------------


def test_domain_tags_are_those_that_are_hashed() -> None:
    tags = column("Signed bytes", "tag")
    domains = [found for name, found in vars(signing).items() if name.startswith("DOMAIN_")]
    assert tags == [*domains, signing.RESPONSE_PREFIX, signing.RESPONSE_PREFIX_2020]
    text = FENCES.findall(TEXT)[0]
    assert {one for one in domains if f"DS({one})" in text} == set(domains)


@pytest.mark.parametrize("row", table("Operations", "operation"))
def test_operations_have_the_tag_and_size_stated(row: Row) -> None:
    operation = OPERATIONS[row["operation"]]
    assert operation.raw[0] == int(row["tag"])
    keys = len(operation.route) if isinstance(operation, m.RequestOp) else 0
    fixed, _, rest = row["bytes"].partition(" + ")
    assert len(operation.raw) == int(fixed) + (32 * keys if rest else 0)
    sizes = re.findall(r"(?:id|lock|fees|payment|nonce|signature|complete)(\d+)", row["body"])
    length_of_list = 8 if rest else 0
    assert 1 + sum(map(int, sizes)) + length_of_list == int(fixed)


def test_frames_of_the_handshake_have_the_sizes_stated() -> None:
    assert [(row["frame"], int(row["bytes"])) for row in table("Secure channel", "frame")] == [
        ("F1", noise._FRAME1_BYTES),
        ("F2", noise._FRAME2_BYTES),
        ("F3", noise._FRAME3_BYTES),
    ]
    assert noise._PROTOCOL_NAME.decode() in section("Secure channel")


# --- messages -----------------------------------------------------------------------------------

KEY, OTHER = PublicKey(b"k" * 32), PublicKey(b"o" * 32)
UID = Uid(b"u" * 16)
HASH = HashResult(b"h" * 32)
NONCE = RandValue(b"n" * 16)
SIGNATURE = Signature(b"s" * 64)
FST, USD = Currency("FST"), Currency("USD")
OPERATIONS: dict[str, m.Operation] = {
    "Request": m.request_op(
        UID, hash_lock(PlainLock(HASH)), (KEY, OTHER), (1, 1, 0), InvoiceId(HASH)
    ),
    "Response": m.response_op(UID, hash_lock(PlainLock(HASH)), True, NONCE, SIGNATURE),
    "Cancel": m.cancel_op(UID),
    "Collect": m.collect_op(UID, PlainLock(HASH), PlainLock(HASH)),
}
TOKEN = m.MoveToken(
    SIGNATURE,
    (m.CurrencyOperations(FST, (OPERATIONS["Cancel"],)),),
    (RelayAddress(KEY, "relay.example:1"),),
    (FST,),
    HASH,
    NONCE,
    SIGNATURE,
)
UPDATE = m.IndexUpdate(
    KEY,
    UID,
    0,
    True,
    HASH,
    NONCE,
    (m.Edge(KEY, FST, 1, Rate(1, 2)), m.EdgeRemoved(OTHER, FST)),
    SIGNATURE,
)
PART = m.Part((KEY, OTHER), 1, 0, 1)
SAMPLES: dict[type, typing.Any] = {
    type(one): one
    for one in (
        m.MoveTokenMessage(TOKEN, False),
        m.InconsistencyMessage(m.ResetTerms(SIGNATURE, 1, ((FST, -1),))),
        m.TokenWantedMessage(SIGNATURE),
        m.Listen(),
        m.Connect(KEY),
        m.Accept(UID),
        m.Listening(1, 2),
        m.Incoming(UID, KEY),
        m.Reject(UID),
        m.Established(),
        UPDATE,
        m.RoutesRequest(UID, 0, FST, 1, KEY, None, None, 1, 1, 2, ((KEY, OTHER),), ()),
        m.InfoRequest(),
        m.Alive(UID, 1),
        m.TimeHash(HASH, 1),
        m.UpdateAck(UID, 1, 0),
        m.RoutesResponse(UID, 0, 1, 1, (m.RouteChoice(0, (PART,)),)),
        m.SendFull(UID, 1),
        m.Info(1, 2, 3, 4, 5, 6),
        m.Forward(UPDATE, ((HASH,),)),
        m.Resync(UID, 1),
        m.PeerInfo(1, 2),
        m.Need(KEY),
        m.AliveNodes(((KEY, UID, 1),)),
    )
}
KINDS: list[tuple[str, int, object, Callable[..., bytes]]] = [
    ("Friends", 0, m.FriendMessage, codec.encode_friend_message),
    ("Relays", 0, m.RelayMessage, codec.encode_relay_message),
    ("Index servers", 0, m.IndexClientMessage, codec.encode_index_client_message),
    ("Index servers", 1, m.IndexServerMessage, codec.encode_index_server_message),
    ("Index servers", 2, m.IndexPeerMessage, codec.encode_index_peer_message),
]


def names(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


@pytest.mark.parametrize(("heading", "position", "union", "encode"), KINDS)
def test_messages_have_the_type_fields_and_length_stated(
    heading: str, position: int, union: object, encode: Callable[..., bytes]
) -> None:
    rows = [rows for rows in tables(section(heading)) if "type" in rows[0]][position]
    classes = {one.__name__: one for one in typing.get_args(union)}
    assert [row["name"] for row in rows] == list(classes)
    for row in rows:
        kind = classes[row["name"]]
        wire = msgpack.unpackb(encode(SAMPLES[kind]))
        assert wire[0] == int(row["type"]), row
        assert len(wire) == int(row["elements"]) == 1 + len(names(row["fields"])), row
        assert names(row["fields"]) == [field.name for field in dataclasses.fields(kind)], row


def inner_arrays() -> dict[str, list[object]]:
    def wire(data: bytes) -> list[typing.Any]:
        found = msgpack.unpackb(data)
        assert isinstance(found, list)
        return found

    token = wire(codec.encode_friend_message(SAMPLES[m.MoveTokenMessage]))[1]
    terms = wire(codec.encode_friend_message(SAMPLES[m.InconsistencyMessage]))[1]
    edge, removed = wire(codec.encode_index_client_message(UPDATE))[7]
    asked = wire(codec.encode_index_client_message(SAMPLES[m.RoutesRequest]))
    choice = wire(codec.encode_index_server_message(SAMPLES[m.RoutesResponse]))[5][0]
    forward = wire(codec.encode_index_peer_message(SAMPLES[m.Forward]))
    alive = wire(codec.encode_index_peer_message(SAMPLES[m.AliveNodes]))
    return {
        "MoveToken": token,
        "CurrencyOperations": token[1][0],
        "RelayAddress": token[2][0],
        "ResetTerms": terms,
        "Balance": terms[2][0],
        "Edge": edge,
        "EdgeRemoved": removed,
        "ExcludedEdge": asked[11][0],
        "RouteChoice": choice,
        "Part": choice[1][0],
        "ForwardedUpdate": forward[1],
        "AliveNode": alive[1][0],
    }


def test_arrays_inside_messages_have_the_length_stated() -> None:
    rows = table("Friends", "inside") + table("Index servers", "inside")
    stated = {row["inside"]: (int(row["elements"]), len(names(row["fields"]))) for row in rows}
    assert stated == {name: (len(one), len(one)) for name, one in inner_arrays().items()}


# --- names and codes ----------------------------------------------------------------------------


def test_record_types_are_those_of_noise() -> None:
    rows = table("Records", "record")
    assert [row["record"] for row in rows] == [
        "DATA_END",
        "DATA_MORE",
        "PING",
        "PONG",
        "REKEY",
        "CLOSE",
    ]
    for row in rows:
        assert getattr(noise, row["record"]) == int(row["type"])


def test_close_codes_are_those_of_the_link() -> None:
    rows = table("Records", "code")
    assert {row["code"]: int(row["number"]) for row in rows} == {
        code.name: code.value for code in link.CloseCode
    }


def test_refusals_of_a_relay_are_told_in_these_words() -> None:
    stated = {
        name: (row["code"], row["words"])
        for row in table("Relays", "refusals")
        for name in names(row["refusals"])
    }
    answers = relay_limits.ANSWERS.items()
    assert stated == {refusal.value: (code.name, text) for refusal, (code, text) in answers}


def test_codes_of_index_servers_are_all_explained() -> None:
    rows = table("Index servers", "code")
    updates = [int(row["code"]) for row in rows if row.get("to an update")]
    routes = [int(row["code"]) for row in rows if row.get("to a question")]
    assert updates == [int(code) for code in index.AckCode]
    assert routes == [int(code) for code in index.RouteCode]


def values_of(kind: type[Enum]) -> list[str]:
    return [one.value for one in kind]


def test_faults_of_channel_and_ledger_are_those_of_the_code() -> None:
    stated = {one.lower() for one in column("Token channel", "fault") if one}
    stated |= (
        {"chain_inconsistency"} if "CHAIN_INCONSISTENCY" in section("Token channel") else set()
    )
    assert stated == set(values_of(TokenFault))
    assert {one.lower() for one in column("Ledger", "fault")} == set(values_of(OperationFault))


def test_reasons_for_refusing_a_command_are_those_of_the_code() -> None:
    assert words("Commands", "as programs see them:") == values_of(api.CommandFault)


def test_reasons_and_stages_of_paying_are_those_of_the_code() -> None:
    assert column("Paying", "failure") == values_of(PayFailure)
    assert words("Paying", "Stages are") == values_of(PayStage)


def test_stages_of_a_payment_are_those_of_the_code() -> None:
    assert column("Payments", "stage") == values_of(PaymentStage)


def test_commands_are_all_explained() -> None:
    listed = [name for row in table("Commands", "commands") for name in names(row["commands"])]
    assert sorted(listed) == sorted(one.__name__ for one in typing.get_args(api.Command))


@pytest.mark.parametrize(("label", "union"), [("Events", events.Event), ("Effects", events.Effect)])
def test_events_and_effects_are_all_explained(label: str, union: object) -> None:
    text = re.search(rf"\*\*{label}\.\*\*.*", section("Node"))
    assert text
    assert re.findall(r"`(\w+)`:", text.group()) == [one.__name__ for one in typing.get_args(union)]


def test_reports_and_records_are_all_explained() -> None:
    wanted = {name for name in vars(api) if name.endswith("Report")}
    wanted |= {one.__name__ for one in typing.get_args(reports.Record)}
    assert {one for one in wanted if one not in section("Reports")} == set()


def test_rules_of_friend_links_are_all_there() -> None:
    in_code = re.findall(r"^\| (FL\d+) \|", friend_links.__doc__ or "", re.MULTILINE)
    assert column("Friend links", "rule") == in_code


def test_invariants_are_numbered_from_1_to_27() -> None:
    assert column("Invariants", "#") == [f"I{n}" for n in range(1, 28)]


def test_decisions_are_numbered_and_complete() -> None:
    rows = table("Decisions", "#")
    assert [row["#"] for row in rows] == [str(n) for n in range(1, len(rows) + 1)]
    for row in rows:
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", row["date"]), row
        assert all(row.values()), row


# --- test vectors -------------------------------------------------------------------------------

SEEDS = [PrivateKey(bytes([n]) * 32) for n in (1, 2, 3)]
ALICE, BOB, CAROL = (public_key_of(seed) for seed in SEEDS)
REQUEST = m.request_op(
    Uid(b"\x11" * 16),
    hash_lock(PlainLock(b"\x33" * 32)),
    (BOB, CAROL),
    (10, 10, 5),
    InvoiceId(b"\x55" * 32),
)


def signed_by(seed: PrivateKey, buffer: bytes) -> Signature:
    return sign(expand_seed(seed), buffer)


def first_move_token() -> m.MoveToken:
    channel = new_channel(BOB, ALICE)
    channel.active_local = (FST, USD)
    relays = (RelayAddress(CAROL, "127.0.0.1:1337"),)
    parts = TokenParts((), relays, (FST, USD), token_wanted=False)
    seal(channel, parts, RandValue(b"\x77" * 16), lambda buffer: signed_by(SEEDS[1], buffer))
    assert isinstance(channel.direction, Outgoing)
    return channel.direction.move_token


def channel_vectors() -> Iterator[tuple[str, bytes]]:
    genesis = signing.genesis(ALICE, BOB)
    yield "genesis rand_nonce", genesis.rand_nonce
    yield "genesis info_hash", genesis.info_hash
    yield "genesis prefix_hash", prefix_of(genesis)
    first = first_move_token()
    yield "first prefix_hash", prefix_of(first)
    yield "first info_hash", first.info_hash
    yield "first new_token", first.new_token
    yield "request H(bytes)", sha512_256(REQUEST.raw)
    batch = (m.CurrencyOperations(FST, (REQUEST,)),)
    yield "carrying prefix_hash", signing.prefix_hash(genesis.new_token, batch, None, None)
    balances = ((FST, signing.BalanceInfo(-5, 3, 2)), (USD, signing.BalanceInfo(0, 0, 0)))
    yield "numbers info_hash", signing.info_hash(signing.TokenInfo(ALICE, BOB, balances, 1, 7))
    terms = m.ResetTerms(Signature(b"\x88" * 64), 2, ((FST, -5),))
    yield "terms terms_hash", signing.terms_hash(ALICE, BOB, terms)


def paying_vectors() -> Iterator[tuple[str, bytes]]:
    terms = signing.ResponseTerms(
        signing.response_hash(REQUEST.request_id, RandValue(b"\x22" * 16)),
        REQUEST.src_hashed_lock,
        hash_lock(PlainLock(b"\x44" * 32)),
        True,
        10,
        10,
        REQUEST.invoice_id,
        FST,
    )
    yield "response response_hash", terms.response_hash
    yield "response H(buffer)", sha512_256(signing.response_buffer(terms))
    yield "response signature", signed_by(SEEDS[2], signing.response_buffer(terms))
    part = dataclasses.replace(terms, is_complete=False)
    yield "response H(buffer), not complete", sha512_256(signing.response_buffer(part))
    seller = PrivateKey(sha512_256(b"offset-example/seller"))
    invoice = signing.Invoice(
        InvoiceId.fromhex("3c240a82cb0378847de8a2158c9d606a6af5bdcc7d1431911761422cdd06ce5b"),
        USD,
        public_key_of(seller),
        1_250_000,
        "2 chocolate bars",
        1_700_000_000,
        1_700_086_400,
        2,
    )
    yield "invoice signature", signed_by(seller, signing.invoice_buffer(invoice))


def index_vectors() -> Iterator[tuple[str, bytes]]:
    edge = m.Edge(BOB, FST, 120, Rate(1, 2))
    update = m.IndexUpdate(
        ALICE,
        Uid(b"\x99" * 16),
        0,
        True,
        HashResult(b"\x66" * 32),
        RandValue(b"\x77" * 16),
        (edge,),
        Signature(bytes(64)),
    )
    yield "update signature", signed_by(SEEDS[0], signing.index_update_buffer(update))
    tick = signing.time_hash([sha512_256(bytes(16))])
    yield "tick", tick
    yield "tick, the next", signing.time_hash([sha512_256(b"\x01" * 16), tick])
    yield "CONNECT to alice", codec.encode_relay_message(m.Connect(ALICE))
    wanted = m.TokenWantedMessage(Signature(b"\x88" * 64))
    yield "TOKEN_WANTED for 64×88", codec.encode_friend_message(wanted)


def vectors() -> Iterator[tuple[str, str]]:
    """Every line of the document's list, in order."""
    yield 'H("This is a test!")', sha512_256(b"This is a test!").hex()
    yield "DS(offset/v1/move-token)", sha512_256(signing.DOMAIN_MOVE_TOKEN.encode()).hex()
    yield "alice", ALICE.hex()
    yield "bob", BOB.hex()
    yield "carol", CAROL.hex()
    for source in (channel_vectors, paying_vectors, index_vectors):
        for name, found in source():
            yield name, found.hex()


def test_vectors_recompute() -> None:
    block = FENCES.findall(TEXT.split("## Test vectors", 1)[1])[0]
    printed = re.sub(r"\n +", "", block.removeprefix("```\n").removesuffix("\n```"))
    assert [tuple(line.split(" = ")) for line in printed.splitlines()] == list(vectors())


def test_the_order_of_keys_is_the_one_stated() -> None:
    assert sorted((BOB, CAROL, ALICE), key=sha512_256) == [ALICE, BOB, CAROL]


@pytest.mark.parametrize("path", re.findall(r"`((?:tests|offset_engine|core)/[\w./]+)`", TEXT))
def test_files_the_document_names_exist(path: str) -> None:
    assert (ROOT / path).exists() or (ROOT / "offset_engine" / path).exists()


# --- citations ----------------------------------------------------------------------------------

CITATION = re.compile(r'PROTOCOL\.md,?((?:(?:,|\s|and)*"[^"]+")+)')


def cited(text: str) -> list[str]:
    """Headings that a docstring names after the document's name."""
    found = [re.findall(r'"([^"]+)"', group) for group in CITATION.findall(text)]
    return [" ".join(one.split()) for group in found for one in group]


def test_citations_are_found() -> None:
    text = 'Source: PROTOCOL.md, "Friends", "Index\n    servers" and "Node"; design "R1".'
    assert cited(text) == ["Friends", "Index servers", "Node"]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "offset_engine").rglob("*.py")), ids=lambda path: path.stem
)
def test_every_cited_heading_exists(path: Path) -> None:
    tree = ast.parse(path.read_text())
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
    assert [one for one in cited("\n".join(docs)) if one not in HEADINGS] == []


def test_headings_are_unique_and_sections_the_text_names_exist() -> None:
    assert len(HEADINGS) == len(set(HEADINGS))
    named = re.findall(r'(?:of|see) "([A-Z][^"]+)"', " ".join(PROSE.split()))
    assert [one for one in named if one not in HEADINGS] == []


def test_the_document_stays_readable() -> None:
    assert 500 <= TEXT.count("\n") <= 1500
