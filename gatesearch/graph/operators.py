"""The operator table: the multiply-accumulates (MACs) of each PyTorch operator.

The table is keyed by the name of the operator's schema. An operator that PyTorch dispatches is of one of three kinds:

- It multiplies matrices. :data:`MULTIPLYING` has a formula for its MACs.
- It multiplies no matrix, and has no MACs, as in the literature. :data:`FREE` lists such operators, unless tags of
  PyTorch mark them.
- It is unknown. The counter reports it with the number of values that it computes.

In evaluation, PyTorch may run a whole attention layer as one fused operator. The counter makes it run operator by
operator instead, as it is exported and trained (:func:`unfused_attention`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

RECURRENT: dict[type[nn.Module], str] = {nn.LSTM: "lstm", nn.GRU: "gru"}


def recurrent_macs(layer: nn.RNNBase, steps: int) -> int:
    """Return the multiply-accumulates of a recurrent layer over one sequence of ``steps`` steps.

    At every step, each matrix of every stacked layer and direction multiplies one vector. Element-wise products of
    vectors do not count, as in other layers.

    >>> recurrent_macs(nn.LSTM(10, 118), 49) == 49 * 4 * 118 * (10 + 118)
    True
    >>> recurrent_macs(nn.GRU(6, 8, num_layers=2, bidirectional=True), 5) == 5 * 2 * 3 * 8 * ((6 + 8) + (16 + 8))
    True
    """
    return steps * sum(value.numel() for name, value in layer.named_parameters() if name.startswith("weight"))


def _convolution(x: Tensor, weight: Tensor, *rest: Any, output: Tensor) -> int:
    """Return the MACs of a convolution: each position of the output takes one MAC for each weight.

    For a transposed convolution, the positions of the input count instead.
    """
    transposed = rest[4]
    places = x.shape[2:] if transposed else output.shape[2:]
    return x.shape[0] * math.prod(places) * weight.numel()


def _product(a: Tensor, b: Tensor, *rest: Any, output: Tensor) -> int:
    """Return the MACs of [..., n, k] times [..., k, m] or times a vector [k]: k for each value of the result."""
    return a.numel() * (b.shape[-1] if b.ndim > 1 else 1)


def _added_product(added: Tensor, a: Tensor, b: Tensor, *rest: Any, output: Tensor) -> int:
    return _product(a, b, output=output)


def _attention(query: Tensor, key: Tensor, value: Tensor, *rest: Any, output: Any) -> int:
    """Return the MACs of attention.

    Attention multiplies queries [..., n, d] by keys [..., m, d]. Then it multiplies the resulting attention weights
    [..., n, m] by values [..., m, e].
    """
    return query.numel() * key.shape[-2] + math.prod(query.shape[:-1]) * value.shape[-2] * value.shape[-1]


def _distance(a: Tensor, b: Tensor, *rest: Any, output: Tensor) -> int:
    """Return the MACs of the distances of n points to m points in k dimensions: a product [n, k] times [k, m]."""
    return output.numel() * a.shape[-1]


def _trilinear(a: Tensor, weight: Tensor, b: Tensor, *rest: Any, output: Tensor) -> int:
    """Return the MACs of a bilinear layer with inputs [N, i] and [N, j] and weight [o, i, j].

    The layer takes a product over j, and then a product over i.
    """
    return a.shape[0] * (weight.numel() + weight.shape[0] * weight.shape[1])


def _recurrent(x: Tensor, weight_input: Tensor, weight_hidden: Tensor, *rest: Any, output: Any) -> int:
    """Return the MACs of one recurrent layer in one direction over [T, N, features]."""
    return x.shape[0] * x.shape[1] * (weight_input.numel() + weight_hidden.numel())


MULTIPLYING: Mapping[str, Callable[..., int]] = {
    "convolution": _convolution,
    "mm": _product,
    "bmm": _product,
    "mv": _product,
    "dot": _product,
    "vdot": _product,
    "linear": lambda x, weight, *rest, output: x.numel() * weight.shape[0],
    "addmm": _added_product,
    "baddbmm": _added_product,
    "addbmm": _added_product,
    "addmv": _added_product,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
    "_cdist_forward": _distance,
    "_euclidean_dist": _distance,
    "_trilinear": _trilinear,
    "mkldnn_rnn_layer": _recurrent,
}
# Activations that PyTorch does not tag as element-wise.
ACTIVATIONS = frozenset({
    "hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_", "leaky_relu", "leaky_relu_", "elu", "elu_", "celu",
    "selu", "mish", "mish_", "silu", "silu_", "softplus", "hardtanh", "hardtanh_", "log_sigmoid_forward", "prelu",
    "_prelu_kernel", "threshold", "threshold_", "rrelu_with_noise", "rrelu_with_noise_",
})  # fmt: skip
# Operators without a product of matrices that have none of the tags in FREE_TAGS.
FREE = ACTIVATIONS | frozenset({
    # Pools, normalisations, softmax, resizing.
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d", "avg_pool2d",
    "avg_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices", "mkldnn_max_pool2d", "native_batch_norm",
    "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "native_layer_norm", "native_group_norm",
    "_fused_rms_norm", "_softmax", "_log_softmax", "_safe_softmax", "linalg_vector_norm", "_weight_norm_interface",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d", "upsample_bilinear2d",
    "upsample_bicubic2d", "upsample_trilinear3d", "grid_sampler_2d", "fractional_max_pool2d", "max_unpool2d",
    # Sums and extremes; only newer versions of PyTorch tag them.
    "sum", "mean", "prod", "amax", "amin", "aminmax", "any", "all", "var", "std", "var_mean", "std_mean", "logsumexp",
    # Constants of a tensor's shape.
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones",
    "new_full", "new_empty", "new_empty_strided",
    # Copies.
    "glu", "cat", "stack", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d",
    "replication_pad2d", "copy_", "fill_", "zero_", "resize_", "index", "index_select", "index_put", "index_put_",
    "gather", "scatter", "scatter_", "scatter_add", "embedding", "repeat", "repeat_interleave", "flip", "roll", "tril",
    "triu", "im2col", "col2im", "unfold", "as_strided", "masked_fill_", "masked_select", "unsafe_split",
    "unsafe_split_with_sizes", "_unsafe_view", "_reshape_alias", "pixel_shuffle", "_to_copy",
    "pixel_unshuffle", "channel_shuffle", "replication_pad3d", "reflection_pad3d", "_unsafe_index", "index_add",
    "index_copy", "scatter_reduce", "select_scatter", "slice_scatter", "polar", "trace",
    # Comparisons, cumulative sums, random numbers.
    "sort", "topk", "argsort", "argmax", "argmin", "max", "min", "cumsum", "cumprod", "cummax", "cummin",
    "logcumsumexp", "nansum", "median", "kthvalue", "nonzero", "bucketize", "searchsorted", "native_dropout",
    "bernoulli_", "uniform_", "normal_", "random_", "_local_scalar_dense", "equal",
})  # fmt: skip
FREE_TAGS = {torch.Tag.pointwise, torch.Tag.inplace_view, torch.Tag.view_copy}


@contextmanager
def unfused_attention() -> Iterator[None]:
    """Make attention and transformer layers run operator by operator, as they are exported and trained."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class OperatorCounter(TorchDispatchMode):
    """Counts the multiply-accumulates of all operators that run in its context, over the whole batch.

    Attributes:
        macs: number of multiply-accumulates so far.
        unknown: number of values computed by each operator that the table does not know, by the operator's name.
        values: number of values computed by all operators.

    >>> lstm = nn.LSTM(3, 5, batch_first=True)
    >>> with OperatorCounter() as counter:
    ...     _ = lstm(torch.zeros(2, 7, 3))
    >>> counter.macs == 2 * recurrent_macs(lstm, 7), dict(counter.unknown)
    (True, {})
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0
        self.unknown = Counter[str]()
        self.values = 0

    def __enter__(self) -> Self:
        self._unfused = unfused_attention()
        self._unfused.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._unfused.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and count its MACs and values; decompose it if no formula is known."""
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        formula = MULTIPLYING.get(name)
        counted = formula is not None or _is_free(func, name, args, kwargs)
        if not counted and func._can_decompose():
            return self._decompose(func, args, kwargs)
        output = func(*args, **kwargs)
        values = sum(leaf.numel() for leaf in tree_leaves(output) if isinstance(leaf, Tensor))
        macs = 0 if formula is None else formula(*args, output=output)
        self.values += values
        self.macs += macs
        if not counted:
            self.unknown[name] += values
        self.note(func, name, (*args, *kwargs.values()), output, macs)
        return output

    def _decompose(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run an operator as the operators that it consists of, and count those.

        The method enters and leaves the context by ``super()``, because a derived class may do more when it leaves.
        """
        super().__enter__()
        try:
            return func.decompose(*args, **kwargs)
        finally:
            super().__exit__(None, None, None)

    def note(self, func: Any, name: str, args: Sequence[Any], output: Any, macs: int) -> None:
        """Do nothing; a derived class can record the operator that ran.

        Args:
            func: the operator.
            name: name of the operator's schema.
            args: arguments of the call.
            output: the tensors that the operator returned.
            macs: multiply-accumulates of the operator.
        """


def is_elementwise(func: Any, name: str) -> bool:
    """Say whether each value of an operator's result depends on one value of each operand."""
    return name in ACTIVATIONS or torch.Tag.pointwise in func.tags


def _is_free(func: Any, name: str, args: Any, kwargs: Any) -> bool:
    """Say whether an operator is known to multiply no matrix: it is listed, tagged, a view, or reads no tensor."""
    if func.namespace != "aten":
        return bool(func.namespace == "prim")
    if name in FREE or func.is_view or FREE_TAGS.intersection(func.tags):
        return True
    return not any(isinstance(leaf, Tensor) for leaf in tree_leaves((args, kwargs)))
