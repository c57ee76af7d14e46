"""Whether a card stays online when its terminal goes: asked once over SSH, changed later under Settings.

Source: design R47; issue of the app, "Process shape".
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from offset_engine.errors import OffsetError
from offset_tui.dialogs.pick import Decide
from offset_tui.doors import CardKind, OpenCard

if TYPE_CHECKING:
    from offset_tui.app import OffsetApp

_QUESTION: Final = (
    "You came over SSH. When this terminal goes, shall the card stay online, so that friends can pay"
    " through it and payments go on? `offset` brings you back to it; q can always take it offline."
)
_CHOICES: Final = (
    ("yes", "Yes, stay online in the background"),
    ("no", "No, only while the app is open"),
)


def is_open_question(app: "OffsetApp", card: OpenCard) -> bool:
    """Whether the terminal may go any time and the owner was not asked yet."""
    return (
        app.door.is_over_ssh
        and card.kind is CardKind.LOCAL
        and card.settings.stays_online is None
        and not app.options.is_read_only
    )


async def ask(app: "OffsetApp") -> None:
    """Ask, and do it; whoever does not answer is asked the next time. Call it in a worker."""
    choice = await app.push_screen_wait(Decide("Stay online?", _QUESTION, _CHOICES))
    if choice is not None:
        await decide(app, stays=choice == "yes")


async def decide(app: "OffsetApp", *, stays: bool) -> None:
    """Have the open card run in the background from now on, or only while the app is open."""
    session = app.session
    try:
        if stays:
            await app.use_card(await app.door.leave_running(session.name), goes_home=False)
            app.tell("the card now stays online when this terminal goes")
        else:
            await session.save_settings(replace(session.settings, stays_online=False))
    except OffsetError as problem:
        app.tell(str(problem), is_error=True)
