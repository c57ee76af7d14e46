"""Words for a node's answers: every answer has some, and they fit after a program's name."""

from enum import Enum

import pytest

from offset_engine.core.api import CommandFault
from offset_engine.core.payer import PayFailure
from offset_engine.core.reports import ServerState
from offset_engine.sentences import (
    FAILURES,
    FAULTS,
    SERVER_STATES,
    failure_sentence,
    fault_sentence,
)
from tests.covers import covers


@covers("CTL-36")
@pytest.mark.parametrize(
    ("kind", "words"),
    [(CommandFault, FAULTS), (PayFailure, FAILURES), (ServerState, SERVER_STATES)],
)
def test_every_answer_has_its_own_words(kind: type[Enum], words: dict[Enum, str]) -> None:
    assert list(words) == list(kind)
    assert len(set(words.values())) == len(words)
    for sentence in words.values():
        assert sentence[0].islower()
        assert not sentence.endswith(".")
        assert "_" not in sentence


def test_what_the_node_says_besides_is_shown_where_it_says_more() -> None:
    detail = 'the app needs the permission "buyer" for Pay'
    assert detail in fault_sentence(CommandFault.PERMISSION_DENIED, detail)
    assert fault_sentence(CommandFault.STORE_FULL, "database or disk is full") == (
        "the node's disk is full"
    )
    assert failure_sentence(None) == "it failed"
    assert failure_sentence(PayFailure.NO_ROUTE) == FAILURES[PayFailure.NO_ROUTE]
