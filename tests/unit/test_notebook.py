"""What a card's owner wants remembered survives being written down, and never grows for ever."""

import json

import pytest

from offset_engine.core.values import Currency, HashResult, PublicKey
from offset_engine.errors import FileError
from offset_engine.files import Terms
from offset_engine.introducing import (
    ANSWERED_INVITES_MAX,
    SENT_INVITES_MAX,
    AnsweredInvite,
    SentInvite,
)
from offset_engine.notebook import Notebook, from_json, merged, to_json

OUSD = Currency("OUSD")
BOB = PublicKey(bytes(31) + b"\x07")


def sent(number: int) -> SentInvite:
    """An invite somebody sent."""
    hashed = HashResult(number.to_bytes(32, "big"))
    return SentInvite(hashed, (Terms(OUSD, 2, 150_00),), "Bob", 1_700_000_000)


def test_what_is_written_is_read_again() -> None:
    book = (
        Notebook()
        .with_invite(sent(1))
        .with_told(BOB, (Terms(OUSD, 2, 2**127 - 1),))
        .with_note("abc", "for the roof [b]not markup[/b]")
        .with_hold("def", 1_700_000_000_000)
        .with_handed("ghi")
        .with_answer(sent(2).invite_hash, BOB)
    )
    assert from_json(to_json(book)) == book


def test_newer_words_replace_older_ones() -> None:
    book = Notebook().with_told(BOB, (Terms(OUSD, 2, 5),)).with_told(BOB, (Terms(OUSD, 2, 7),))
    assert book.told_by(BOB, OUSD) == 7
    assert len(book.told) == 1
    book = book.with_note("a", "one").with_note("a", "two")
    assert book.note("a") == "two"
    assert book.with_note("a", "").notes == ()
    assert book.with_hold("i", 5).with_hold("i", None).holds == ()


def test_an_answered_invite_is_forgotten_and_old_ones_make_room() -> None:
    book = Notebook()
    for number in range(SENT_INVITES_MAX + 3):
        book = book.with_invite(sent(number))
    assert len(book.invites) == SENT_INVITES_MAX
    assert book.invites[0] == sent(3)
    assert sent(9) not in book.without_invite(sent(9).invite_hash).invites


def test_an_answer_uses_up_one_invite_and_is_remembered() -> None:
    book = Notebook().with_invite(sent(1)).with_invite(sent(1)).with_invite(sent(2))
    used = book.with_answer(sent(1).invite_hash, BOB)
    assert used.invites == (sent(1), sent(2))
    assert used.answered == (AnsweredInvite(sent(1).invite_hash, BOB),)
    assert used.without_invite(sent(9).invite_hash) == used
    assert merged(book, used, book.with_note("a", "b")).answered == used.answered
    for number in range(ANSWERED_INVITES_MAX + 3):
        used = used.with_answer(sent(number).invite_hash, BOB)
    assert len(used.answered) == ANSWERED_INVITES_MAX


def test_a_notebook_of_an_older_version_is_read() -> None:
    values = json.loads(to_json(Notebook().with_invite(sent(1))))
    del values["answered"]
    assert from_json(json.dumps(values)).invites == (sent(1),)


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"version": 2}', '{"version": 1, "invites": 3}', '{"version": 1, "invites": []'],
)
def test_a_damaged_or_newer_file_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(FileError):
        from_json(text)
