"""A node that plays foul: what it sends instead of, and besides, what its core would send.

It holds its own key, so everything it signs is validly signed. Its core keeps running and gets out of step
with the lies told in its name, which is part of the game: its friends end up inconsistent and reset. What
it does must never reach beyond its own friendships (I17) and never cost a mediator anything (I7).
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from offset_engine.core.codec import encode_friend_message
from offset_engine.core.messages import (
    BackwardsOp,
    CollectOp,
    CurrencyOperations,
    FriendMessage,
    InconsistencyMessage,
    MoveToken,
    MoveTokenMessage,
    Operation,
    RequestOp,
    ResetTerms,
    ResponseOp,
    TokenWantedMessage,
    cancel_op,
    collect_op,
    request_op,
    response_op,
)
from offset_engine.core.mutual_credit import Ledger
from offset_engine.core.signing import info_hash, move_token_buffer
from offset_engine.core.token_channel import (
    Incoming,
    Inconsistent,
    Outgoing,
    TokenChannel,
    TokenParts,
    prefix_of,
    seal,
)
from offset_engine.core.values import (
    CREDITS_MAX,
    U128_MAX,
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    PlainLock,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.network import End

REMEMBERED = 60


class Foe:
    """The foul play of one machine."""

    def __init__(self, machine: "Machine", rng: Random) -> None:
        self._machine = machine
        self._rng = rng
        self._seen: list[FriendMessage] = []
        self._late: dict[int, FriendMessage] = {}
        self._tricks: tuple[Callable[[PublicKey], FriendMessage | bytes | None], ...] = (
            self._replay,
            self._flip,
            self._wrong_numbers,
            self._equivocate,
            self._garbage,
            self._rogue_requests,
            self._rogue_answers,
            self._rogue_answers,
            self._unsigned,
            self._collects_in_vain,
            self._terms,
            self._same_token_other_terms,
            self._noise,
            self._oversized,
            self._nag,
        )
        # Each seed has its own style: some foes never do what would end the friendship at once.
        self._style = tuple(t for t in self._tricks if rng.random() < 0.4) or (self._replay,)
        self._drop = rng.choice((0.0, 0.0, 0.05, 0.3))
        self._swap = rng.choice((0.0, 0.0, 0.2))
        self._lies = rng.choice((0.0, 0.2, 0.8))

    def twist(self, end: "End", message: FriendMessage) -> list[FriendMessage]:
        """What leaves instead of a message of the core."""
        self._seen = [*self._seen[-REMEMBERED:], message]
        if self._rng.random() < self._drop:
            return []
        if isinstance(message, MoveTokenMessage) and self._rng.random() < self._lies:
            message = self._lie(message)
        late = self._late.pop(end.link_id, None)
        if late is not None:
            return [message, late]
        if self._rng.random() < self._swap:
            self._late[end.link_id] = message
            return []
        return [message]

    def _lie(self, message: MoveTokenMessage) -> MoveTokenMessage:
        """The same token with forged answers: the numbers, and so their hash, stay the same."""
        token = message.move_token
        batches = tuple(
            CurrencyOperations(batch.currency, tuple(map(self._forged, batch.operations)))
            for batch in token.currencies_operations
        )
        if batches == token.currencies_operations:
            return message
        return self._resign(replace(token, currencies_operations=batches))

    def _forged(self, op: Operation) -> Operation:
        kind = self._rng.randrange(4)
        if isinstance(op, ResponseOp):
            return response_op(
                op.request_id,
                HashedLock(self._bytes(32)) if kind == 0 else op.dest_hashed_lock,
                not op.is_complete if kind == 1 else op.is_complete,
                op.rand_nonce,
                self._machine.env.sign(self._bytes(32)) if kind == 2 else op.signature,
            )
        if isinstance(op, CollectOp):
            return collect_op(
                op.request_id,
                PlainLock(self._bytes(32)) if kind in {0, 2} else op.src_plain_lock,
                PlainLock(self._bytes(32)) if kind in {1, 2} else op.dest_plain_lock,
            )
        return op

    def strike(self, remote: PublicKey) -> FriendMessage | bytes | None:
        """One foul message to this friend, if one of the foe's tricks is possible now."""
        for trick in self._rng.sample(self._style, min(3, len(self._style))):
            foul = trick(remote)
            if foul is not None:
                return foul
        return None

    # --- tricks ---------------------------------------------------------------------------------

    def _channel(self, remote: PublicKey) -> TokenChannel | Inconsistent | None:
        friend = self._machine.state.friends.get(remote)
        return friend.channel if friend is not None else None

    def _replay(self, remote: PublicKey) -> FriendMessage | None:
        """An earlier message to anybody, or the genesis again."""
        return self._rng.choice(self._seen) if self._seen else None

    def _flip(self, remote: PublicKey) -> bytes | None:
        """A true message with flipped bits."""
        message = self._replay(remote)
        if message is None:
            return None
        data = bytearray(encode_friend_message(message))
        for _ in range(self._rng.randint(1, 3)):
            data[self._rng.randrange(len(data))] ^= 1 << self._rng.randrange(8)
        return bytes(data)

    def _last(self, remote: PublicKey) -> MoveToken | None:
        channel = self._channel(remote)
        if isinstance(channel, TokenChannel) and isinstance(channel.direction, Outgoing):
            return channel.direction.move_token
        return None

    def _resign(self, token: MoveToken) -> MoveTokenMessage:
        """Sign a changed move token again."""
        buffer = move_token_buffer(prefix_of(token), token.info_hash, token.rand_nonce)
        return MoveTokenMessage(
            replace(token, new_token=self._machine.env.sign(buffer)), self._flag()
        )

    def _wrong_numbers(self, remote: PublicKey) -> FriendMessage | None:
        """The right chain and signature over wrong numbers."""
        token = self._last(remote)
        channel = self._channel(remote)
        if token is None or not isinstance(channel, TokenChannel):
            return None
        info = replace(channel.token_info, move_token_counter=self._rng.randrange(50))
        return self._resign(replace(token, info_hash=info_hash(info)))

    def _equivocate(self, remote: PublicKey) -> FriendMessage | None:
        """A second, fully valid move token on the same old token."""
        token = self._last(remote)
        if token is None:
            return None
        return self._resign(replace(token, rand_nonce=RandValue(self._bytes(16))))

    def _garbage(self, remote: PublicKey) -> FriendMessage | None:
        """The next move token with operations nobody can mean."""
        channel = self._channel(remote)
        if not isinstance(channel, TokenChannel) or not isinstance(channel.direction, Incoming):
            return None
        pending = self._pending(channel)
        currency, request_id = self._rng.choice(pending) if pending else (Currency("FST"), None)
        if request_id is None or self._rng.random() < 0.3:
            request_id = Uid(self._bytes(16))
        bad: list[Operation] = [
            cancel_op(request_id),
            collect_op(request_id, PlainLock(self._bytes(32)), PlainLock(self._bytes(32))),
            response_op(
                request_id,
                HashedLock(self._bytes(32)),
                self._flag(),
                RandValue(self._bytes(16)),
                Signature(self._bytes(64)),
            ),
            self._request(request_id, (remote, remote), (1, 1, 1)),
            self._request(request_id, (), (5, 4, 0)),
            self._request(request_id, (), (CREDITS_MAX, CREDITS_MAX, CREDITS_MAX)),
            self._request(request_id, (), (U128_MAX, U128_MAX, U128_MAX)),
            self._request(request_id, (), (0, 0, 0)),
        ]
        operations = tuple(self._rng.sample(bad, self._rng.randint(1, 3)))
        token = MoveToken(
            channel.direction.last.new_token,
            (CurrencyOperations(currency, operations),),
            None,
            None,
            HashResult(self._bytes(32)),
            RandValue(self._bytes(16)),
            Signature(bytes(64)),
        )
        return self._resign(token)

    def _rogue_requests(self, remote: PublicKey) -> FriendMessage | None:
        """A perfect move token with requests that cannot end well: loops, used ids, no fees."""
        return self._sealed(remote, lambda channel: self._some_requests(remote, channel))

    def _some_requests(
        self, remote: PublicKey, channel: TokenChannel
    ) -> list[tuple[Currency, Operation]]:
        found: list[tuple[Currency, Operation]] = []
        for currency, ledger in channel.ledgers.items():
            for op in (self._made_up(), self._copied(remote, currency)):
                if op is not None and ledger.can_send_request(op):
                    ledger.send_request(op, None, 0)
                    found.append((currency, op))
        return found

    def _made_up(self) -> RequestOp:
        """A request over a nonsense route, with an id of somebody else."""
        used = [entry.request_id for _, _, entry in self._requests()]
        keys = [machine.key for machine in self._machine.world.machines]
        route = tuple(self._rng.sample(keys, self._rng.randint(0, min(4, len(keys)))))
        amount = self._rng.randint(0, 40)
        request_id = self._rng.choice([*used, Uid(self._bytes(16))])
        return self._request(request_id, route, (amount, amount, self._rng.randint(0, 9)))

    def _copied(self, remote: PublicKey, currency: Currency) -> RequestOp | None:
        """What this friend sent on once more: same id, lock and invoice, other amounts."""
        mine = [
            (key, op)
            for node, key, op in self._requests()
            if node == remote and key != self._machine.key
        ]
        if not mine:
            return None
        next_key, op = self._rng.choice(mine)
        request_id = op.request_id if self._rng.random() < 0.7 else Uid(self._bytes(16))
        amount = self._rng.choice((op.dest_payment, 1, op.total_dest_payment))
        return request_op(
            request_id,
            op.src_hashed_lock,
            (next_key, *op.route),
            (amount, op.total_dest_payment, self._rng.choice((0, op.left_fees, 50))),
            op.invoice_id,
        )

    def _unsigned(self, remote: PublicKey) -> FriendMessage | None:
        """A perfect move token with a signature of nothing."""
        message = self._sealed(remote, lambda _channel: [])
        if not isinstance(message, MoveTokenMessage):
            return None
        signature = self._machine.env.sign(self._bytes(32))
        return replace(message, move_token=replace(message.move_token, new_token=signature))

    def _collects_in_vain(self, remote: PublicKey) -> FriendMessage | None:
        """Its last move token with collects, over wrong numbers: they count all the same."""
        token = self._last(remote)
        if token is None or not any(
            isinstance(op, CollectOp) for b in token.currencies_operations for op in b.operations
        ):
            return None
        return self._resign(replace(token, info_hash=HashResult(self._bytes(32))))

    def _rogue_answers(self, remote: PublicKey) -> FriendMessage | None:
        """A perfect move token with answers that are none of its business."""
        return self._sealed(remote, self._some_answers)

    def _some_answers(self, channel: TokenChannel) -> list[tuple[Currency, Operation]]:
        """Cancels of what its core still works on, collects with made-up locks, forged responses."""
        found: list[tuple[Currency, Operation]] = []
        kind = self._rng.choice((self._early_cancel, self._false_collect, self._forged_response))
        for currency, ledger in channel.ledgers.items():
            for request_id in list(ledger.remote)[:3]:
                op = kind(ledger, request_id)
                if op is not None:
                    found.append((currency, op))
        return found

    def _early_cancel(self, ledger: Ledger, request_id: Uid) -> BackwardsOp:
        op = cancel_op(request_id)
        ledger.send_cancel(op)
        return op

    def _false_collect(self, ledger: Ledger, request_id: Uid) -> BackwardsOp | None:
        if ledger.remote[request_id].response is None:
            return None
        op = collect_op(request_id, PlainLock(self._bytes(32)), PlainLock(self._bytes(32)))
        ledger.send_collect(op)
        return op

    def _forged_response(self, ledger: Ledger, request_id: Uid) -> BackwardsOp | None:
        entry = ledger.remote[request_id]
        if entry.response is not None or not entry.request.route:
            return None
        nonce, lock = RandValue(self._bytes(16)), HashedLock(self._bytes(32))
        signature = self._machine.env.sign(self._bytes(64))
        op = response_op(request_id, lock, self._flag(), nonce, signature)
        ledger.send_response(op)
        return op

    def _sealed(
        self,
        remote: PublicKey,
        act: Callable[[TokenChannel], list[tuple[Currency, Operation]]],
    ) -> FriendMessage | None:
        channel = self._channel(remote)
        if not isinstance(channel, TokenChannel) or not isinstance(channel.direction, Incoming):
            return None
        fork = channel.fork()
        batch: dict[Currency, list[Operation]] = {}
        for currency, operation in act(fork):
            batch.setdefault(currency, []).append(operation)
        operations = tuple(CurrencyOperations(name, tuple(batch[name])) for name in sorted(batch))
        parts = TokenParts(operations, None, None, token_wanted=self._flag())
        seal(fork, parts, RandValue(self._bytes(16)), self._machine.env.sign)
        assert isinstance(fork.direction, Outgoing)
        return MoveTokenMessage(fork.direction.move_token, self._flag())

    def _terms(self, remote: PublicKey) -> FriendMessage:
        """Reset terms out of the blue."""
        counter = self._rng.choice((0, 1, 2, 2**63 - 1, self._rng.randrange(20)))
        balances = tuple(
            (name, self._rng.choice((0, 7, -7, 10**6, -(10**6), -CREDITS_MAX)))
            for name in sorted(self._machine.world.plan.currencies)
        )
        return InconsistencyMessage(ResetTerms(Signature(self._bytes(64)), counter, balances))

    def _same_token_other_terms(self, remote: PublicKey) -> FriendMessage | None:
        """Its own terms with other balances behind the same reset token."""
        channel = self._channel(remote)
        if not isinstance(channel, Inconsistent):
            return None
        terms = channel.local_terms
        balances = tuple((name, self._rng.randint(-99, 99)) for name, _ in terms.balances)
        return InconsistencyMessage(replace(terms, balances=balances))

    def _noise(self, remote: PublicKey) -> bytes:
        """Bytes of no protocol."""
        return self._bytes(self._rng.randint(0, 200))

    def _oversized(self, remote: PublicKey) -> bytes | None:
        """A move token with more operations than allowed."""
        token = self._last(remote)
        if token is None:
            return None
        operations = tuple(cancel_op(Uid(self._bytes(16))) for _ in range(257))
        batch = (CurrencyOperations(Currency("FST"), operations),)
        big = replace(token, currencies_operations=batch)
        return encode_friend_message(MoveTokenMessage(big, self._flag()))

    def _nag(self, remote: PublicKey) -> FriendMessage | None:
        """Ask for the token, with the right or a wrong name for it."""
        token = self._last(remote)
        name = token.new_token if token and self._flag() else Signature(self._bytes(64))
        return TokenWantedMessage(name)

    # --- material -------------------------------------------------------------------------------

    def _pending(self, channel: TokenChannel) -> list[tuple[Currency, Uid]]:
        return [
            (currency, request_id)
            for currency, ledger in channel.ledgers.items()
            for request_id in (*ledger.local, *ledger.remote)
        ]

    def _requests(self) -> list[tuple[PublicKey, PublicKey, RequestOp]]:
        """Everything pending anywhere: (who sent it, to whom, what). A foe with many spies."""
        return [
            (machine.key, key, entry.request)
            for machine in self._machine.world.machines
            for key, friend in machine.state.friends.items()
            if friend.consistent is not None
            for ledger in friend.consistent.ledgers.values()
            for entry in ledger.local.values()
        ]

    def _request(
        self, request_id: Uid, route: tuple[PublicKey, ...], amounts: tuple[int, int, int]
    ) -> RequestOp:
        invoices = self._machine.world.people.invoice_ids
        invoice_id = (
            self._rng.choice(invoices) if invoices and self._flag() else InvoiceId(self._bytes(32))
        )
        return request_op(request_id, HashedLock(self._bytes(32)), route, amounts, invoice_id)

    def _flag(self) -> bool:
        return self._rng.random() < 0.5

    def _bytes(self, size: int) -> bytes:
        return self._rng.randbytes(size)
