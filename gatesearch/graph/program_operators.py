"""The operators of a .tflite program, from the record of the operators that a module runs.

The program differs from the record in four ways. It has a slice where an operator reads only a part of a tensor. The
converter writes some operators as several. It adds operators that reshape and transpose. The quantiser leaves some
operators in float32, and adds conversions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from gatesearch.graph.number_conversions import with_conversions
from gatesearch.graph.operator_expansions import expand
from gatesearch.graph.operator_log import Operand, Operation
from gatesearch.graph.operator_slices import with_slices
from gatesearch.graph.program_layouts import Layouts


class ProgramOperators(NamedTuple):
    """The operators of a program.

    Args:
        operations: the operators in the order in which they run, with the width of each tensor.
        results: the tensors that the program returns.
    """

    operations: list[Operation]
    results: tuple[Operand, ...]


def program_operators(
    operations: Sequence[Operation], results: Sequence[Operand], in_float: bool = False
) -> ProgramOperators:
    """Return the operators of a program.

    Args:
        operations: the record of a module's operators; see :class:`gatesearch.graph.operator_log.OperatorLog`.
        results: the tensors that the module returns.
        in_float: whether the whole program stays in float32. The width of each tensor is then 1 unit of 4 bytes.

    >>> import torch
    >>> from gatesearch.graph.operator_log import OperatorLog
    >>> module = torch.nn.Sequential(torch.nn.SiLU(), torch.nn.LeakyReLU())
    >>> with OperatorLog(module) as log:
    ...     _ = module(torch.zeros(1, 4))
    >>> [each.name for each in program_operators(log.operations(), log.results).operations]
    ['sigmoid', 'mul', 'dequantize', 'leaky_relu', 'quantize']
    """
    used = [operand.number for each in operations for operand in (*each.inputs, *each.outputs)]
    numbers = count(max([*used, *(operand.number for operand in results)], default=0) + 1)
    expanded = [step for operation in with_slices(operations, numbers) for step in expand(operation, numbers)]
    layouts = Layouts(expanded, results, numbers)
    if in_float:
        return ProgramOperators(layouts.operations, layouts.results)
    returned = {operand.number for operand in layouts.results}
    return ProgramOperators(list(with_conversions(layouts.operations, returned, numbers)), layouts.results)
