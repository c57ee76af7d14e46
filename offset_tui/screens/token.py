"""Balances somebody signed: who signed what, and whether it holds.

Source: apps.md §7.4.
"""

from rich.text import Text

from offset_engine.files import Token
from offset_tui import proof_words, reviews
from offset_tui.screens.money import MoneyScreen
from offset_tui.session import Snapshot

_OLDER = (
    "Such a file is signed on every change of balances. The one with the highest number counts."
)


@reviews.reviews(Token)
class TokenScreen(MoneyScreen):
    """See the module."""

    SECTION = "friends"
    TOPIC = "friends"
    PARTS = ("title", "verdict", "facts", "more")

    def __init__(self, token: Token) -> None:
        super().__init__()
        self.token = token

    def show(self, snapshot: Snapshot) -> None:
        """Draw."""
        proof = proof_words.judge_token(self.token, snapshot.report)
        decimals = [(currency, self.decimals(currency)) for currency, _ in self.token.info.balances]
        self.put("title", self.head("Signed balances"))
        self.put("verdict", self.verdict(proof.title, proof.because, is_good=proof.is_good))
        self.put("facts", self.facts(proof_words.token_rows(self.token, snapshot.report, decimals)))
        self.put("more", Text(_OLDER, "dim"))
