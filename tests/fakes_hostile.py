"""A puppet friend: it owns a real identity and can sign and say anything, in the order a test wants.

It keeps its own honest view of the channel, so that it can also say true things: `say(ops)` goes through its
ledgers, `lie(ops)` signs the same operations without caring whether they make sense.
"""

from collections.abc import Iterable

from offset_engine.core.api import (
    AddFriend,
    EnableFriend,
    OpenFriendCurrency,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
)
from offset_engine.core.codec import decode_friend_message, encode_friend_message
from offset_engine.core.crypto import hash_lock, public_key_of
from offset_engine.core.events import LinkAdopted, MessageArrived
from offset_engine.core.friend import Friend, SentOnLink, send_backwards
from offset_engine.core.messages import (
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
    request_op,
    response_op,
)
from offset_engine.core.mutual_credit import Ledger, response_terms
from offset_engine.core.node import outgoing
from offset_engine.core.signing import info_hash, move_token_buffer, response_buffer
from offset_engine.core.token_channel import (
    Applied,
    Incoming,
    Inconsistent,
    Outgoing,
    ReceiveContext,
    Received,
    TokenChannel,
    TokenParts,
    list_currencies,
    new_channel,
    prefix_of,
    receive_move_token,
    receive_reset,
    seal,
)
from offset_engine.core.values import (
    CREDITS_MAX,
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    PlainLock,
    PrivateKey,
    PublicKey,
    RandValue,
    Rate,
    RelayAddress,
    Signature,
    Uid,
)
from tests.fakes import FST, Card, ManualEnv, uid

SECRET = PlainLock(b"\x5e" * 32)
"""A lock only the puppet knows."""
OTHER_SECRET = PlainLock(b"\x5f" * 32)


class ScriptedFriend:
    """A friend of one card, moved by hand."""

    def __init__(
        self,
        name: str,
        number: int,
        victim: Card,
        limit: int = 100,
        currencies: tuple[Currency, ...] = (FST,),
        rate: Rate | None = None,
    ) -> None:
        self.name = name
        self.identity = PrivateKey(bytes([number]) * 32)
        self.key: PublicKey = public_key_of(self.identity)
        self.env = ManualEnv(self.identity)
        self.victim = victim
        self.channel: TokenChannel = new_channel(self.key, victim.key)
        self.link = 0
        self.heard: list[FriendMessage] = []
        self.said: list[FriendMessage] = []
        self.applied: list[Applied] = []
        self._sent = SentOnLink()
        assert victim.do(AddFriend(self.key, (), name), EnableFriend(self.key)) is None
        for currency in currencies:
            fault = victim.do(
                SetFriendCurrencyMaxDebt(self.key, currency, limit),
                SetFriendCurrencyRate(self.key, currency, rate or Rate()),
                OpenFriendCurrency(self.key, currency),
            )
            assert fault is None
        self.connect()
        self.list(currencies)

    # --- links ----------------------------------------------------------------------------------

    def connect(self) -> None:
        """A new connection: both sides forget what left on the old one."""
        self.link += 1
        self._sent = SentOnLink()
        self.victim.feed(LinkAdopted(self.key, self.link))
        self.listen()

    def tell(self, message: FriendMessage) -> None:
        """Let any message arrive, through the real codec, and hear what comes back."""
        decoded = decode_friend_message(encode_friend_message(message))
        assert decoded == message
        self.said.append(message)
        self.victim.feed(MessageArrived(self.key, self.link, message))
        self.listen()

    def listen(self) -> list[FriendMessage]:
        """Take what the card has for us now, and follow honestly where it makes sense."""
        messages, self._sent = outgoing(self.victim.state, self.key, self._sent)
        for message in messages:
            self.heard.append(message)
            if isinstance(message, MoveTokenMessage):
                self._follow(message.move_token)
        return list(messages)

    def _follow(self, token: MoveToken) -> None:
        limits = tuple((currency, CREDITS_MAX) for currency in self.channel.ledgers)
        limits += tuple((c, CREDITS_MAX) for c in token.active_currencies or ())
        context = ReceiveContext(limits, self.env.verify, 0)
        outcome = receive_move_token(self.channel, token, context)
        if isinstance(outcome, Received):
            self.channel = outcome.channel
            self.applied += outcome.applied

    # --- what the puppet sees -------------------------------------------------------------------

    @property
    def as_friend(self) -> Friend:
        """How the card sees us."""
        return self.victim.state.friends[self.key]

    @property
    def is_trusted(self) -> bool:
        """Whether the card still agrees with us."""
        return self.as_friend.consistent is not None

    def owed(self, currency: Currency = FST) -> int:
        """What the card says we owe it: its balance, or its terms if the channel is broken."""
        channel = self.as_friend.channel
        if isinstance(channel, Inconsistent):
            return dict(channel.local_terms.balances)[currency]
        return channel.ledgers[currency].balance

    def ledger(self, currency: Currency = FST) -> Ledger:
        """Our own view."""
        return self.channel.ledgers[currency]

    @property
    def last_request(self) -> RequestOp:
        """The last request the card sent us."""
        requests = [one.operation for one in self.applied if isinstance(one.operation, RequestOp)]
        return requests[-1]

    # --- tokens ---------------------------------------------------------------------------------

    def take_token(self) -> None:
        """Get the token from the card."""
        self.listen()
        if isinstance(self.channel.direction, Outgoing):
            self.tell(TokenWantedMessage(self.channel.direction.move_token.new_token))
        assert isinstance(self.channel.direction, Incoming), "the card keeps the token"

    @property
    def old_token(self) -> Signature:
        """What the next move token has to follow."""
        direction = self.channel.direction
        assert isinstance(direction, Incoming)
        return direction.last.new_token

    def sealed(
        self,
        batches: dict[Currency, Iterable[Operation]],
        currencies: tuple[Currency, ...] | None = None,
        relays: tuple[RelayAddress, ...] | None = None,
    ) -> tuple[MoveToken, TokenChannel]:
        """A true move token, and our channel once it was sent."""
        fork = self.channel.fork()
        if currencies is not None:
            list_currencies(fork, currencies)
        for currency, operations in batches.items():
            for operation in operations:
                if isinstance(operation, RequestOp):
                    fork.ledgers[currency].send_request(operation, None, 0)
                else:
                    send_backwards(fork.ledgers[currency], operation)
        body = tuple(CurrencyOperations(name, tuple(batches[name])) for name in sorted(batches))
        parts = TokenParts(body, relays, currencies, token_wanted=False)
        seal(fork, parts, RandValue(self.env.random(16)), self.env.sign)
        assert isinstance(fork.direction, Outgoing)
        return fork.direction.move_token, fork

    def say(self, *operations: Operation, currency: Currency = FST, wanted: bool = False) -> None:
        """Send true operations in a true move token."""
        self.say_all({currency: operations} if operations else {}, wanted=wanted)

    def say_all(
        self,
        batches: dict[Currency, Iterable[Operation]],
        *,
        wanted: bool = False,
        currencies: tuple[Currency, ...] | None = None,
        relays: tuple[RelayAddress, ...] | None = None,
    ) -> None:
        """Send a true move token with anything in it."""
        self.take_token()
        token, self.channel = self.sealed(batches, currencies, relays)
        self.tell(MoveTokenMessage(token, wanted))

    def list(self, currencies: tuple[Currency, ...]) -> None:
        """Tell which currencies we use."""
        self.say_all({}, currencies=tuple(sorted(currencies)))

    def lie(self, *operations: Operation, currency: Currency = FST) -> None:
        """Send operations that need not make sense, in an otherwise fitting move token."""
        self.take_token()
        batches = (CurrencyOperations(currency, operations),) if operations else ()
        self.tell(MoveTokenMessage(self.forged(batches), token_wanted=False))

    def forged(
        self,
        batches: tuple[CurrencyOperations, ...] = (),
        old_token: Signature | None = None,
        currencies: tuple[Currency, ...] | None = None,
        relays: tuple[RelayAddress, ...] | None = None,
        info: HashResult | None = None,
    ) -> MoveToken:
        """A signed move token with any content; the numbers are those of our present channel."""
        after = self.channel.fork()
        after.move_token_counter += 1
        token = MoveToken(
            self.old_token if old_token is None else old_token,
            batches,
            relays,
            currencies,
            info_hash(after.token_info) if info is None else info,
            RandValue(self.env.random(16)),
            Signature(bytes(64)),
        )
        return self.signed(token)

    def signed(self, token: MoveToken) -> MoveToken:
        """The same move token, signed by us."""
        buffer = move_token_buffer(prefix_of(token), token.info_hash, token.rand_nonce)
        signature = self.env.sign(buffer)
        return MoveToken(
            token.old_token,
            token.currencies_operations,
            token.local_relays,
            token.active_currencies,
            token.info_hash,
            token.rand_nonce,
            signature,
        )

    # --- resets ---------------------------------------------------------------------------------

    def offer(
        self,
        balances: tuple[tuple[Currency, int], ...],
        counter: int = 1,
        token: Signature | None = None,
    ) -> ResetTerms:
        """Declare the channel inconsistent, with these terms (our view)."""
        name = Signature(self.env.random(64)) if token is None else token
        terms = ResetTerms(name, counter, balances)
        self.tell(InconsistencyMessage(terms))
        return terms

    def follow_reset(self, terms: ResetTerms) -> None:
        """Go on with a channel that was reset on our terms."""
        tokens = [m.move_token for m in self.heard if isinstance(m, MoveTokenMessage)]
        ends = (self.key, self.victim.key)
        restarted = [receive_reset(terms, ends, one, self.env.verify) for one in tokens]
        self.channel = next(one for one in restarted if one is not None)

    # --- operations -----------------------------------------------------------------------------

    def answer_to(
        self,
        request: RequestOp,
        *,
        currency: Currency = FST,
        is_complete: bool = True,
        lock: HashedLock | None = None,
        signs: RequestOp | None = None,
        signs_complete: bool | None = None,
    ) -> ResponseOp:
        """A response signed by us; `signs` are other facts than the true ones to be signed."""
        lock = hash_lock(SECRET) if lock is None else lock
        nonce = RandValue(b"\x07" * 16)
        draft = response_op(
            request.request_id,
            lock,
            is_complete if signs_complete is None else signs_complete,
            nonce,
            Signature(bytes(64)),
        )
        buffer = response_buffer(response_terms(signs or request, draft, currency))
        signature = self.env.sign(buffer)
        return response_op(request.request_id, lock, is_complete, nonce, signature)


def ask(
    number: int,
    amount: int,
    route: tuple[PublicKey, ...] = (),
    *,
    total: int | None = None,
    fees: int = 0,
    invoice: int = 1,
    lock: HashedLock | None = None,
) -> RequestOp:
    """A request of our choice."""
    return request_op(
        uid(number) if number < 256 else Uid(number.to_bytes(16, "big")),
        hash_lock(OTHER_SECRET) if lock is None else lock,
        route,
        (amount, amount if total is None else total, fees),
        InvoiceId(bytes([invoice]) * 32),
    )
