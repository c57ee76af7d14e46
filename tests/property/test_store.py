"""Whatever a state holds, a store gives it back; and a save that looks only at what was touched is enough."""

import dataclasses
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offset_engine.core.events import Touched
from offset_engine.core.state import NodeState
from offset_engine.store import HistoryKind, MemoryStore, SqliteStore, touched_between
from offset_engine.store.rows import changes_between, rows_of
from offset_engine.store.tables import STATE_TABLES
from tests.property.store_strategies import LOCAL, RECORDS, friends, states, stored

SOME = settings(
    max_examples=settings().max_examples // 2,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
NOTHING = Touched((), (), (), (), settings=False)


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def new_store(request):
    """A maker of empty stores, each closed before the next is made."""
    with tempfile.TemporaryDirectory() as directory:
        made = []

        def make():
            for store in made:
                store.close()
            if request.param == "memory":
                made[:] = [MemoryStore(LOCAL)]
            else:
                for file in Path(directory).iterdir():
                    file.unlink()
                made[:] = [SqliteStore.create(Path(directory) / "node.db", LOCAL)]
            return made[0]

        yield make
        for store in made:
            store.close()


def everything(new: NodeState, old: NodeState | None = None) -> Touched:
    return touched_between(old or NodeState(LOCAL), new)


@SOME
@given(state=states(), records=st.lists(RECORDS, max_size=4))
def test_what_is_saved_is_loaded_with_its_history(new_store, state, records):
    store = new_store()
    store.save(store.load(), state, everything(state), records)
    assert stored(store.load()) == stored(state)
    kept = [entry.record for kind in HistoryKind for entry in reversed(store.history(kind))]
    assert sorted(map(repr, kept)) == sorted(map(repr, records))


@SOME
@given(first=states(), second=states(), data=st.data())
def test_one_state_replaces_another(new_store, first, second, data):
    # Mixing parts of both makes common keys with equal, changed and missing content.
    mixed = dataclasses.replace(
        second,
        friends={**second.friends, **_some(data, first.friends)},
        payments={**second.payments, **_some(data, first.payments)},
        intents={**second.intents, **_some(data, first.intents)},
        invoices={**second.invoices, **_some(data, first.invoices)},
        closed_invoices={**_some(data, first.closed_invoices), **second.closed_invoices},
    )
    store = new_store()
    store.save(store.load(), first, everything(first), ())
    store.save(first, mixed, everything(mixed, first), ())
    assert _sorted_rows(store.load()) == _sorted_rows(mixed)


@SOME
@given(first=states(), data=st.data())
def test_a_friend_that_comes_back_changed_is_written_as_a_whole(new_store, first, data):
    if not first.friends:
        return
    key = data.draw(st.sampled_from(sorted(first.friends)))
    again = data.draw(friends(key))
    second = dataclasses.replace(first, friends={**first.friends, key: again})
    store = new_store()
    store.save(store.load(), first, everything(first), ())
    store.save(first, second, dataclasses.replace(NOTHING, friends=(key,)), ())
    assert store.load().friends == second.friends


@SOME
@given(state=states(), data=st.data())
def test_a_touched_save_writes_the_same_rows_as_a_full_one(state, data):
    changed, touched = _step(state, data)
    by_touched = changes_between(state, changed, touched)
    in_full = changes_between(state, changed, touched_between(state, changed))
    for table in STATE_TABLES:
        for some, full in (
            (by_touched.upserts, in_full.upserts),
            (by_touched.deletes, in_full.deletes),
        ):
            assert sorted(map(repr, some[table.name])) == sorted(map(repr, full[table.name]))
    assert _applied(state, by_touched) == _sorted_rows(changed)


@SOME
@given(state=states())
def test_an_unchanged_state_costs_no_row(state):
    same = dataclasses.replace(
        state,
        friends={key: friend.fork() for key, friend in state.friends.items()},
        payments={key: payment.fork() for key, payment in state.payments.items()},
        intents={key: intent.fork() for key, intent in state.intents.items()},
        invoices={key: invoice.fork() for key, invoice in state.invoices.items()},
    )
    changes = changes_between(state, same, everything(same, state))
    assert not changes.upserts
    assert not changes.deletes


def _some(data, items):
    return {key: item for key, item in items.items() if data.draw(st.booleans())}


def _step(state: NodeState, data):
    """Change some things the way a step does: fork, change the fork, name the key."""
    changed = dataclasses.replace(
        state,
        friends=state.friends.copy(),
        payments=state.payments.copy(),
        invoices=state.invoices.copy(),
        closed_invoices=state.closed_invoices.copy(),
    )
    touched_friends = tuple(_some(data, state.friends))
    for key in touched_friends:
        friend = changed.friends[key] = state.friends[key].fork()
        friend.backwards.take(data.draw(st.integers(0, 2)))
        friend.backwards.items.extend(friend.backwards.items[:1])
        friend.forwarded.replace(friend.forwarded.items[1:])
        friend.own.items.extend(friend.own.items[:1])
        for ledger in friend.consistent.ledgers.values() if friend.consistent else ():
            for request_id in list(_some(data, ledger.local)):
                ledger.local_pending_debt -= ledger.local.pop(request_id).request.freeze
            for request_id in list(_some(data, ledger.remote)):
                ledger.set_next(request_id, None)
    touched_payments = tuple(_some(data, state.payments))
    for payment_id in touched_payments:
        del changed.payments[payment_id]
    touched_invoices = tuple(_some(data, state.invoices))
    for invoice_id in touched_invoices:
        invoice = changed.invoices[invoice_id] = state.invoices[invoice_id].fork()
        for group in invoice.groups.values():
            for place in list(_some(data, group.members)):
                del group.members[place]
    # The oldest closed invoice makes room without being named.
    for invoice_id in list(state.closed_invoices)[: data.draw(st.integers(0, 1))]:
        del changed.closed_invoices[invoice_id]
    return changed, Touched(touched_friends, touched_payments, (), touched_invoices, settings=False)


def _applied(state: NodeState, changes):
    tables = {
        table.name: {row[: len(table.key)]: row for row in rows_of(state).get(table.name, ())}
        for table in STATE_TABLES
    }
    for table in STATE_TABLES:
        for key in changes.deletes.get(table.name, ()):
            del tables[table.name][key]
        for row in changes.upserts.get(table.name, ()):
            tables[table.name][row[: len(table.key)]] = row
    return {name: sorted(map(repr, rows.values())) for name, rows in tables.items()}


def _sorted_rows(state: NodeState):
    rows = rows_of(state)
    return {table.name: sorted(map(repr, rows.get(table.name, ()))) for table in STATE_TABLES}
