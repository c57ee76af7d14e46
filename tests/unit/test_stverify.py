"""`stverify`, `inspect` and `convert`: verdicts, wording, exit codes, and that nothing is changed."""

import argparse
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from offset_engine import files, qr
from offset_engine.core.values import PrivateKey
from offset_engine.errors import FileError, OffsetError
from offset_engine.files import Kind, Role, Style, Ticket
from offset_engine.programs import VERSION, self_test, stmgr, stverify
from tests.covers import covers
from tests.unit.test_files_kinds import EXAMPLES, changed, key, only, ours
from tests.unit.test_text_forms import ARMOURED, INVITE, SIGNED

ROOT = Path(__file__).parent.parent.parent
CASES: list[dict[str, Any]] = json.loads(
    (ROOT / "tests" / "vectors" / "artifacts.json").read_text()
)["cases"]
PREFIXES = {
    "FUNDS_RESPONSE": "signed as the documentation says (FUNDS_RESPONSE)",
    "FUND_RESPONSE": "signed as the program of 2020 did (FUND_RESPONSE)",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file of every kind, named by it."""
    for kind, values in EXAMPLES.items():
        (tmp_path / kind.name.lower()).write_text(json.dumps(values))
    return tmp_path


def put(folder: Path, name: str, values: object) -> str:
    path = folder / name
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return str(path)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- receipts and commits -----------------------------------------------------------------------


@covers("VFY-02", "VFY-03", "VFY-05", "VFY-06", "FIX-30")
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['prefix']} {c['case']}")
@pytest.mark.parametrize("style", Style)
def test_every_case_of_the_vectors(
    case: dict[str, Any], style: Style, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    invoice = str(folder / "invoice")
    for kind, flag in (("commit", "-c"), ("receipt", "-r")):
        if kind not in case:
            continue
        path = put(folder, "proof", files.to_json(only(case[kind]), style))
        code = stverify.main([f"verify-{kind}", "-i", invoice, flag, path])
        out, err = capsys.readouterr()
        if not case["expect"].startswith("valid"):
            assert (code, out) == (1, "")
            assert err.startswith(f"stverify: the {kind} is not valid: ")
            continue
        assert code == 0
        assert f"the {kind} is valid: {PREFIXES[case['prefix']]}" in out
        is_warned = "completeness is not stated" in err and "completeness is not stated" in out
        assert is_warned == ("warning" in case["expect"])


@covers("VFY-04", "FIX-07")
@pytest.mark.parametrize(
    ("change", "failed", "said"),
    [
        ({"invoiceId": "A" * 43}, "invoice_id", "it belongs to another invoice"),
        ({"currency": "EUR"}, "currency", "its currency is not the invoice's"),
        ({"totalDestPayment": "1250001"}, "total", "its total is not the invoice's amount"),
        ({"destPayment": "1250001"}, "part", "the part is larger than the total"),
        ({"destPayment": "1249999"}, "signature", "the seller's signature does not fit"),
        ({"srcPlainLock": "A" * 43}, "signature", "the seller's signature does not fit"),
    ],
)
def test_each_failed_check_has_its_own_sentence(
    change: dict[str, str],
    failed: str,
    said: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    invoice = str(folder / "invoice")
    for kind, one, flag in ((Kind.COMMIT, "commit", "-c"), (Kind.RECEIPT, "receipt", "-r")):
        path = put(folder, "proof", {**EXAMPLES[kind], **change})
        flags = [f"verify-{one}", "--invoice", invoice, flag, path, "--json"]
        assert stverify.main(flags) == 1
        out, err = capsys.readouterr()
        found = json.loads(out)
        assert (found["valid"], found["failed"], found["prefix"]) == (False, failed, None)
        assert said in found["error"]
        assert err == f"stverify: {found['error']}\n"


def test_json_says_what_was_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["-i", str(folder / "invoice"), "-r", str(folder / "receipt"), "--json"]
    assert stverify.main(["verify-receipt", *flags]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "valid": True,
        "failed": None,
        "prefix": "FUND_RESPONSE",
        "complete": True,
        "amount": "1250000",
        "this_part": "1250000",
        "currency": "USD",
        "decimals": None,
        "seller": EXAMPLES[Kind.INVOICE]["destPublicKey"],
    }
    assert err == ""


def test_what_a_proof_is_about_is_said_below_the_verdict(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for one, flag in (("commit", "-c"), ("receipt", "-r")):
        invoice, proof = str(folder / "invoice"), str(folder / one)
        assert stverify.main([f"verify-{one}", "-i", invoice, flag, proof]) == 0
        first, *rows = capsys.readouterr().out.splitlines()
        assert first.startswith(f"the {one} is valid: ")
        assert rows[0] == '  amount: 1250000 credits "USD"'
        assert rows[-1] == f"  seller: {EXAMPLES[Kind.INVOICE]['destPublicKey']}"


def test_pasted_texts_do_as_well_as_files(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    invoice = put(folder, "chat", f"> Alice, 14:03: {ARMOURED}\n")
    receipt = files.to_qr_text(only(EXAMPLES[Kind.RECEIPT])).lower()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(receipt.encode())))
    assert stverify.main(["verify-receipt", "-i", invoice, "-r", "-"]) == 0
    assert "the receipt is valid" in capsys.readouterr().out


# --- invoices -----------------------------------------------------------------------------------


@covers("FIX-31")
def test_an_invoice_is_signed_unsigned_or_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signed = put(folder, "signed", files.to_json(SIGNED))
    assert stverify.main(["verify-invoice", "-i", signed]) == 0
    out, err = capsys.readouterr()
    assert "the invoice is valid: signed by the seller's key in it, 3f3fFXgZ" in out
    assert err == "stverify: warning: the invoice has expired\n"
    assert stverify.main(["verify-invoice", "-i", str(folder / "invoice"), "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["signed"] is False
    assert "unsigned (original format)" in err
    damaged = put(folder, "damaged", files.to_json(SIGNED).replace("chocolate", "Chocolate"))
    assert stverify.main(["verify-invoice", "-i", damaged]) == 1
    assert "something in it was changed" in capsys.readouterr().err


# --- tokens -------------------------------------------------------------------------------------


@covers("VFY-01")
def test_a_token_is_printed_as_the_original_did(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stverify.main(["verify-token", "--token", str(folder / "token")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "the token is valid: signed as the program of 2020 did (NEXT)",
        "",
        f"local_public_key: {EXAMPLES[Kind.TICKET]['publicKey']}",
        "remote_public_key: ck2goUMTxvNmVlngwtZjUq2CQP9-V6giERhGm4BD7uA",
        "inconsistency_counter: 0",
        "move_token_counter: 7",
        "- USD: balance=1250000, lpd=0, rpd=0",
    ]


@covers("VFY-01")
def test_a_token_is_compared_with_friend_me_and_an_older_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = put(folder, "ours", files.to_json(ours(7)))
    older = put(folder, "older", files.to_json(ours(6)))
    newer = put(folder, "newer", files.to_json(ours(8)))
    me = put(folder, "me.ident", {"privateKey": PrivateKey(bytes([2]) * 32).to_text()})
    friend = key(1).to_text()
    flags = ["verify-token", "-t", token, "--friend", friend, "--me", me]
    assert stverify.main([*flags, "--since", older]) == 0
    out = capsys.readouterr().out
    assert "signed as this program does" in out
    assert "- EUR: balance=-5, lpd=1, rpd=2" in out
    assert "from your side:\n- EUR: balance=5, lpd=2, rpd=1\n- USD: balance=-9" in out
    assert stverify.main([*flags, "--since", newer]) == 1
    assert "it is older than the one you hold" in capsys.readouterr().err
    assert stverify.main([*flags[:3], "--friend", me]) == 1
    assert "by another key than the expected friend's" in capsys.readouterr().err
    ticket = put(folder, "some.ticket", {"publicKey": friend, "address": "a:1"})
    assert stverify.main([*flags[:3], "--friend", ticket, "--me", friend]) == 1
    assert "it is about somebody else than you" in capsys.readouterr().err
    assert stverify.main([*flags[:3], "--friend", str(folder / "invoice")]) == 1
    assert "expected one public key" in capsys.readouterr().err
    assert stverify.main([*flags, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["signed_as"], found["move_token_counter"]) == ("ours", 7)
    assert found["from_my_side"][1]["balance"] == "-9"


def test_a_damaged_token_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(folder, "x", changed(Kind.TOKEN, "token_info.counters.move_token_counter", "8"))
    assert stverify.main(["verify-token", "-t", path]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        "stverify: the token is not valid: the signature does not fit: something was changed\n",
    )


# --- self-test ----------------------------------------------------------------------------------


@covers("VFY-07")
def test_the_self_test_knows_right_from_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stverify.main(["self-test"]) == 0
    assert capsys.readouterr().out == "23 examples came out as they should\n"
    assert stverify.main(["self-test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"examples": 23, "failed": []}
    monkeypatch.setattr(self_test, "verify_receipt", lambda _i, _r: files.Verdict(None))
    assert stverify.main(["self-test", "-v"]) == 1
    err = capsys.readouterr().err
    assert "do not trust this installation" in err
    assert "wrong: receipt: another currency" in err


# --- wrong input --------------------------------------------------------------------------------


@covers("FIX-07")
@pytest.mark.parametrize("command", ["verify-receipt", "verify-commit", "verify-token", "inspect"])
def test_wrong_input_is_one_sentence_and_changes_nothing(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = {
        "verify-receipt": ["-i", str(folder / "invoice"), "-r"],
        "verify-commit": ["-i", str(folder / "invoice"), "-c"],
        "verify-token": ["-t"],
        "inspect": [],
    }[command]
    both = {**EXAMPLES[Kind.RECEIPT], "dest_payment": "1"}
    wrong = {
        "none": None,
        "truncated": json.dumps(EXAMPLES[Kind.RECEIPT])[:-40],
        "both spellings": both,
        "1e3": {**EXAMPLES[Kind.RECEIPT], "destPayment": "1e3"},
        "currency": {**EXAMPLES[Kind.RECEIPT], "currency": "x" * 17},
        "empty": "",
        "words": "hello",
        "binary": None,
    }
    for name, values in wrong.items():
        path = str(folder / "wrong")
        if values is not None:
            put(folder, "wrong", values)
        elif name == "binary":
            (folder / "wrong").write_bytes(b"\xff\x00")
        before = snapshot(folder)
        assert stverify.main([command, *flags, path]) == 1, name
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith((f"stverify: {path}: ", "stverify: cannot read"))
        assert err.count("\n") == 1
        assert snapshot(folder) == before
    if command != "inspect":
        assert stverify.main([command, *flags, str(folder / "payment")]) == 1
        assert "this is a payment handle, but a" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["verify-receipt", "-i", "a"],
        ["verify-token"],
        ["verify-commit", "-i", "a", "-r", "b"],
        ["inspect"],
        ["self-test", "more"],
    ],
)
def test_a_wrong_command_line_shows_the_usage(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        stverify.main(argv)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: stverify")


@covers("MGR-09")
def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for flag, said in (("-V", f"stverify {VERSION}\n"), ("-h", "usage: stverify")):
        with pytest.raises(SystemExit) as caught:
            stverify.main([flag])
        assert caught.value.code == 0
        assert capsys.readouterr().out.startswith(said)


# --- inspect ------------------------------------------------------------------------------------


@covers("MGR-11")
@pytest.mark.parametrize("kind", EXAMPLES)
@pytest.mark.parametrize("program", [stmgr, stverify])
def test_inspect_names_every_kind_and_prints_no_secret(
    kind: Kind, program: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(folder / kind.name.lower())
    assert program.main(["inspect", path]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(kind.value[:1].upper() + kind.value[1:] + " (JSON)\n")
    assert program.main(["inspect", "--json", path]) == 0
    as_json = capsys.readouterr().out
    [found] = json.loads(as_json)["artifacts"]
    assert (found["kind"], found["form"]) == (kind.name.lower(), "JSON")
    for name in ("privateKey", "appPrivateKey", "srcPlainLock", "destPlainLock"):
        if name in EXAMPLES[kind]:
            assert EXAMPLES[kind][name] not in out + as_json


def test_inspect_checks_a_receipt_against_the_invoice_beside_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [str(folder / name) for name in ("invoice", "commit", "receipt", "token")]
    assert stverify.main(["inspect", *good]) == 0
    out = capsys.readouterr().out
    assert "verified: the receipt is valid: signed as the program of 2020 did" in out
    assert "verified: the commit is valid" in out
    bad = put(folder, "bad", {**EXAMPLES[Kind.RECEIPT], "destPayment": "5"})
    assert stverify.main(["inspect", *good, bad]) == 1
    out, err = capsys.readouterr()
    assert "verified: the receipt is not valid" in out
    assert "stverify: the receipt is not valid: the seller's signature does not fit" in err
    assert stverify.main(["inspect", "--json", *good, bad]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["valid"] for one in found["artifacts"]] == [None, True, True, True, False]
    assert found["error"].startswith("the receipt is not valid")


def test_inspect_says_what_it_can_although_a_file_is_none_of_ours(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = put(folder, "other", "hello")
    assert stverify.main(["inspect", other, str(folder / "invoice"), str(folder / "none")]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("An invoice (JSON)\n")
    assert f"stverify: {other}: this is not one of our files" in err
    assert "none: there is no such file or directory" in err


def test_inspect_reads_pasted_text_from_standard_input() -> None:
    text = f"Alice, 14:03: {ARMOURED}\n> {files.to_text(INVITE)}\n"
    done = subprocess.run(
        [sys.executable, "-m", "offset_engine.programs.stverify", "inspect", "-"],
        cwd=ROOT,
        input=text.encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode()
    assert "An invoice (text)" in said
    assert "An invite (text)" in said
    assert 'offers you a limit of: 500.00 "USD" (50000 credits "USD")' in said


def test_inspect_reports_what_is_odd_and_unknown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = {**EXAMPLES[Kind.APP_TICKET], "permissions": {}, "no\x1bte": 1}
    assert stverify.main(["inspect", put(folder, "odd", odd)]) == 0
    out = capsys.readouterr().out
    assert 'warning: field "permissions.buyer" is missing and counts as false' in out
    assert 'not known to this version: "no\\x1bte"' in out


# --- convert ------------------------------------------------------------------------------------


def convert(*argv: str) -> int:
    return stmgr.main(["convert", *argv])


@covers("MGR-11", "FIX-32")
def test_convert_turns_one_spelling_into_the_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receipt = only(EXAMPLES[Kind.RECEIPT])
    path, out = str(folder / "receipt"), str(folder / "out")
    for form in ("stctrl", "both", "mobile"):
        assert convert("-i", path, "-o", out, "--to", form, "--force") == 0
        assert (folder / "out").read_text() == files.to_json(receipt, Style(form)) + "\n"
    assert convert("-i", out, "--to", "line") == 0
    assert capsys.readouterr().out == files.to_json_line(receipt) + "\n"
    assert convert("-i", out, "-o", path) == 1
    assert "exists already" in capsys.readouterr().err


@covers("MGR-11")
def test_convert_writes_texts_and_codes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit = only(EXAMPLES[Kind.COMMIT])
    path = str(folder / "commit")
    for form, expected in (
        ("text", files.to_text(commit)),
        ("qr-text", files.to_qr_text(commit)),
        ("qr", qr.half_blocks(files.to_qr_text(commit))),
        ("ascii", qr.ascii_art(files.to_qr_text(commit))),
    ):
        assert convert("-i", path, "--to", form) == 0
        assert capsys.readouterr().out == expected + "\n"
    assert convert("-i", path, "--to", "qr-text", "--chars", "120") == 0
    parts = capsys.readouterr().out
    assert parts.splitlines() == files.to_qr_parts(commit, 120)
    assert convert("-i", put(folder, "parts", parts), "--to", "mobile", "--json") == 0
    assert json.loads(json.loads(capsys.readouterr().out)["text"]) == EXAMPLES[Kind.COMMIT]
    assert convert("-i", path, "--to", "png", "-o", str(folder / "code.png")) == 0
    assert (folder / "code.png").read_bytes().startswith(b"\x89PNG")


def test_convert_takes_a_relays_ticket_out_of_servers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for role, name in (("relay", "relay"), ("index", "index")):
        assert convert("-i", str(folder / "servers"), "--as", role, "--to", "line") == 0
        assert json.loads(capsys.readouterr().out) == EXAMPLES[Kind.SERVERS][name]
    assert convert("-i", str(folder / "ticket"), "--as", "relay", "--to", "text") == 0
    [artifact] = files.read_any(capsys.readouterr().out)
    assert isinstance(artifact.content, Ticket)
    assert artifact.content.role is Role.RELAY
    assert convert("-i", str(folder / "invoice"), "--as", "relay", "--to", "text") == 1
    assert "this is an invoice, but a relay's ticket is needed here" in capsys.readouterr().err


def test_convert_never_prints_a_secret(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(folder)
    for kind in ("identity", "remote_card"):
        for form in ("mobile", "line", "qr", "ascii", "png"):
            assert convert("-i", str(folder / kind), "--to", form) == 1
            out, err = capsys.readouterr()
            assert out == ""
            assert "name a file with -o" in err
        assert convert("-i", str(folder / kind), "--to", "text", "-o", str(folder / "x")) == 1
        assert "has no text form" in capsys.readouterr().err
    assert snapshot(folder) == before
    assert convert("-i", str(folder / "identity"), "-o", str(folder / "copy"), "-v") == 0
    assert EXAMPLES[Kind.IDENTITY]["privateKey"] not in capsys.readouterr().err
    if sys.platform != "win32":
        assert (folder / "copy").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["-i", "{ticket}", "--to", "text"], "say which it is"),
        (["-i", "{app_ticket}", "--to", "qr"], "has no text form"),
        (["-i", "{commit}", "--to", "qr-text", "--chars", "30"], "does not fit into 8 QR codes"),
        (["-i", "{none}"], "no such file"),
        (["-i", "{two}"], "there are 2 artifacts in it"),
        (["-i", "{commit}", "--to", "text", "-o", "{none}/x"], "cannot write"),
    ],
)
def test_convert_says_what_it_cannot_do(
    argv: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(folder, "two", f"{ARMOURED} {ARMOURED}")
    before = snapshot(folder)
    names = {name: str(folder / name) for name in ("none", "two", "ticket", "app_ticket", "commit")}
    assert convert(*(one.format(**names) for one in argv)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    "argv", [["--to", "text"], ["-i", "a", "--to", "x"], ["-i", "a", "--chars", "x"]]
)
def test_convert_shows_its_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        convert(*argv)
    assert caught.value.code == 2
    assert "usage: stmgr convert" in capsys.readouterr().err


# --- QR drawings --------------------------------------------------------------------------------


def test_drawings_show_the_same_code() -> None:
    blocks = qr.half_blocks("OFFSET1:ABC", border=2).splitlines()
    rows = qr.ascii_art("OFFSET1:ABC", border=2).splitlines()
    dark = {" ": (1, 1), "█": (0, 0), "▀": (0, 1), "▄": (1, 0)}
    drawn = []
    for line in blocks:
        drawn.append([dark[one][0] for one in line])
        drawn.append([dark[one][1] for one in line])
    expected = [[int(row[at] == "#") for at in range(0, len(row), 2)] for row in rows]
    assert drawn[: len(expected)] == expected
    assert all(not any(row) for row in drawn[len(expected) :])
    assert len(expected) == len(expected[0]) == 21 + 4
    assert expected[2][2:9] == [1] * 7
    colored = qr.half_blocks("OFFSET1:ABC", border=2, has_colors=True).splitlines()
    assert [line.removesuffix("\x1b[0m").rpartition("m")[2] for line in colored] == blocks


def test_what_fits_no_code_is_refused() -> None:
    for draw in (qr.half_blocks, qr.ascii_art, qr.png):
        with pytest.raises(FileError, match="too long for a QR code"):
            draw("A" * 4_297)
        with pytest.raises(FileError, match="nothing to draw"):
            draw("")


def test_the_actions_of_inspect_are_open_to_other_programs() -> None:
    from offset_engine.programs import inspect  # noqa: PLC0415 - the name of a standard module
    from offset_engine.programs.arguments import Output, Parser  # noqa: PLC0415

    parser = Parser("offset", "test")
    inspect.add_parser(parser.commands())
    args = parser.parse_args(["inspect", "a", "-"])
    assert (args.command, args.files) == ("inspect", ["a", "-"])
    with pytest.raises(OffsetError):
        inspect.act(argparse.Namespace(files=[""]), Output("x", as_json=False, verbose=False))
