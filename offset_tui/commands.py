"""The command palette: every action of the screen one is on, every section, every page of help.

What is bound to a key is here by the same sentence, so the palette cannot know less than the keyboard.
Source: tui.md §5.
"""

from collections.abc import Callable, Iterator
from functools import partial

from textual.binding import ActiveBinding
from textual.command import DiscoveryHit, Hit, Hits, Provider

from offset_tui.screens.help import TOPICS, TopicScreen

Entry = tuple[str, str, Callable[[], object]]


class Commands(Provider):
    """See the module."""

    async def discover(self) -> Hits:
        """Before anything is typed: what this screen can do."""
        for title, words, action in self._of_screen():
            yield DiscoveryHit(title, action, help=words)

    async def search(self, query: str) -> Hits:
        """Everything that matches what was typed."""
        matcher = self.matcher(query)
        for title, words, action in (*self._of_screen(), *self._of_help()):
            score = matcher.match(f"{title} {words}")
            if score > 0:
                yield Hit(score, matcher.highlight(title), action, help=words)

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

    def _of_help(self) -> Iterator[Entry]:
        for topic, title in TOPICS:
            yield f"Help: {title}", "", partial(self._open, topic)

    def _open(self, topic: str) -> None:
        self.app.push_screen(TopicScreen(topic))


async def _run(run_action: Callable[..., object], action: str, node: object) -> None:
    done = run_action(action, node)
    if hasattr(done, "__await__"):
        await done
