"""Ask the processor for memory that is needed soon, and go on working meanwhile.

Searches jump through memory: without this they wait three quarters of their time for what is not in a cache.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from offset_engine.graph_array.layout import Ids, Rows, Words

if TYPE_CHECKING:
    from numba.core.base import BaseContext
    from numba.core.typing.templates import Signature

_READ: Final = 0
_STAYS: Final = 3
_DATA: Final = 1

_Emit: TypeAlias = Callable[
    ["BaseContext", ir.IRBuilder, "Signature", Sequence[ir.Value]], ir.Value
]


def _emit(
    context: "BaseContext", builder: ir.IRBuilder, signature: "Signature", args: Sequence[ir.Value]
) -> ir.Value:
    """One instruction of the processor; it never fails, wherever it points."""
    elements = context.make_array(signature.args[0])(context, builder, args[0]).data
    small, byte = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, small, small, small])
    instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    place = builder.bitcast(builder.gep(elements, [args[1]]), byte)
    builder.call(instruction, [place, small(_READ), small(_STAYS), small(_DATA)])
    return context.get_dummy_value()


def _typed(_typing: object, array: types.Type, _index: types.Type) -> "tuple[Signature, _Emit]":
    return types.void(array, types.int64), _emit


_make_intrinsic: Callable[..., object] = intrinsic
prefetch = cast(Callable[[Rows | Ids | Words, int], None], _make_intrinsic(_typed))
"""In machine code only: have an array's element, counted from its first one, brought into the caches."""
