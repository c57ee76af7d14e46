"""The measurements: they end, name their figures as promised, and stay within three times their bars.

Absolute speed never decides: a floor is measured in the same run, and bare cores by the time of their
thread, so that a busy machine passes too.
"""

import json
import sys
from pathlib import Path

import pytest

from offset_engine.bench import (
    BenchError,
    Figures,
    PaymentsPlan,
    RelayPlan,
    StartupPlan,
    StorePlan,
    measure_payments,
    measure_relay,
    measure_startup,
    measure_store,
)
from offset_engine.bench.cores import Person, Program, open_chain, pay_in_waves
from offset_engine.bench.figures import quantile, rounded
from offset_engine.bench.floors import CryptoFloor, measure_crypto, measure_fsync_ms
from offset_engine.programs.bench import Line, run

BAR_SLACK = 3


def number(figures: Figures, *path: str) -> float:
    found: object = figures
    for name in path:
        assert isinstance(found, dict)
        found = found[name]
    assert isinstance(found, int | float)
    return found


# --- bare cores ---------------------------------------------------------------------------------


def test_a_payment_alone_takes_twelve_tokens_and_many_at_once_share_them() -> None:
    payer = Program(open_chain())
    pay_in_waves(payer, 1, 1)  # also tells friends about relays
    alone = pay_in_waves(payer, 2, 1)
    assert (alone.tokens / alone.payments, alone.steps / alone.payments) == (12, 16)
    full = pay_in_waves(payer, 128, 64)
    assert full.tokens / full.payments == 12 / 64


def test_two_runs_with_the_same_seed_do_exactly_the_same() -> None:
    chains = [open_chain(seed=7), open_chain(seed=7), open_chain(seed=8)]
    for chain in chains:
        pay_in_waves(Program(chain), 3, 3)
    one, same, other = ([core.state.friends for core in chain.all] for chain in chains)
    assert one == same
    assert one != other


def test_money_has_moved_and_nothing_is_left_behind() -> None:
    chain = open_chain()
    pay_in_waves(Program(chain), 5, 5)
    for core in chain.all:
        assert not core.state.payments
        assert not core.state.invoices
        assert not core.state.outgoing_ids
    friends = chain.all[-1].state.friends.values()
    balances = [led.balance for one in friends for led in one.channel.ledgers.values()]
    assert balances == [500]


def test_people_pay_with_the_nodes_own_way_of_paying() -> None:
    chain = open_chain()
    payer = Person(chain)
    pay_in_waves(payer, 3, 2)
    assert payer.finished == 3
    assert not payer.buyer.state.intents


# --- floors and figures -------------------------------------------------------------------------


def test_floors_are_positive_and_the_lower_of_two_counts(tmp_path: Path) -> None:
    floor = measure_crypto()
    assert min(floor.sign_us, floor.verify_us, floor.hash_us) > 0
    assert CryptoFloor(1, 5, 3).better(CryptoFloor(2, 4, 3)) == CryptoFloor(1, 4, 3)
    assert CryptoFloor(1, 10, 0).payment_us == 31
    assert CryptoFloor(1, 10, 0).alone_us == 13 + 150
    assert measure_fsync_ms(tmp_path) > 0
    assert not list(tmp_path.iterdir())


def test_quantiles_are_values_that_occurred() -> None:
    assert quantile([], 0.5) == 0
    assert quantile([3, 1, 2], 0.5) == 2
    assert quantile(range(100), 0.99) == 99
    assert rounded(123456) == 123500


# --- payments -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def payments() -> Figures:
    return measure_payments(PaymentsPlan(payments=100, in_flight=16))


def test_payments_names_what_scripts_rely_on(payments: Figures) -> None:
    promised = {
        "payments_per_second", "floor_per_second", "ratio_to_floor", "waves", "latency_ms",
        "core_ratio_to_floor", "core_alone_ratio_to_token_floor", "nodes", "in_flight", "commit_ms",
    }  # fmt: skip
    assert promised <= payments.keys()
    assert payments["nodes"] == 4
    assert payments["in_flight"] == 16
    for path in (
        ("payments_per_second",),
        ("floor_per_second",),
        ("waves", "payments_per_second"),
        ("waves", "ratio_to_floor"),
        ("latency_ms", "p50"),
        ("latency_with_search_ms", "p99"),
        ("commit_ms",),
        ("fsync_ms",),
        ("rows_per_payment",),
        ("commits_per_payment",),
        ("tokens_per_payment",),
        ("steps_per_payment",),
    ):
        assert number(payments, *path) > 0
    assert json.loads(json.dumps(payments)) == payments


def test_ratios_stay_within_three_times_their_bars(payments: Figures) -> None:
    assert number(payments, "core_ratio_to_floor") <= 4 * BAR_SLACK
    assert number(payments, "core_alone_ratio_to_token_floor") <= 2.5 * BAR_SLACK
    floor_us = 1e6 / number(payments, "floor_per_second")
    assert number(payments, "cpu_us_per_payment") / floor_us <= 20 * BAR_SLACK
    # A payment cannot be quicker than the cryptography in it.
    assert number(payments, "core_ratio_to_floor") > 1
    assert number(payments, "core_alone_ratio_to_token_floor") > 1


def test_a_payment_alone_needs_no_more_tokens_and_commits_than_it_should(payments: Figures) -> None:
    assert number(payments, "alone", "tokens_per_payment") <= 12
    assert number(payments, "alone", "commits_per_payment") <= 18
    assert number(payments, "waves", "commits_per_payment") < 4


# --- store --------------------------------------------------------------------------------------


def test_store_names_its_figures_and_keeps_its_budgets() -> None:
    figures = measure_store(StorePlan(payments=128, friends=20, commits=48))
    assert number(figures, "commits_per_second") > 0
    assert number(figures, "floor_per_second") > 0
    assert 0 < number(figures, "bytes_per_friend_currency") <= 4096 * BAR_SLACK
    for role in ("buyer", "mediator", "seller"):
        assert 0 < number(figures, "history_bytes_per_payment", role) <= 1024 * BAR_SLACK
        assert number(figures, "state_growth_bytes", role) <= 32_768


def test_a_disk_that_cannot_be_written_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["store", "--directory", "/proc"]) == 1
    assert "offset bench: " in capsys.readouterr().err


# --- relay --------------------------------------------------------------------------------------


def test_relay_names_its_figures_and_keeps_its_budget() -> None:
    figures = measure_relay(RelayPlan(listeners=30, mib=1))
    assert number(figures, "tunnel_mib_per_second") > 0
    assert number(figures, "floor_mib_per_second") > 0
    kib = figures["kib_per_listener"]
    if kib is not None:  # elsewhere than on Linux nobody tells
        assert isinstance(kib, float)
        assert kib <= 80 * BAR_SLACK


def test_a_relay_measurement_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(BenchError, match=r"tunnel|connect"):
        measure_relay(RelayPlan(listeners=30, mib=1, part_s=0.001))


# --- the program --------------------------------------------------------------------------------


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["relay", "--json", "--listeners", "5", "--mib", "1"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out).keys() >= {"kib_per_listener", "tunnel_mib_per_second"}
    assert err == ""


def test_a_piped_table_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["relay", "--listeners", "1", "--mib", "1"]) == 0
    out = capsys.readouterr().out
    assert "a waiting listener" in out
    assert out.isascii()


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["everything"],
        ["payments", "--payments", "0"],
        ["payments", "--payments", "1.5"],
        ["payments", "--in-flight", "-1"],
        ["store", "--directory", "/no/such/place"],
    ],
)
def test_a_wrong_command_line_ends_with_usage(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(argv)
    assert caught.value.code == 2
    assert "usage: offset bench" in capsys.readouterr().err


def test_verdicts_compare_with_aim_and_bar() -> None:
    assert Line("x", 1, "", None, 4, 2).verdict == "aim met"
    assert Line("x", 3, "", None, 4, 2).verdict == "bar met"
    assert Line("x", 5, "", None, 4, 2).verdict == "MISSED"
    assert Line("x", None, "", None, 4, 2).verdict == ""
    assert Line("x", 1).verdict == ""


# --- the app ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_app_is_measured_in_a_terminal_while_payments_go_through_its_card() -> None:
    figures = measure_startup(StartupPlan(starts=1, keys=10, idle_s=2))
    assert number(figures, "first_paint_ms") > number(figures, "first_paint_floor_ms") > 0
    assert number(figures, "key_to_paint_p99_ms") >= number(figures, "key_to_paint_p50_ms") > 0
    assert number(figures, "mediated_per_second") > 20
    assert number(figures, "idle_bytes_per_second") <= BAR_SLACK * 100
    assert number(figures, "rss_mib") <= BAR_SLACK * 110
