"""What a wish to pay asks index servers, which answers it takes, and what its parts teach about hops.

`paying` says when to ask; here it is put together, waited for and judged. What is avoided in a question:
the hops this wish had trouble with, and those where parts of any payment failed lately (`route_memory`).

Source: design R20, R21; PROTOCOL.md, "Paying"; routing.md §6, §7.
"""

from typing import Final

from offset_engine.core import route_memory
from offset_engine.core.draft import Draft
from offset_engine.core.events import AskRoutes
from offset_engine.core.index import RouteCode
from offset_engine.core.index_session import check_choice
from offset_engine.core.messages import RouteChoice, RoutesRequest, RoutesResponse
from offset_engine.core.payer import Hop, Intent, PayFailure, PlannedPart
from offset_engine.core.route_terms import RouteKind
from offset_engine.core.state import NodeState, QuestionUnanswered
from offset_engine.core.values import (
    CREDITS_MAX,
    ROUTE_EXCLUDED_MAX,
    ROUTE_PARTS_MAX,
    Currency,
    PublicKey,
    Uid,
)

ROUTE_KEYS_ASKED: Final = 20
"""Longest route asked for; longer ones pay more fees than they are worth."""
FRIEND_AWAY: Final = Uid(bytes(16))
"""Stands for the question that waits for a friend to come online instead of an index server."""
SERVER_BUSY: Final = Uid(b"\x01" * 16)
"""Stands for the question that waits until a busy index server may be asked again."""
NO_WAY_YET: Final = Uid(b"\x02" * 16)
"""Stands for the question that waits because no way is known, while others may still be reporting."""
_PAUSES: Final = (FRIEND_AWAY, SERVER_BUSY, NO_WAY_YET)

# --- who is there -------------------------------------------------------------------------------


def is_ready(state: NodeState, key: PublicKey, currency: Currency) -> bool:
    """Whether this is a friend that can take a request in this currency now."""
    friend = state.friends.get(key)
    return friend is not None and friend.is_ready(currency)


def ready_friends(state: NodeState, currency: Currency) -> tuple[PublicKey, ...]:
    """Friends that can take a request in this currency now, ascending by key."""
    return tuple(sorted(key for key, friend in state.friends.items() if friend.is_ready(currency)))


def has_way(state: NodeState, intent: Intent) -> bool:
    """Whether what the wish asks for could leave here, and for a cycle come back."""
    ready = ready_friends(state, intent.invoice.currency)
    if intent.cycle is None:
        return bool(ready)
    ends = (intent.cycle.first_friend, intent.cycle.last_friend)
    return len(ready) > 1 and all(end is None or end in ready for end in ends)


# --- asking -------------------------------------------------------------------------------------


def ask(draft: Draft, intent: Intent, amount: int) -> None:
    """Ask an index server how this amount could get to the seller."""
    intent.rounds += 1
    if not intent.is_bold:
        room = ROUTE_EXCLUDED_MAX - len(intent.excluded)
        intent.avoided = hops_to_avoid(draft, intent.invoice.currency, amount, room)
    question = Uid(draft.env.random(16))
    wait(draft, intent, question, draft.env.timers.route_answer_ms)
    request = _question(intent, question, amount)
    draft.effects.append(AskRoutes(request, intent.wants_other_server))
    intent.wants_other_server = False


def hops_to_avoid(draft: Draft, currency: Currency, amount: int, hops_max: int) -> tuple[Hop, ...]:
    """Hops where so much failed lately, for any payment."""
    penalties, wall_ms = draft.state.penalties, draft.env.wall_ms
    return route_memory.hops_to_avoid(penalties, currency, amount, wall_ms, hops_max)


def _question(intent: Intent, question: Uid, amount: int) -> RoutesRequest:
    cycle = intent.cycle
    # What came back at first may have met reports that were behind: two pauses later they are not.
    is_late = intent.misses > 1 and not intent.attempts
    known = dict.fromkeys((*(() if is_late else intent.excluded), *intent.avoided))
    return RoutesRequest(
        question,
        RouteKind.PAY if cycle is None else RouteKind.CYCLE,
        intent.invoice.currency,
        amount,
        intent.invoice.dest_public_key,
        None if cycle is None else cycle.first_friend,
        None if cycle is None else cycle.last_friend,
        CREDITS_MAX,
        ROUTE_PARTS_MAX,
        ROUTE_KEYS_ASKED,
        tuple(known),
        (),
    )


def wait(draft: Draft, intent: Intent, question: Uid, wait_ms: int) -> None:
    """Wait for the answer to this question, or for what one of the pauses stands for."""
    stop_waiting(draft, intent)
    intent.question = question
    key = QuestionUnanswered(intent.intent_id, question)
    draft.agenda.set(key, draft.env.now_ms + wait_ms)
    if question not in _PAUSES:
        draft.set_question(question, intent.intent_id)


def stop_waiting(draft: Draft, intent: Intent) -> None:
    """No longer wait for whatever the wish waits for."""
    if intent.question is not None:
        draft.agenda.drop(QuestionUnanswered(intent.intent_id, intent.question))
        draft.set_question(intent.question, None)
        intent.question = None


# --- judging answers ----------------------------------------------------------------------------


def choose(
    draft: Draft, intent: Intent, response: RoutesResponse, amount: int
) -> tuple[PlannedPart, ...] | None:
    """The honest choice with the lowest fee, then the least known against it, then the fewest parts.

    A lying server's choices are passed over; None = there is no honest one for the whole amount.
    """
    if response.code != RouteCode.OK:
        return None
    question = _question(intent, response.request_id, amount)
    state, wall_ms = draft.state, draft.env.wall_ms
    honest: list[tuple[int, int, int, RouteChoice]] = []
    for choice in honest_choices(state, question, response):
        routes = [part.keys for part in choice.parts]
        known = route_memory.suspicion(state.penalties, question.currency, routes, wall_ms)
        fee = sum(part.fee for part in choice.parts)
        honest.append((fee, known, len(choice.parts), choice))
    if not honest:
        return None
    return planned(min(honest, key=lambda entry: entry[:3])[3])


def honest_choices(
    state: NodeState, question: RoutesRequest, response: RoutesResponse
) -> list[RouteChoice]:
    """The choices that keep to the question, in the server's order."""
    friends = ready_friends(state, question.currency)
    own = state.local_public_key
    return [
        choice
        for choice in response.choices
        if check_choice(choice, question, own, friends, CREDITS_MAX) is None
    ]


def planned(choice: RouteChoice) -> tuple[PlannedPart, ...]:
    """The parts of a choice as they would be sent."""
    return tuple(PlannedPart(part.keys, part.amount, part.fee) for part in choice.parts)


def no_route_reason(intent: Intent, response: RoutesResponse) -> PayFailure:
    """What to tell the user when nothing is left to try."""
    if intent.excluded and intent.setback is not None:
        return intent.setback
    if response.code == RouteCode.UNREACHABLE:
        return PayFailure.SELLER_UNREACHABLE
    return PayFailure.NO_ROUTE


# --- learning -----------------------------------------------------------------------------------


def exclude(intent: Intent, edge: Hop) -> None:
    """Let the wish avoid this edge from now on; the oldest give way."""
    if edge not in intent.excluded:
        intent.excluded = (*intent.excluded, edge)[-ROUTE_EXCLUDED_MAX:]


def learn(intent: Intent, part: PlannedPart) -> None:
    """A part came back and nobody says where from: avoid another of its edges each time.

    The edges behind the first one are tried first: what our own friend can take we know best.
    """
    edges = list(zip(part.route, part.route[1:], strict=False))
    fresh = [edge for edge in (*edges[1:], edges[0]) if edge not in intent.excluded]
    if fresh:
        exclude(intent, fresh[0])


def blame(draft: Draft, intent: Intent, part: PlannedPart, least: int) -> None:
    """Remember for other payments that so much, or more, failed over this route."""
    penalties, currency = draft.state.penalties, intent.invoice.currency
    changes = route_memory.blame(penalties, currency, part.route, least, draft.env.wall_ms)
    draft.set_penalties(changes)


def forgive(draft: Draft, intent: Intent, part: PlannedPart) -> None:
    """The part arrived: nothing is wrong with its hops."""
    penalties, currency = draft.state.penalties, intent.invoice.currency
    draft.set_penalties(route_memory.forgive(penalties, currency, part.route))
