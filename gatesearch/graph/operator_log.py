"""A record of the operators that a module runs: their costs, and the tensors they read and write.

A view counts as the tensor whose values it shows, and the record says through which views an operator reads a tensor.
An in-place operator makes a new tensor in the memory of an old one.
Like a converter, the record leaves out operators whose results nothing reads, and operators that read only constants. A
recurrent layer counts as one operator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from gatesearch.graph.element_work import BATCH_NORMS, FUSED, SCALINGS, element_work, has_own_statistics
from gatesearch.graph.operators import RECURRENT, OperatorCounter, is_elementwise, recurrent_macs
from gatesearch.graph.views import View, views_of

BIAS_BYTES = 4  # int32
REWRITTEN_LAYERS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Linear)  # see gatesearch.compile.rewrites


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor that an operator reads or writes.

    Args:
        number: identifies the tensor; a view has the number of the tensor that it shows.
        shape: the shape of the tensor.
        is_constant: whether the tensor is computed from parameters and buffers alone.
        width_bytes: bytes of a value in an int8 program; see :mod:`gatesearch.graph.program_operators`.
        offset: for a constant, the place of its first value in the parameter or buffer; a program stores each part
            that it reads as a constant of its own.
        views: the views between the tensor as it was written and the form that an operator reads.
    """

    number: int
    shape: tuple[int, ...]
    is_constant: bool = False
    width_bytes: int = 1
    offset: int = 0
    views: tuple[View, ...] = ()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def numel(self) -> int:
        """Return the number of values."""
        return torch.Size(self.shape).numel()

    def size_bytes(self) -> int:
        """Return the number of bytes of the values."""
        return self.numel() * self.width_bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """One operator that ran.

    Args:
        name: name of the operator's schema; ``"lstm"`` or ``"gru"`` for a recurrent layer.
        args: arguments of the call, with each tensor as an :class:`Operand`.
        outputs: the tensors that the operator wrote.
        macs: multiply-accumulates of the operator.
        values: number of values that the operator reads or writes one by one; see
            :mod:`gatesearch.graph.element_work`.
        is_known: whether the operator table has the operator.
        is_fused: whether the preceding operator can include this operator, so that this operator costs nothing.
        layer: the recurrent layer; None for any other operator.
        in_rewritten_layer: whether an average pooling or linear module called the operator; lowering rewrites such
            a module as a whole.
        is_elementwise: whether each value of the result depends on one value of each operand.
    """

    name: str
    args: tuple[Any, ...]
    outputs: tuple[Operand, ...]
    macs: int
    values: int
    is_known: bool = True
    is_fused: bool = False
    layer: nn.RNNBase | None = None
    in_rewritten_layer: bool = False
    is_elementwise: bool = False

    @property
    def inputs(self) -> tuple[Operand, ...]:
        """The tensors that the operator reads."""
        return tuple(leaf for leaf in tree_leaves(list(self.args)) if isinstance(leaf, Operand))

    @property
    def data(self) -> tuple[Operand, ...]:
        """The tensors that the operator reads, without constants."""
        return tuple(operand for operand in self.inputs if not operand.is_constant)

    @property
    def moved_bytes(self) -> int:
        """Bytes that the operator reads and writes in an int8 program: inputs, constants and its first output.

        A bias of a product is int32. A tensor that is read twice counts once. Further outputs do not count: in most
        operators they are by-products, such as the indices of a pooling or the last state of a recurrent layer.
        """
        if self.is_fused:
            return 0
        read = {(each.number, each.offset, each.shape): each for each in self.inputs}
        widths = [BIAS_BYTES if self.macs and each.is_constant and each.ndim == 1 else 1 for each in read.values()]
        read_bytes = sum(width * each.size_bytes() for width, each in zip(widths, read.values(), strict=True))
        return read_bytes + sum(output.size_bytes() for output in self.outputs[:1])


class OperatorLog(OperatorCounter):
    """Records the operators of one run of a module.

    Attributes:
        results: the tensors that the module returned.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()).eval()
    >>> with torch.no_grad(), OperatorLog(net) as log:
    ...     _ = net(torch.zeros(1, 1, 8, 8))
    >>> [(each.name, each.macs, each.values, each.is_fused) for each in log.operations()]
    [('convolution', 648, 0, False), ('relu', 0, 0, True)]
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = module
        self._records: list[Operation] = []
        self._storages: list[Any] = []  # stored so that no later tensor gets the memory of an earlier one
        self._numbers: dict[int, int] = {}  # by storage: number of the tensor that lies in it at present
        self._views: dict[Any, tuple[View, ...]] = {}  # by number and geometry of a view
        self._next_number = count()
        self._constants = {self._number(value) for value in (*module.parameters(), *module.buffers())}
        self.results: tuple[Operand, ...] = ()
        self._hooks: list[Any] = []
        self._depth = 0  # number of nested recurrent layers that run at present
        self._rewritten_depth = 0

    def __enter__(self) -> Self:
        for layer in self._module.modules():
            if type(layer) in RECURRENT:
                self._hooks.append(layer.register_forward_pre_hook(self._enter_layer))
                self._hooks.append(layer.register_forward_hook(self._leave_layer))
            if type(layer) in REWRITTEN_LAYERS:
                self._hooks.append(layer.register_forward_pre_hook(partial(self._count_rewritten, 1)))
                self._hooks.append(layer.register_forward_hook(partial(self._count_rewritten, -1)))
        self._hooks.append(self._module.register_forward_pre_hook(self._enter_module))
        self._hooks.append(self._module.register_forward_hook(self._leave_module))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def note(self, func: Any, name: str, args: Sequence[Any], output: Any, macs: int) -> None:
        """Record an operator that ran."""
        if self._depth:
            return
        if not func._schema.is_mutable:
            self._note_views(name, args, output)
        self._add(
            Operation(
                name=name,
                args=self._operands(args),
                outputs=(),
                macs=macs,
                values=element_work(func, name, args, output, macs),
                is_known=name not in self.unknown,
                in_rewritten_layer=bool(self._rewritten_depth),
                is_elementwise=is_elementwise(func, name),
            ),
            output,
            in_place=func._schema.is_mutable,
        )

    def operations(self) -> list[Operation]:
        """Return the operators whose results are needed; ``is_fused`` marks those that the one before can include."""
        results = {operand.number for operand in self.results}
        needed, live = set(results), list[Operation]()
        for operation in reversed(self._records):
            if needed.intersection(output.number for output in operation.outputs) and operation.data:
                needed.update(operand.number for operand in operation.data)
                live.append(operation)
        return _fuse(live[::-1], results)

    def _add(self, operation: Operation, output: Any, in_place: bool = False) -> None:
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        read = {operand.number for operand in operation.inputs}
        views = [tensor for tensor in tensors if self._number(tensor) in read]
        if len(views) == len(tensors) and not in_place:
            return
        for tensor in tensors:
            if in_place or not any(tensor is view for view in views):
                self._numbers[_storage(tensor)] = next(self._next_number)
        if not operation.data:  # the operator reads only constants, or no tensor at all, such as zeros()
            self._constants.update(map(self._number, tensors))
        self._records.append(replace(operation, outputs=self._operands(tensors)))

    def _note_views(self, name: str, args: Sequence[Any], output: Any) -> None:
        """Store the views by which an operator derives its outputs from the tensors that it reads."""
        sources = {self._number(leaf): leaf for leaf in tree_leaves(list(args)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(output):
            source = sources.get(self._number(leaf)) if isinstance(leaf, Tensor) else None
            if source is not None:
                steps = views_of(name, args, tuple(source.shape), tuple(leaf.shape))
                self._views.setdefault(self._geometry(leaf), (*self._views.get(self._geometry(source), ()), *steps))

    def _geometry(self, tensor: Tensor) -> Any:
        return self._number(tensor), int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride()

    def _operands(self, args: Sequence[Any]) -> tuple[Any, ...]:
        def operand(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            number = self._number(leaf)
            is_constant = number in self._constants
            return Operand(
                number=number,
                shape=tuple(leaf.shape),
                is_constant=is_constant,
                offset=int(leaf.storage_offset()) if is_constant else 0,
                views=() if is_constant else self._views.get(self._geometry(leaf), ()),
            )

        return tuple(tree_map(operand, list(args)))

    def _number(self, tensor: Tensor) -> int:
        """Return the number of a tensor; a tensor in a new storage gets a new number."""
        key = _storage(tensor)
        if key not in self._numbers:
            self._storages.append(tensor.untyped_storage())
            self._numbers[key] = next(self._next_number)
        return self._numbers[key]

    def _count_rewritten(self, step: int, *_: Any) -> None:
        self._rewritten_depth += step

    def _enter_layer(self, *_: Any) -> None:
        self._depth += 1

    def _leave_layer(self, layer: nn.RNNBase, inputs: tuple[Any, ...], output: Any) -> None:
        """Add a recurrent layer as one operation when its forward pass ends."""
        self._depth -= 1
        if self._depth:
            return
        x = inputs[0]
        steps = x.shape[1 if layer.batch_first and x.ndim == 3 else 0]
        batch = x.numel() // (steps * x.shape[-1])
        self._add(
            Operation(
                name=RECURRENT[type(layer)],
                args=self._operands([*inputs, *layer.parameters()]),
                outputs=(),
                macs=batch * recurrent_macs(layer, steps),
                values=0,
                layer=layer,
            ),
            output,
        )

    def _enter_module(self, module: nn.Module, inputs: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(list(inputs)) if isinstance(leaf, Tensor)]
        self._constants.difference_update(map(self._number, tensors))

    def _leave_module(self, module: nn.Module, inputs: Any, output: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        self.results = self._operands(tensors)


def layer_bytes(layer: nn.Module, shape_in: Sequence[int]) -> int:
    """Return the bytes that a layer moves for one sample in an int8 program; see :attr:`Operation.moved_bytes`.

    Args:
        layer: the layer, in evaluation mode.
        shape_in: shape of its input without the batch.

    >>> layer_bytes(nn.Conv2d(2, 3, 3), (2, 8, 8))  # 128 values in, 108 out, 54 weights, 3 biases
    302
    """
    weight = next(layer.parameters())
    with OperatorLog(layer) as log, torch.no_grad():
        layer(torch.zeros(1, *shape_in, dtype=weight.dtype, device=weight.device))
    return sum(operation.moved_bytes for operation in log.operations())


def _fuse(operations: Sequence[Operation], results: set[int]) -> list[Operation]:
    """Mark each operation that the preceding operation can include.

    Such an operation has to be the only reader of the preceding operation's output.
    """
    readers = Counter(number for each in operations for number in {operand.number for operand in each.data})
    written = set[int]()
    marked = []
    for operation in operations:
        sources = {operand.number for operand in operation.data}
        is_alone = len(sources) == 1 and not sources & results and readers[next(iter(sources))] == 1
        follows = is_alone and sources <= written
        fused = follows and _is_fusable(operation)
        if operation.macs or operation.values or follows:
            written.update(output.number for output in operation.outputs)
        marked.append(replace(operation, values=0, is_fused=True) if fused else operation)
    return marked


def _is_fusable(operation: Operation) -> bool:
    if operation.name in FUSED:
        return True
    if operation.name in BATCH_NORMS:
        return not has_own_statistics(operation.args)
    constants = [operand for operand in operation.inputs if operand.is_constant]
    # A scale or offset per channel becomes part of the weights and the bias of the operation before.
    return operation.name in SCALINGS and all(sum(size > 1 for size in each.shape) <= 1 for each in constants)


def _storage(tensor: Tensor) -> int:
    storage: int = tensor.untyped_storage()._cdata
    return storage
