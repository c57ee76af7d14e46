"""Taking servers from the list of this computer, after a look. Source: `offset_tui.known_servers`."""

from offset_engine.client import Batch
from offset_tui import known_servers
from offset_tui.dialogs.base import Confirm
from offset_tui.screens.base import CardScreen


async def use_known(screen: CardScreen) -> bool:
    """Show what would be used, and have the card use it; says what is in the way. Call it in a worker."""
    if not screen.may_change():
        return False
    is_read, listed = await screen.do(screen.host.door.known_servers())
    if not is_read or listed is None:
        return False
    if not listed:
        screen.flash(f"this computer has no list of servers: {known_servers.path()} can name some")
        return False
    report = screen.session.snapshot.report
    places = known_servers.chosen(listed, report, screen.host.random_bytes)
    if not places:
        screen.flash("this card needs nothing of this computer's list of servers")
        return False
    lines = (
        f"From the list of servers on this computer:\n\n{known_servers.words(places)}\n\nUse them?"
    )
    if not await screen.host.push_screen_wait(Confirm("Servers", lines, "Use them", "y")):
        return False
    is_done, _ = await screen.do(_use(screen, places), "added; connecting now")
    return is_done


async def _use(screen: CardScreen, places: tuple[known_servers.Place, ...]) -> None:
    commands = known_servers.commands(screen.session.snapshot.report, places)
    await screen.session.client.command(Batch(commands))
