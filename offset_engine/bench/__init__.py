"""Measurements a user can repeat, each next to its physical floor taken in the same run.

| module | answers |
|---|---|
| `floors` | what this machine does at best: a signature, a verification, a hash, a synced write |
| `cores` | payments through bare cores in memory: no sockets, no disk |
| `payments` | payments through real nodes, a relay, TCP and SQLite |
| `store` | commits per second, bytes per friend and currency, bytes of history per payment |
| `relay` | memory per waiting listener, speed of a tunnel |
| `routes` | how quickly an index server finds routes in a synthetic network of trust, and takes updates meanwhile |
| `startup` | how soon the app is on the screen, and how quickly it answers |

Speeds of two machines cannot be compared, and one machine has good and bad hours; ratios to a floor of
the same run can. Every measurement ends by itself within a minute at its default size.

Source: design §3, §4; PROTOCOL.md, "Budgets".
"""

from offset_engine.bench.figures import BenchError, Figure, Figures
from offset_engine.bench.payments import PaymentsPlan, measure_payments
from offset_engine.bench.relay import RelayPlan, measure_relay
from offset_engine.bench.routes import RoutesPlan, measure_routes
from offset_engine.bench.startup import StartupPlan, measure_startup
from offset_engine.bench.store import StorePlan, measure_store

__all__ = [
    "BenchError",
    "Figure",
    "Figures",
    "PaymentsPlan",
    "RelayPlan",
    "RoutesPlan",
    "StartupPlan",
    "StorePlan",
    "measure_payments",
    "measure_relay",
    "measure_routes",
    "measure_startup",
    "measure_store",
]
