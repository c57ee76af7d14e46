"""Turns functions over numpy arrays into machine code that runs without the interpreter's lock.

The code is kept in the user's cache directory, never beside the installed package, which may be read-only:
in a directory of its own for every state of these sources, because what one module's code takes from
another (sizes, columns, whole functions) does not make numba look again. Where nothing can be kept it is
compiled in every process, which takes some seconds.

What may stand in such a function is what numba understands: integers of 64 bits that wrap around, arrays,
tuples, loops. Every bound is checked by the caller or in plain sight, because nothing else checks it.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, cast

import numba
import platformdirs

_F = TypeVar("_F", bound=Callable[..., object])


def _can_keep(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK)


def _choose_cache() -> bool:
    """Tell numba where compiled code is kept; false if nowhere."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return True
    sources = sorted(Path(__file__).parent.glob("*.py"))
    state = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    directory = platformdirs.user_cache_path("offset", appauthor=False) / "kernels" / state
    if not _can_keep(directory):
        return False
    # numba makes its settings at import, unknown to its types.
    vars(numba.config)["CACHE_DIR"] = str(directory)
    return True


_IS_KEPT: Final = _choose_cache()


def _compile(function: _F, *, nogil: bool = False, is_inlined: bool = False) -> _F:
    # Without reference counts: no function here keeps an array, and counting takes longer than searching.
    compile_to: Callable[..., Callable[[_F], object]] = numba.njit
    compiler = compile_to(
        cache=_IS_KEPT, nogil=nogil, forceinline=is_inlined, error_model="numpy", _nrt=False
    )
    return cast(_F, compiler(function))


def kernel(function: _F) -> _F:
    """Compile at the first call; other threads may run Python meanwhile."""
    return _compile(function, nogil=True)


def short_kernel(function: _F) -> _F:
    """Compile at the first call; nobody else runs Python meanwhile, so that it happens at once."""
    return _compile(function)


def inlined(function: _F) -> _F:
    """A piece of kernels: becomes part of them, because handing over arrays takes longer than its work."""
    return _compile(function, is_inlined=True)
