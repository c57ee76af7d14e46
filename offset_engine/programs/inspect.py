"""`inspect`: says what a file or pasted text is and verifies what can be verified.

`offset`, `stmgr` and `stverify` have this command. A commit or receipt is checked against its invoice
when that is among what is inspected; a failed check is a failure of the program. No secret is printed.
"""

import argparse
from collections.abc import Iterable, Sequence
from typing import Final

from offset_engine.core.signing import Commit, Invoice, Receipt
from offset_engine.core.values import InvoiceId, value
from offset_engine.disk import OtherFileError
from offset_engine.errors import FileError
from offset_engine.files import (
    PREFIX_SENTENCES,
    Artifact,
    Token,
    Verdict,
    describe,
    kind_of_content,
    load_any,
    public_values,
    read_any,
    shown,
    verify_commit,
    verify_receipt,
    verify_token,
)
from offset_engine.programs.arguments import Commands, Json, Output, RefusedError, read_input

INCOMPLETE: Final = "the seller was paid this part; completeness is not stated"
_WHAT: Final = "Say what files or pasted text are, and verify what can be verified."


def add_parser(commands: Commands) -> None:
    """Add `inspect` to the subcommands of a program; its action is `act`."""
    parser = commands.add("inspect", _WHAT)
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a file of any kind; - reads standard input"
    )


def act(args: argparse.Namespace, output: Output) -> None:
    """Do what the command line says.

    Raises:
        RefusedError: a file cannot be read or holds nothing of ours, or something does not verify.
    """
    artifacts, others, unread = _read_all(args.files)
    invoices = {
        one.content.invoice_id: one.content for one in artifacts if isinstance(one.content, Invoice)
    }
    checked = [(one, _check(one, invoices)) for one in artifacts]
    values: dict[str, Json] = {
        "artifacts": [_json(*pair) for pair in checked],
        "others": [{"what": one.what, "use": one.use} for one in others],
    }
    failures = [result.sentence for _, result in checked if result and not result.is_valid]
    if not failures + unread or ((artifacts or others) and not output.as_json):
        texts = [_text(*pair) for pair in checked]
        texts += [f"{_capital(one.what)}\n  {one.use}" for one in others]
        output.result(values, "\n\n".join(texts))
    if failures + unread:
        raise RefusedError("; ".join(unread + failures), values)


def _read_all(
    names: Sequence[str],
) -> tuple[list[Artifact], list[OtherFileError], list[str]]:
    """What is in the files, files of another sort, and a sentence for each that cannot be read.

    One of them must not hide the rest.
    """
    artifacts: list[Artifact] = []
    others: list[OtherFileError] = []
    unread = []
    for name in names:
        try:
            artifacts += _read(name)
        except OtherFileError as error:
            others.append(error)
        except FileError as error:
            unread.append(str(error))
    return artifacts, others, unread


def _read(name: str) -> list[Artifact]:
    if name != "-":
        return load_any(name)
    text = read_input(name)
    try:
        return read_any(text)
    except FileError as error:
        raise FileError(f"standard input: {error}") from None


@value
class Result:
    """What came of verifying one artifact."""

    sentence: str
    is_valid: bool = True


def verdict_sentence(kind: str, verdict: Verdict) -> str:
    """The verdict on `a commit` or `a receipt` in words."""
    if verdict.failed is not None:
        return f"the {kind} is not valid: {verdict.failed.value}"
    said = f"the {kind} is valid: {PREFIX_SENTENCES[verdict.prefix or '']}"
    return said if verdict.is_complete else f"{said}; {INCOMPLETE}"


def _result(kind: str, verdict: Verdict) -> Result:
    return Result(verdict_sentence(kind, verdict), verdict.is_valid)


def _check(artifact: Artifact, invoices: dict[InvoiceId, Invoice]) -> Result | None:
    content = artifact.content
    match content:
        case Commit() if content.invoice_id in invoices:
            verdict = verify_commit(invoices[content.invoice_id], content)
            return _result("commit", verdict)
        case Receipt() if content.invoice_id in invoices:
            verdict = verify_receipt(invoices[content.invoice_id], content)
            return _result("receipt", verdict)
        case Token():
            found = verify_token(content)
            if found.failed is not None:
                return Result(f"the token is not valid: {found.failed.value}", is_valid=False)
            return Result(f"the token is valid: {found.form}")
        case Invoice() if content.signature is not None:
            # A signature that does not fit is refused when the invoice is read.
            return Result("the invoice is signed by the key in it")
        case _:
            return None


# --- saying it ----------------------------------------------------------------------------------


def _json(artifact: Artifact, result: Result | None) -> dict[str, Json]:
    return {
        "kind": kind_of_content(artifact.content).name.lower(),
        "form": artifact.form.value,
        "fields": public_values(artifact.content),
        "proves": describe(artifact.content).proves,
        "valid": None if result is None else result.is_valid,
        "verified": None if result is None else result.sentence,
        "warnings": list(artifact.warnings),
        "unknown": list(artifact.unknown),
    }


def _text(artifact: Artifact, result: Result | None) -> str:
    said = describe(artifact.content)
    lines = [f"{_capital(said.title)} ({artifact.form})"]
    lines += [f"  {label}: {text}" for label, text in said.rows]
    lines += _listed("warning", artifact.warnings)
    if artifact.unknown:
        names = ", ".join(shown(name) for name in artifact.unknown)
        lines.append(f"  not known to this version: {names}")
    lines.append(f"  verified: {result.sentence}" if result else f"  proves: {said.proves}")
    return "\n".join(lines)


def _listed(label: str, items: Sequence[str]) -> Iterable[str]:
    return (f"  {label}: {item}" for item in items)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
