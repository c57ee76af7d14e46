"""`stctrl info`: looks at the node and changes nothing there."""

from contextlib import aclosing

from offset_engine.client import HistoryKind
from offset_engine.core.app_messages import Permission
from offset_engine.core.reports import HISTORY_PAGE_MAX
from offset_engine.files import FriendCard, Token, shown, write
from offset_engine.programs.control import showing
from offset_engine.programs.control.session import (
    Group,
    NotPossibleError,
    Session,
    add_file,
    add_force,
    add_name,
    add_style,
    small_number,
)


def add_commands(group: Group) -> None:
    """Add the subcommands."""
    group.add("relays", "List the relays the node listens at.", _relays)
    group.add("index", "List the index servers the node asks for routes.", _index)
    group.add("friends", "List the friends: E/D enabled or not, +/- online or not.", _friends)
    add_name(group.add("friend", "Show one friend and all its settings.", _friend), "friend")
    group.add("public-key", "Print the node's public key.", _public_key, None)
    group.add("balance", "Print what all friends together owe, per currency.", _balance)
    token = group.add("friend-last-token", "Write what a friend signed last.", _last_token)
    add_name(token, "friend")
    add_file(token, "-t", "--token", "the token to write")
    add_force(token)
    add_style(token)
    ticket = group.add("export-ticket", "Write the friend card to give to others.", _export)
    add_file(ticket, "-t", "--ticket", "the friend card to write")
    add_force(ticket)
    group.add("payments", "List the payments the node holds.", _payments, None)
    group.add("invoices", "List the open invoices.", _invoices, None)
    history = group.add("history", "Show what is over.", _history, Permission.TRANSACTIONS)
    history.add_argument(
        "-k",
        "--kind",
        choices=[one.value for one in HistoryKind],
        default=HistoryKind.PAYMENTS.value,
        help="which history; payments unless said otherwise",
    )
    history.add_argument(
        "-l", "--limit", type=small_number, default=100, metavar="N", help="how many; 100"
    )
    history.add_argument(
        "-b", "--before", type=small_number, metavar="NUMBER", help="only entries before this one"
    )
    group.add("watch", "Show the node and every change until stopped.", _watch)


# --- settings and balances ----------------------------------------------------------------------


async def _relays(session: Session) -> None:
    report = await session.client.report()
    relays, states = report.relays, report.connections.relays
    values = {"relays": showing.server_values(relays, states)}
    session.output.result(values, showing.server_table("relay", relays, states))


async def _index(session: Session) -> None:
    report = await session.client.report()
    servers, states = report.index_servers, report.connections.index_servers
    values = {"index_servers": showing.server_values(servers, states)}
    text = showing.server_table("index server", servers, states, report.connected_index)
    session.output.result(values, text)


async def _friends(session: Session) -> None:
    friends = (await session.client.report()).friends
    values = {"friends": [showing.friend_values(one) for one in friends]}
    session.output.result(values, showing.friend_table(friends))


async def _friend(session: Session) -> None:
    friend = await session.friend()
    lines = [
        showing.friend_table((friend,)),
        "",
        f"public key: {friend.public_key.to_text()}",
        *(f"relay: {showing.plain(one.address)}" for one in friend.remote_relays),
        f"pending requests: {friend.pending}",
    ]
    session.output.result(showing.friend_values(friend), "\n".join(lines))


async def _public_key(session: Session) -> None:
    key = session.client.node
    text = "" if key is None else key.to_text()
    session.output.result({"public_key": text}, text)


async def _balance(session: Session) -> None:
    totals = showing.totals(await session.client.report())
    rows = [(currency, str(total)) for currency, total in totals.items()]
    text = showing.table(("currency", "balance"), rows) if rows else "no currency is in use yet"
    balances = {str(currency): str(total) for currency, total in totals.items()}
    session.output.result({"balances": balances}, text)


# --- files --------------------------------------------------------------------------------------


async def _last_token(session: Session) -> None:
    args = session.args
    friend = await session.friend()
    last = friend.last_incoming
    if last is None:
        raise NotPossibleError(f"{shown(args.name)} has not signed anything yet")
    token = Token(last.prefix_hash, last.rand_nonce, last.new_token, last.token_info)
    write(args.token, token, style=session.style, force=args.force)
    session.output.result({"output": args.token, "public_key": friend.public_key.to_text()})


async def _export(session: Session) -> None:
    args = session.args
    report = await session.client.report()
    card = FriendCard(report.local_public_key, tuple(one.relay for one in report.relays))
    write(args.ticket, card, force=args.force)
    if not card.relays:
        session.output.note("warning: the card names no relay yet, so nobody can connect with it")
    session.output.result({"output": args.ticket, "public_key": card.public_key.to_text()})


# --- lists --------------------------------------------------------------------------------------


async def _payments(session: Session) -> None:
    pays = await session.client.pays()
    values = {"payments": [showing.pay_values(one) for one in pays]}
    session.output.result(values, showing.pay_table(pays))


async def _invoices(session: Session) -> None:
    invoices = await session.client.invoices()
    values = {"invoices": [showing.open_invoice_values(one) for one in invoices]}
    session.output.result(values, showing.invoice_table(invoices))


async def _history(session: Session) -> None:
    args = session.args
    limit = min(args.limit, HISTORY_PAGE_MAX)
    entries = await session.client.history(HistoryKind(args.kind), args.before, limit)
    values = {"history": [showing.history_values(one) for one in entries]}
    session.output.result(values, showing.history_table(entries))


async def _watch(session: Session) -> None:
    """One JSON object a line, or for people: everything once, then only the lines that changed."""
    before: list[str] = []
    async with aclosing(session.client.reports()) as reports:
        async for report in reports:
            lines = showing.node_lines(report)
            news = [line for line in lines if line not in before]
            gone = [f"gone: {line}" for line in before if line not in lines]
            if session.output.as_json or news or gone:
                session.output.result(showing.node_values(report), "\n".join(gone + news))
            before = lines
