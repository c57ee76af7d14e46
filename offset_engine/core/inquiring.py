"""Route questions of programs, for screens that show what is possible before anything is paid.

    RequestRoutes ──▶ asked ──answer──▶ judged like a wish's ──▶ RoutesResult
                        └──── nobody answered in time ─────▶ RoutesResult(unanswered)

Every question gets exactly one result. Like a payment, a question about an amount first avoids hops where
payments failed lately, so that what is shown is what would be paid; the most that can be paid is what
the index server knows. Source: PROTOCOL.md, "Paying"; design R21.
"""

from dataclasses import replace
from typing import Final

from offset_engine.core import searching
from offset_engine.core.api import (
    CommandFault,
    RequestRoutes,
    RoutesChoice,
    RoutesLabel,
    RoutesOutcome,
    RoutesResult,
    RoutesWish,
)
from offset_engine.core.draft import Draft
from offset_engine.core.events import AskRoutes
from offset_engine.core.index import RouteCode
from offset_engine.core.messages import RoutesRequest, RoutesResponse
from offset_engine.core.route_terms import Label, RouteKind
from offset_engine.core.state import Inquiry, InquiryUnanswered
from offset_engine.core.values import (
    CREDITS_MAX,
    ROUTE_EXCLUDED_MAX,
    ROUTE_PARTS_MAX,
    Uid,
)

OPEN_INQUIRIES_MAX: Final = 256
_KINDS: Final = {
    RoutesWish.PAY: RouteKind.PAY,
    RoutesWish.MAX: RouteKind.MAX,
    RoutesWish.CYCLE: RouteKind.CYCLE,
}
_OUTCOMES: Final[dict[int, RoutesOutcome]] = {
    RouteCode.NONE: RoutesOutcome.NONE,
    RouteCode.UNREACHABLE: RoutesOutcome.UNREACHABLE,
    RouteCode.BUSY: RoutesOutcome.BUSY,
}
_LABELS: Final[dict[int, RoutesLabel]] = {
    Label.CHEAPEST: RoutesLabel.CHEAPEST,
    Label.FEWEST: RoutesLabel.FEWEST,
    Label.WIDEST: RoutesLabel.WIDEST,
}


def ask(draft: Draft, command: RequestRoutes) -> CommandFault | None:
    """Put a program's question to an index server."""
    is_max = command.wish is RoutesWish.MAX
    if not (0 if is_max else 1) <= command.amount <= CREDITS_MAX:
        return CommandFault.INVALID_AMOUNT
    is_cycle = command.wish is RoutesWish.CYCLE
    if is_cycle is not (command.dest == draft.state.local_public_key):
        return CommandFault.INVALID_ARGUMENT
    is_full = len(draft.state.inquiries) >= OPEN_INQUIRIES_MAX
    if is_full or len(command.exclude_edges) > ROUTE_EXCLUDED_MAX:
        return CommandFault.LIMIT_REACHED
    request_id = command.request_id
    if request_id in draft.state.inquiries or request_id in draft.state.questions:
        return CommandFault.REQUEST_ALREADY_IN_PROGRESS
    if not draft.state.index_servers:
        draft.notify(RoutesResult(request_id, RoutesOutcome.NO_INDEX))
        return None
    room = ROUTE_EXCLUDED_MAX - len(command.exclude_edges)
    currency, amount = command.currency, command.amount
    avoided = () if is_max else searching.hops_to_avoid(draft, currency, amount, room)
    _put(draft, Inquiry(_request(command), avoided))
    return None


def _request(command: RequestRoutes) -> RoutesRequest:
    return RoutesRequest(
        command.request_id,
        _KINDS[command.wish],
        command.currency,
        command.amount,
        command.dest,
        command.first_friend,
        command.last_friend,
        CREDITS_MAX,
        ROUTE_PARTS_MAX,
        searching.ROUTE_KEYS_ASKED,
        tuple(dict.fromkeys(command.exclude_edges)),
        (),
    )


def _put(draft: Draft, inquiry: Inquiry) -> None:
    request = inquiry.request
    draft.set_inquiry(request.request_id, inquiry)
    due_ms = draft.env.now_ms + draft.env.timers.route_answer_ms
    draft.agenda.set(InquiryUnanswered(request.request_id), due_ms)
    known = dict.fromkeys((*request.exclude_edges, *inquiry.avoided))
    draft.effects.append(AskRoutes(replace(request, exclude_edges=tuple(known))))


def take_routes(draft: Draft, response: RoutesResponse) -> None:
    """An index server answered; nothing happens if nobody asked, or waits any more."""
    inquiry = draft.state.inquiries.get(response.request_id)
    if inquiry is None:
        return
    result = _judge(draft, inquiry.request, response)
    if inquiry.avoided and result.outcome is not RoutesOutcome.FOUND:
        _put(draft, Inquiry(inquiry.request))
    else:
        _finish(draft, result)


def _judge(draft: Draft, request: RoutesRequest, response: RoutesResponse) -> RoutesResult:
    """What the answer is worth: choices that break the question's rules are left out."""
    if response.code not in (RouteCode.OK, RouteCode.PARTIAL):
        outcome = _OUTCOMES.get(response.code, RoutesOutcome.REFUSED)
        return RoutesResult(request.request_id, outcome)
    is_whole = response.code == RouteCode.OK and request.kind != RouteKind.MAX
    reachable = request.amount if is_whole else response.reachable
    if reachable > request.amount > 0:
        # More than was asked for: whoever says so lies.
        return RoutesResult(request.request_id, RoutesOutcome.NONE)
    asked = replace(request, amount=reachable)
    choices = tuple(
        RoutesChoice(_LABELS[choice.label], searching.planned(choice))
        for choice in searching.honest_choices(draft.state, asked, response)
    )
    if not choices:
        return RoutesResult(request.request_id, RoutesOutcome.NONE)
    is_partial = response.code == RouteCode.PARTIAL
    outcome = RoutesOutcome.PARTIAL if is_partial else RoutesOutcome.FOUND
    return RoutesResult(request.request_id, outcome, reachable, choices)


def give_up(draft: Draft, request_id: Uid) -> None:
    """Nobody answered in time."""
    _finish(draft, RoutesResult(request_id, RoutesOutcome.UNANSWERED))


def _finish(draft: Draft, result: RoutesResult) -> None:
    draft.agenda.drop(InquiryUnanswered(result.request_id))
    draft.set_inquiry(result.request_id, None)
    draft.notify(result)
