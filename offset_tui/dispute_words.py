"""The text for a friend whose card disagrees with ours: what differs, in their sign, and what to press. Pure.

Whoever reads it has no manual at hand and sees the matter from the other side: what is plus here is minus there.
Source: apps.md §5 S31 (MOB-41); PROTOCOL.md, "Inconsistency".
"""

from collections.abc import Callable
from typing import Final

from offset_engine.client import Currency, FriendReport, PublicKey
from offset_engine.text import fingerprint, format_amount, safe
from offset_tui.people import Difference, differences

_OPENING: Final = (
    "our two Offset cards disagree about what is owed between us. Nothing can pass between us until one of us"
    " accepts the other's proposal. The numbers are as your card shows them: plus means that I owe you."
)
_HOW: Final = "in Offset press 5, choose {me}, press a and read both proposals"
_PARTS: Final = ("my proposal", "your proposal", "difference")


def letter(
    friend: FriendReport,
    own: tuple[str, PublicKey],
    decimals_of: Callable[[Currency], int],
) -> str:
    """The whole text.

    Args:
        friend: who disagrees.
        own: what we call our card, and its key.
        decimals_of: digits after the point, per currency.
    """
    found = differences(friend.local_terms, friend.remote_terms)
    greeting = safe(friend.name, 40).strip()
    paragraphs = [
        f"Hello{' ' + greeting if greeting else ''},",
        _OPENING,
        *(_block(one, decimals_of(one.currency)) for one in found),
        _next(friend, own, has_amounts=bool(found)),
        "Nothing gets worse by waiting. Do not accept numbers you do not remember: ask me first.",
        safe(own[0], 40),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _block(one: Difference, decimals: int) -> str:
    mine, theirs = -one.mine, None if one.theirs is None else -one.theirs
    lines = [_line(_PARTS[0], mine, decimals, _owed)]
    if theirs is None:
        lines.append(f"  {_PARTS[1]:<15} not here yet")
    else:
        lines += [
            _line(_PARTS[1], theirs, decimals, _owed),
            _line(_PARTS[2], mine - theirs, decimals, _changed),
        ]
    return "\n".join([safe(one.currency, 24), *lines])


def _line(label: str, amount: int, decimals: int, words: Callable[[int, str], str]) -> str:
    signed = format_amount(amount, decimals, sign=True, ascii_only=True)
    return f"  {label:<15} {signed}  {words(amount, format_amount(abs(amount), decimals))}"


def _owed(balance: int, amount: str) -> str:
    if not balance:
        return "nothing is owed"
    return f"I owe you {amount}" if balance > 0 else f"you owe me {amount}"


def _changed(change: int, amount: str) -> str:
    if not change:
        return "none"
    return f"with my proposal you {'gain' if change > 0 else 'lose'} {amount}"


def _next(friend: FriendReport, own: tuple[str, PublicKey], *, has_amounts: bool) -> str:
    me = f"{safe(own[0], 40)} ({fingerprint(own[1])})"
    how = _HOW.format(me=me)
    mine = (
        f"- If my proposal is right: {how}. Press a once more and type the word it asks for: that accepts"
        " mine."
    )
    theirs = friend.remote_terms
    if theirs is None:
        rest = "- Your proposal is not here yet: leave your card online, and it comes by itself."
    elif not theirs.is_acceptable:
        rest = "- Your proposal is older than what we agreed on before, so I cannot accept it."
    else:
        rest = "- If your proposal is right: tell me, and I accept it here."
    neither = "- If neither is: tell me what you remember." if has_amounts else ""
    return "\n".join(line for line in ("What to do:", mine, rest, neither) if line)
