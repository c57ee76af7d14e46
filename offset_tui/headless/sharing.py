"""`share`: what a card hands out. `qr`: anything of ours as a QR code, without any card.

Source: apps.md §5 (Share), §7.5; design R9; tui.md §10, §11.
"""

import argparse
import os

from offset_engine.disk import write_bytes
from offset_engine.errors import FileError
from offset_engine.files import (
    Content,
    Terms,
    is_secret,
    kind_of_content,
    to_qr_text,
    to_text,
    write,
)
from offset_engine.introducing import NONCE_BYTES, invite_to, own_card
from offset_engine.programs.arguments import Commands, Json, Output, UsageError
from offset_engine.programs.control.session import NotPossibleError, need_new
from offset_engine.programs.convert import drawn_for, png_of
from offset_engine.text import fingerprint_words
from offset_tui import people, servers
from offset_tui.headless import flags
from offset_tui.headless.artifacts import given, kinds
from offset_tui.headless.printing import merged
from offset_tui.headless.session import Twin, add_command


def add_parsers(commands: Commands) -> None:
    """Add the commands."""
    share = add_command(
        commands,
        "share",
        "Print your friend card, your servers, or an invite for somebody.",
        _share,
    )
    what = share.add_mutually_exclusive_group()
    what.add_argument(
        "--servers", action="store_true", help="the relay and the index server you use"
    )
    what.add_argument(
        "--invite",
        nargs=2,
        metavar=("CURRENCY", "LIMIT"),
        help="an invite: whoever answers it may owe you up to LIMIT",
    )
    share.add_argument("--name", type=flags.a_name, metavar="NAME", help="whom the invite is for")
    flags.add_decimals(share)
    flags.add_out(share, "it")
    share.add_argument("--qr", action="store_true", help="draw it as a QR code as well")
    _add_qr(commands.add("qr", "Draw anything of ours as a QR code; needs no card."))


def _add_qr(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "artifact", metavar="ARTIFACT", help="a file, the text itself, or - for input"
    )
    parser.add_argument("--png", metavar="FILE", help="write a picture instead of drawing it here")
    parser.add_argument("--ascii", action="store_true", help="draw it with # signs, for paper")
    parser.add_argument("--force", action="store_true", help="replace the picture if it exists")
    parser.set_defaults(twin=_qr, refuse=parser.error)


# --- share --------------------------------------------------------------------------------------


async def _share(twin: Twin) -> None:
    args = twin.args
    if args.name is not None and args.invite is None:
        raise UsageError("--name says whom an invite is for: give --invite too")
    if args.out is not None:
        need_new(args.out)
    if args.invite is not None:
        await _invite(twin)
    elif args.servers:
        content = servers.own_servers(twin.report)
        if content is None:
            raise NotPossibleError(
                "this card has no relay or no index server yet: offset accept takes the text of some"
            )
        _hand_out(twin, content, "whoever should use the same servers gives this to offset accept")
    else:
        card = own_card(twin.report, twin.session.name)
        _hand_out(twin, card, "whoever wants to be your friend gives this to offset friend add")


async def _invite(twin: Twin) -> None:
    typed_currency, typed_limit = twin.args.invite
    try:
        currency = flags.a_currency(typed_currency)
        flags.an_amount(typed_limit)
    except argparse.ArgumentTypeError as error:
        raise UsageError(str(error)) from None
    digits = twin.digits(currency)
    limit = twin.amount(typed_limit, currency, digits)
    terms = (Terms(currency, digits, limit),)
    name = twin.args.name or ""
    nonce = os.urandom(NONCE_BYTES)
    created_s = twin.now_ms // 1_000
    invite, sent = invite_to(twin.report, twin.session.name, terms, created_s, name, nonce=nonce)
    await twin.session.use_currency(currency, digits)
    await twin.keep(twin.session.notebook.with_invite(sent))
    who = name or "them"
    amount = people.money(limit, currency, digits)
    _hand_out(
        twin,
        invite,
        f"send this to {who} alone: whoever has it can answer it, and may then owe you up to {amount}; "
        "give what comes back to offset accept",
    )


def _hand_out(twin: Twin, content: Content, what_next: str) -> None:
    if twin.args.out is not None:
        write(twin.args.out, content)
    text = to_text(content)
    words = fingerprint_words(twin.report.local_public_key)
    values: dict[str, Json] = {
        "kind": kind_of_content(content).name.lower(),
        "text": text,
        "qr_text": to_qr_text(content),
        "words": words,
        "output": twin.args.out,
    }
    drawn = ""
    if twin.args.qr and not twin.output.as_json:
        drawn = f"\n\n{drawn_for(content, twin.output)}"
    twin.output.result(merged(values), f"{text}{drawn}")
    twin.say([what_next, f"your words, to compare by voice: {words}"])


# --- qr -----------------------------------------------------------------------------------------


def _qr(args: argparse.Namespace, output: Output) -> None:
    found = given(args.artifact)
    if len(found) > 1:
        raise FileError(f"there are several things in it ({kinds(found)}); give one at a time")
    (content,) = found
    values: dict[str, Json] = {"kind": kind_of_content(content).name.lower()}
    if args.png is not None:
        write_bytes(args.png, png_of(content), secret=is_secret(content), force=args.force)
        output.result({**values, "output": args.png}, f"wrote {args.png}")
        return
    if is_secret(content):
        raise FileError("this holds a secret and is not drawn here: name a picture with --png")
    values["qr_text"] = to_qr_text(content)
    text = "" if output.as_json else drawn_for(content, output, is_ascii=args.ascii)
    output.result(values, text)
