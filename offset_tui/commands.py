"""The command palette: every action of the screen one is on, every section, every friend, every page of help.

What is bound to a key is here by the same sentence, so the palette cannot know less than the keyboard. What is
done about one friend is found by the friend's name from anywhere (`people_commands`).
Source: tui.md §5.
"""

from collections.abc import Callable, Iterator
from functools import partial

from rich.text import Text
from textual.binding import ActiveBinding
from textual.command import DiscoveryHit, Hit, Hits, Provider

from offset_engine.client import PublicKey
from offset_tui.app import OffsetApp
from offset_tui.people_commands import Found, Verb, found_in
from offset_tui.screens.help import TOPICS, TopicScreen
from offset_tui.state import friend_names

Entry = tuple[str, str, Callable[[], object]]


class Commands(Provider):
    """See the module."""

    _known: tuple[tuple[PublicKey, str], ...] | None = None

    async def discover(self) -> Hits:
        """Before anything is typed: what this screen can do."""
        for title, words, action in self._of_screen():
            yield DiscoveryHit(title, action, help=words)

    async def search(self, query: str) -> Hits:
        """Everything that matches what was typed."""
        matcher = self.matcher(query)
        entries = (*self._of_screen(), *self._of_people(), *self._of_help())
        for title, words, action in entries:
            score = matcher.match(f"{title} {words}")
            if score > 0:
                yield Hit(score, matcher.highlight(title), action, help=words)
        for one in found_in(query, self._names()):
            shown = Text(self._plain(one.title))
            yield Hit(one.score, shown, partial(self._go_to, one), help=one.verb.help)

    def _names(self) -> tuple[tuple[PublicKey, str], ...]:
        """What friends are called, as long as the palette is open."""
        app = self.app
        if self._known is None and isinstance(app, OffsetApp) and app.has_session:
            names = friend_names(app.session.snapshot.report)
            self._known = tuple(sorted(names.items(), key=lambda one: one[1].casefold()))
        return self._known or ()

    async def _go_to(self, found: Found) -> None:
        """Open the friend, then do what was chosen."""
        app = self.app
        if isinstance(app, OffsetApp) and app.has_session:
            await go_to_friend(app, found.friend, found.verb)

    async def _invite(self) -> None:
        from offset_tui.screens.invite import InviteScreen  # noqa: PLC0415 - drawn only then

        app = self.app
        if isinstance(app, OffsetApp):
            app.action_section("friends")
            await app.push_screen(InviteScreen())

    def _of_screen(self) -> Iterator[Entry]:
        """Actions with a key here: the screen's own first, those that work everywhere last."""
        screen = self.screen
        seen: set[str] = set()
        found = sorted(screen.active_bindings.values(), key=self._distance)
        for active in found:
            binding = active.binding
            name = binding.id or binding.action
            words = binding.tooltip or ""
            if name in seen or not words or not active.enabled:
                continue
            seen.add(name)
            title = f"{words.rstrip('.')}  ({self.app.get_key_display(binding)})"
            yield title, "", partial(_run, screen.app.run_action, binding.action, active.node)

    def _distance(self, active: ActiveBinding) -> int:
        """0 for the screen's own, 1 for what has the focus, 2 for what works everywhere."""
        return 0 if active.node is self.screen else 2 if active.node is self.app else 1

    def _of_people(self) -> Iterator[Entry]:
        app = self.app
        if isinstance(app, OffsetApp) and app.has_session:
            yield self._plain("Invite somebody …"), "Make an invite to send.", self._invite

    def _plain(self, title: str) -> str:
        app = self.app
        is_ascii = isinstance(app, OffsetApp) and app.options.is_ascii
        return title.replace("…", "...") if is_ascii else title

    def _of_help(self) -> Iterator[Entry]:
        for topic, title in TOPICS:
            yield f"Help: {title}", "", partial(self._open, topic)

    def _open(self, topic: str) -> None:
        self.app.push_screen(TopicScreen(topic))


async def go_to_friend(app: OffsetApp, key: PublicKey, verb: Verb) -> None:
    """Open a friend and do something there; which currency is meant is asked by the screen itself."""
    from offset_tui.screens.friend import FriendScreen  # noqa: PLC0415 - drawn only then

    app.action_section("friends")
    screen = FriendScreen(key)
    await app.push_screen(screen)
    friend = app.session.snapshot.friend(key)
    if friend is None or not verb.action:
        return
    if verb.key and len(friend.currencies) > 1:
        screen.flash(f"choose the currency, then press {verb.key}")
        return
    await screen.run_action(verb.action)


async def _run(run_action: Callable[..., object], action: str, node: object) -> None:
    done = run_action(action, node)
    if hasattr(done, "__await__"):
        await done
