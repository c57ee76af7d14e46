"""Asking once more before a limit is given that is far above what was given so far.

Source: tui.md §9 (danger ladder); `offset_tui.ceilings`.
"""

from collections.abc import Sequence
from typing import Final

from offset_engine.introducing import Grant
from offset_tui import ceilings
from offset_tui.dialogs.base import Confirm
from offset_tui.screens.base import CardScreen

_TITLE: Final = "A high limit"


async def may_trust_so_much(
    screen: CardScreen, who: str, grants: Sequence[tuple[Grant, int]]
) -> bool:
    """Whether each of these limits is meant; asks only about those that are unusually high.

    Args:
        screen: who asks; call it in a worker.
        who: whom the limits are for, as sentences call them.
        grants: each with the decimals its currency has.
    """
    session = screen.session
    for grant, decimals in grants:
        invites = session.notebook.invites
        largest = ceilings.largest_given(session.snapshot.report, grant.currency, invites)
        if not ceilings.is_high(grant.max_debt, largest, decimals):
            continue
        words = ceilings.question(who, grant.max_debt, largest, grant.currency, decimals)
        if not await screen.host.push_screen_wait(Confirm(_TITLE, words, "It is meant", "y")):
            return False
    return True
