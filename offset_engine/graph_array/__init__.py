"""The graph of an index server in arrays: the same answers as `core.graph`, for millions of friendships.

It needs numpy and numba, which only the extra `index` brings; nothing but this engine asks for them.

| module | holds |
|---|---|
| `layout` | where what stands |
| `slot_kernels`, `retired`, `pool` | friendships and reports of one currency, and how they change |
| `heaps`, `search_kernels`, `exact_kernel` | the searches, in machine code |
| `workspace`, `terrain` | one query's view of it |
| `engine` | all currencies |
| `jit`, `prefetching` | how functions become machine code, and get memory in time |

Source: PROTOCOL.md, "Index servers: routes".
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from offset_engine.errors import OffsetError

if TYPE_CHECKING:
    from offset_engine.graph_array.engine import ArrayGraph

_NEEDED: Final = ("numpy", "numba")
MISSING: Final = "the array engine needs numpy and numba: install 'offset-card[index]'"
"""What to tell who wants it."""


class EngineMissingError(OffsetError):
    """The array engine's libraries are not installed."""


def is_available() -> bool:
    """Whether the libraries of the array engine are installed; does not load them."""
    return all(find_spec(name) is not None for name in _NEEDED)


def require_libraries() -> None:
    """Do nothing if the array engine can be used.

    Raises:
        EngineMissingError: its libraries are not installed.
    """
    if not is_available():
        raise EngineMissingError(MISSING)


def array_graph() -> "ArrayGraph":
    """An empty graph, ready to answer.

    The first one of a process loads libraries, which takes about a second; the first one on a machine makes
    the machine code of all searches, which takes five more.

    Raises:
        EngineMissingError: they are not installed.
    """
    require_libraries()
    engine = import_module("offset_engine.graph_array.engine")
    engine.warm_up()
    graph: ArrayGraph = engine.ArrayGraph()
    return graph
