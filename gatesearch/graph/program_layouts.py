"""The reshapes and transpositions of a .tflite program, from the views through which a module reads its tensors.

Maps are channel-last in a program, [N, H, W, C], and channel-first in PyTorch. The converter keeps maps channel-last as
long as it can, and turns a 1-D convolution into a 2-D convolution over maps of height 1. If an operator reads a tensor
in another form than the form in which an earlier operator wrote it, there are views between the two. The program has
an operator for each view that the converter cannot cancel. The converter moves element-wise operators before the views.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch.utils._pytree import tree_map

from gatesearch.graph.element_work import BATCH_NORMS
from gatesearch.graph.operator_log import Operand, Operation
from gatesearch.graph.products import LINEAR, is_average_pool, is_vector_product, weights_of
from gatesearch.graph.views import RESHAPE, TO_CHANNEL_FIRST, TO_CHANNEL_LAST, View, permute, reshape, simplify

# Operators that read maps channel-last only.
MAP_OPERATORS = frozenset({
    "convolution", "max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "_prelu_kernel",
    "upsample_bilinear2d", "upsample_nearest2d", "reflection_pad2d", "replication_pad2d",
})  # fmt: skip
SHUFFLES = frozenset({"channel_shuffle", "native_channel_shuffle"})


@dataclass(frozen=True)
class Form:
    """The form in which a program stores a tensor of the module.

    Args:
        operand: the tensor as an operator of the program writes it.
        views: the views from that tensor to the module's tensor.
    """

    operand: Operand
    views: tuple[View, ...] = ()

    @property
    def is_channel_last(self) -> bool:
        """Whether the tensor is a map that is stored channel-last."""
        return len(self.views) == 1 and self.views[0].axes == TO_CHANNEL_FIRST


class Layouts:
    """Adds the operators that reshape and transpose to the operators of a module.

    Args:
        operations: the module's operators in the order in which they run.
        results: the tensors that the module returns.
        numbers: numbers for new tensors.
    """

    def __init__(self, operations: Sequence[Operation], results: Sequence[Operand], numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self._forms: dict[int, Form] = {}
        self._copies: dict[tuple[int, tuple[View, ...]], Operand] = {}
        self._operations: list[Operation] = []
        # By tensor: the copies that stand directly behind the operator that writes the tensor.
        self._copying: dict[int, list[Operation]] = {}
        self._readers = Counter(
            number
            for each in operations
            if not _reads_map(each)
            for number in {operand.number for operand in each.data}
        )
        self._readers.update({operand.number for operand in results})
        self._rows = _consecutive_products(operations)
        for operation in operations:
            self._add(operation)
        #: the tensors that the program returns; maps are channel-last, as the inputs are
        self.results = tuple(self._copy(each, self._result_views(each)) for each in results)
        self.operations = list(self._in_order())

    def _in_order(self) -> Iterator[Operation]:
        """Yield the operators in order; the copies in ``_copying`` follow the operator that writes their tensor."""
        written = {output.number for each in self._operations for output in each.outputs}
        for number in self._copying.keys() - written:
            yield from self._copying[number]
        for operation in self._operations:
            yield operation
            for output in operation.outputs:
                yield from self._copying.get(output.number, ())

    def _add(self, operation: Operation) -> None:
        data = operation.data
        if operation.layer is not None or not data:
            self._emit(operation, [self._chain(each) for each in data], [()] * len(operation.outputs))
        elif operation.name in ("clone", "contiguous") or operation.name in SHUFFLES:
            [source, *_], [output, *_] = data, operation.outputs
            self._forms[output.number] = Form(self._stored(source).operand, self._chain(source) + _shuffle(operation))
        elif is_vector_product(operation):
            [source, *_], [output, *_] = data, operation.outputs
            row = reshape(source.shape, (1, 1, 1, source.numel()))
            self._emit(operation, [(*self._chain(source), row)], [(reshape((1, 1, 1, output.numel()), output.shape),)])
        elif operation.name in LINEAR and weights_of(operation) and len(data) == 1:
            self._emit_product(operation, data[0])
        elif _reads_map(operation):
            reads = [(*self._chain(each), *_to_map(each.shape)) for each in data]
            self._emit(operation, reads, [_from_map(each.shape) for each in operation.outputs])
        elif self._is_channel_last(operation):
            reads = [(*self._chain(each), permute(each.shape, TO_CHANNEL_LAST)) for each in data]
            self._emit(operation, reads, [_from_map(each.shape) for each in operation.outputs])
        elif self._moves_before_views(operation):
            views = self._chain(data[0])
            self._emit(operation, [()] * len(data), [views] * len(operation.outputs))
        else:
            self._emit(operation, [self._chain(each) for each in data], [()] * len(operation.outputs))

    def _emit_product(self, operation: Operation, source: Operand) -> None:
        """Add a linear layer, which multiplies the last axis of a tensor of any rank, and keeps the other axes.

        PyTorch reshapes the tensor to rows before the product, and back behind it. The converter usually cancels these
        reshapes. It keeps them if the rows are the pixels of a map, and another such product or an element-wise
        operator follows.
        """
        chain, [output, *_] = self._chain(source), operation.outputs
        is_map = _joins_rows(chain) and sum(size > 1 for size in chain[-1].source[:-1]) > 1
        if not _joins_rows(chain) or (is_map and output.number in self._rows):
            self._emit(operation, [chain], [()])
            return
        last = chain[-1]
        self._emit(operation, [chain[:-1]], [(reshape((*last.source[:-1], output.shape[-1]), output.shape),)])

    def _stored(self, operand: Operand) -> Form:
        """Return the form in which a tensor is stored; a map that enters the program is channel-last."""
        if operand.number not in self._forms:
            shape = operand.views[0].source if operand.views else operand.shape
            self._forms[operand.number] = Form(replace(operand, views=(), shape=shape), _from_map(shape, rank=4))
        return self._forms[operand.number]

    def _chain(self, operand: Operand) -> tuple[View, ...]:
        """Return the views from a stored tensor to the tensor that an operator reads."""
        return (*self._stored(operand).views, *operand.views)

    def _is_channel_last(self, operation: Operation) -> bool:
        """Say whether an operator that could read maps in either form reads them channel-last."""
        maps = [*operation.data, *operation.outputs[:1]]
        if not operation.outputs or any(each.ndim != 4 for each in maps):
            return False
        # Behind a reshape, such as the last one of a channel shuffle, a map is channel-first; the converter moves no
        # transposition over a reshape, so it copies the other operands to this form.
        chains = [simplify(self._chain(each)) for each in operation.data]
        shapes = {each.shape for each in maps}
        if len(shapes) == 1 and any(chain and chain[-1].kind == RESHAPE for chain in chains):
            return False
        return any(not each.views and self._stored(each).is_channel_last for each in operation.data)

    def _moves_before_views(self, operation: Operation) -> bool:
        """Say whether the converter moves an operator before the views between it and its operands."""
        if not (operation.is_elementwise or operation.name in BATCH_NORMS or operation.is_fused):
            return False
        chains = [simplify(self._chain(each)) for each in operation.data]
        shapes = {each.shape for each in (*operation.data, *operation.outputs[:1])}
        is_alone = all(self._readers[each.number] <= 1 for each in operation.data)
        return is_alone and len(shapes) == 1 and all(chain == chains[0] for chain in chains)

    def _emit(
        self, operation: Operation, reads: Sequence[tuple[View, ...]], writes: Sequence[tuple[View, ...]]
    ) -> None:
        """Add an operator, and the operators that copy its operands to the form that it reads.

        Args:
            operation: the operator.
            reads: for each operand that is no constant, the views from the stored tensor to the form that the operator
                reads.
            writes: for each output, the views from the form that the operator writes to the module's tensor.
        """
        late = _reads_map(operation)
        copies = iter([self._copy(operand, views, late) for operand, views in zip(operation.data, reads, strict=True)])

        def read(leaf: object) -> object:
            is_data = isinstance(leaf, Operand) and not leaf.is_constant
            return replace(leaf, number=next(copies).number, views=()) if is_data else leaf  # type: ignore[type-var]

        self._operations.append(replace(operation, args=tuple(tree_map(read, list(operation.args)))))
        for output, views in zip(operation.outputs, writes, strict=True):
            self._forms[output.number] = Form(output, views)

    def _copy(self, operand: Operand, views: Sequence[View], late: bool = False) -> Operand:
        """Return a stored tensor in the form that results from views; add the operators that compute this form.

        Args:
            operand: the tensor.
            views: the views.
            late: whether the copies stand before the operator that reads them, and not behind the operator that writes
                the tensor.
        """
        if operand.is_constant:
            return operand
        stored = self._stored(operand).operand
        operations = self._operations if late else self._copying.setdefault(stored.number, [])
        for view in simplify(views):
            key = stored.number, (view,)
            if key not in self._copies:
                source = replace(stored, shape=view.source)
                self._copies[key] = Operand(next(self._numbers), view.shape, width_bytes=stored.width_bytes)
                operations.append(Operation(view.kind, (source, view), (self._copies[key],), macs=0, values=0))
            stored = self._copies[key]
        return stored

    def _result_views(self, operand: Operand) -> tuple[View, ...]:
        if operand.is_constant:
            return ()
        return (*self._chain(operand), *_to_map(operand.shape, rank=4))


def _joins_rows(views: Sequence[View]) -> bool:
    """Say whether the last view joins all axes but the last one."""
    return bool(views) and views[-1].kind == RESHAPE and views[-1].source[-1:] == views[-1].shape[-1:]


def _consecutive_products(operations: Sequence[Operation]) -> set[int]:
    """Return the numbers of the results of linear layers that a linear layer or an element-wise operator follows."""
    products: dict[int, int] = {}  # by tensor: the result of the product from which it is computed element by element
    consecutive = set[int]()
    for operation in operations:
        if len(operation.data) != 1 or not operation.outputs:
            continue
        [source], [output, *_] = operation.data, operation.outputs
        before = products.get(source.number) if all(_joins_rows([view]) for view in source.views) else None
        if operation.name in LINEAR and weights_of(operation) and not is_vector_product(operation):
            products[output.number] = output.number
            if before is not None:
                consecutive |= {before, output.number}
        elif before is not None and (operation.is_elementwise or operation.is_fused):
            products[output.number] = before
            if not operation.is_fused:
                consecutive.add(before)
    return consecutive


def _reads_map(operation: Operation) -> bool:
    """Say whether an operator reads its operand as a channel-last map."""
    ranks = {operand.ndim for operand in operation.data}
    if operation.name == "convolution":
        return ranks <= {3, 4}
    return ranks == {4} and (operation.name in MAP_OPERATORS or is_average_pool(operation))


def _to_map(shape: Sequence[int], rank: int = 3) -> tuple[View, ...]:
    """Return the views from a tensor of PyTorch to a channel-last map; none for a lower rank than ``rank``."""
    if not rank <= len(shape) <= 4:
        return ()
    row = (*shape[:2], *[1] * (4 - len(shape)), *shape[2:])
    return reshape(shape, row), permute(row, TO_CHANNEL_LAST)


def _from_map(shape: Sequence[int], rank: int = 3) -> tuple[View, ...]:
    """Return the views from a channel-last map to a tensor of PyTorch; none for a lower rank than ``rank``."""
    if not rank <= len(shape) <= 4:
        return ()
    row = (*shape[:2], *[1] * (4 - len(shape)), *shape[2:])
    view = permute([row[axis] for axis in TO_CHANNEL_LAST], TO_CHANNEL_FIRST)
    return (view,) if len(shape) == 4 else (view, reshape(row, shape))


def _shuffle(operation: Operation) -> tuple[View, ...]:
    """Return the views of an operator that copies the channels of a map in another order; () for a mere copy."""
    if operation.name not in SHUFFLES:
        return ()
    shape, groups = operation.outputs[0].shape, int(operation.args[1])
    apart = (shape[0], groups, shape[1] // groups, *shape[2:])
    swap = permute(apart, (0, 2, 1, *range(3, len(apart))))
    return reshape(shape, apart), swap, reshape(swap.shape, shape)
