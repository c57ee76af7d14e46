"""Bob pays Dan through Carol: three people, three terminals, three stores, one `offset serve`, texts and keys only.

Everything runs in processes of its own, and the worst that happens to processes and terminals happens here.
"""

import signal
from collections.abc import Iterator

import pytest

from tests.e2e import people_at_terminals as people
from tests.e2e.people_at_terminals import Owner
from tests.e2e.tmux_screen import Tmux, command_line, needs_tmux, terminals, until

pytestmark = needs_tmux

ATTACHED_S = 2.0
"""From the first paint until a card that runs already is shown, at most."""


class Scene:
    """Bob and Dan are friends of Carol, who charges 0.5 % + 0.01 and whose card runs in the background."""

    def __init__(self, tmux: Tmux) -> None:
        self.bob, self.carol, self.dan = (Owner(tmux, name) for name in ("Bob", "Carol", "Dan"))
        self.acts: dict[str, int] = {}

    @property
    def owners(self) -> tuple[Owner, ...]:
        return self.bob, self.carol, self.dan

    def begin(self, servers: str) -> None:
        bob, carol, dan = self.owners
        bob.start()
        carol.start()
        dan.start()
        people.use_servers(carol, servers)
        carol.pane.act("Enter")
        invite = people.fill_invite(carol, "Bob", "150")
        people.begin(bob, invite, "Somebody invites you")
        answer = people.accept(bob, "200")
        carol.pane.act("q")
        carol.pane.wait_for("Invite a friend")
        people.finish(carol, answer, "Bob")
        self.acts = {"inviter": carol.pane.acts, "invited": bob.pane.acts}
        bob.pane.wait_for("150.00 200.00")
        carol.pane.wait_for("200.00 150.00")

        carol.pane.keys("n")
        carol.pane.wait_for("Invite a friend: you send one text")
        carol.pane.keys("Enter")
        people.begin(dan, people.fill_invite(carol, "Dan", "150"), "Somebody invites you")
        answer = people.accept(dan, "200")
        carol.pane.keys("q")
        carol.pane.wait_for(people.HOME)
        people.finish(carol, answer, "Dan")
        dan.pane.wait_for("friends 1/1")
        people.charge(carol, "0.5% + 0.01")
        carol.leave_running()


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with terminals() as tmux:
        made = Scene(tmux)
        try:
            made.begin(people.serve(tmux))
            yield made
        finally:
            for one in made.owners:
                one.end()


def test_friends_by_texts_in_few_interactions(scene: Scene) -> None:
    assert scene.acts["inviter"] <= 8
    assert scene.acts["invited"] <= 5


def test_bob_pays_dan_through_carol(scene: Scene) -> None:
    bob, _, dan = scene.owners
    invoice = people.sell(dan, "10.00")
    people.ask_fee(bob, invoice, "10.00", "0.06 OUSD (0.60 %)")
    assert "Agree and pay 10.06 OUSD (P)" in bob.pane.screen
    commit = people.agree(bob)
    people.collect(dan, commit, "10.00")
    people.is_paid(bob, "10.00", "10.06")
    assert dan.pane.acts <= 3
    assert bob.pane.acts <= 3
    people.go_home(bob)
    people.go_home(dan)
    bob.pane.wait_for("−10.06 you owe")
    dan.pane.wait_for("+10.00 owes you")


def nothing_answers(owner: Owner) -> None:
    """What a terminal without bracketed paste makes of a short text, and an impatient Enter."""
    for _ in range(2):
        owner.pane.paste("y\ny\n", is_bracketed=False)
        owner.pane.keys("Enter", "Enter")
        owner.pane.wait_still()


def test_a_doubled_enter_or_a_bare_paste_pays_nothing(scene: Scene) -> None:
    """Keys that were pressed before a question was on the screen answer nothing, nor does Enter ever pay."""
    bob, _, dan = scene.owners
    invoice = people.sell(dan, "1.00")
    bob.pane.paste(invoice)
    bob.pane.keys("Enter", "Enter", "P", "Enter")
    bob.pane.wait_still()
    nothing_answers(bob)
    people.go_home(bob)
    bob.pane.keys("4")
    bob.pane.wait_for("everything")
    assert "1.00 OUSD" not in bob.pane.wait_still()
    people.go_home(bob)

    people.ask_fee(bob, invoice, "1.00", "0.01 OUSD (1.00 %)")
    nothing_answers(bob)
    people.go_home(bob)
    bob.pane.wait_for("! confirm the fee to pay 1.00 OUSD")
    bob.pane.keys("C-g")
    bob.pane.wait_for("P agrees, x gives up")
    bob.pane.keys("x", "Enter")
    bob.pane.wait_for("Give up this payment?")
    bob.pane.press_armed("Enter")
    bob.pane.wait_gone("Give up this payment?")
    bob.pane.keys("x")
    bob.pane.wait_for("Give up this payment?")
    bob.pane.press_armed("x")
    bob.pane.wait_for("Not paid: 1.00 OUSD")
    people.go_home(bob)
    people.go_home(dan)


def agreed_while_carol_stands_still(scene: Scene, amount: str, fee: str) -> None:
    """Bob has agreed to the fee, and what he sent waits before Carol's door."""
    bob, carol, dan = scene.owners
    people.ask_fee(bob, people.sell(dan, amount), amount, fee)
    carol.signal_node(signal.SIGSTOP)
    bob.pane.keys("P")
    bob.pane.wait_for("> sending")
    bob.pane.wait_for("Safe to pay again: no")


def carol_comes_back(carol: Owner) -> None:
    """She starts `offset`, which runs her card in the background, and closes the window."""
    carol.start()
    carol.pane.wait_for(people.HOME)
    carol.pane.hang_up()


@pytest.mark.slow
def test_the_mediator_is_killed_in_the_middle_and_again_before_collecting(scene: Scene) -> None:
    bob, carol, dan = scene.owners
    agreed_while_carol_stands_still(scene, "20.00", "0.11 OUSD (0.55 %)")
    carol.signal_node(signal.SIGKILL)
    carol_comes_back(carol)
    commit = people.commit_or_again(bob, "20.00", "0.11 OUSD (0.55 %)")
    carol.signal_node(signal.SIGKILL)
    people.collect(dan, commit, "20.00")
    bob.pane.wait_for("Give this to the seller")
    carol_comes_back(carol)
    people.is_paid(bob, "20.00", "20.11")
    people.go_home(bob)
    people.go_home(dan)


@pytest.mark.slow
def test_the_buyers_terminal_is_closed_after_agreeing(scene: Scene) -> None:
    """The card stays online: the payment goes on by itself, and is shown to whoever comes back."""
    bob, carol, dan = scene.owners
    bob.leave_running()
    assert bob.come_back() < ATTACHED_S
    agreed_while_carol_stands_still(scene, "5.00", "0.03 OUSD (0.60 %)")
    app = bob.pane.pid
    bob.pane.hang_up()
    until(lambda: not command_line(app), "the end of Bob's app")
    assert len(bob.nodes()) == 1
    carol.signal_node(signal.SIGCONT)

    assert bob.come_back() < ATTACHED_S
    bob.pane.wait_for("! hand over the commit for 5.00 OUSD")
    bob.pane.keys("C-g")
    bob.pane.wait_for("give the commit to the seller: y shows it")
    bob.pane.keys("y")
    people.collect(dan, bob.pane.artifact(), "5.00")
    people.is_paid(bob, "5.00", "5.03")
    people.go_home(bob)
    people.go_home(dan)
