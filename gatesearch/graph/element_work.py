"""Element-wise work of an operator: how many values it reads or writes one by one.

This is work besides multiply-accumulates, such as sums, poolings and softmax. The unit is one value in one pass of a
plain loop. An element-wise operator needs one pass, and a softmax needs three (maximum, exponentials, division). A
pooling reads one value for each tap of each window. Views, changes of memory layout, and products with a scalar cost
nothing, because an int8 program has them in its shapes and scales.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

SOFTMAX_PASSES = 3
NORM_PASSES = 3  # mean, spread, scaling
GATED_CURVE_PASSES = 2  # the function, and the product with it
BILINEAR_TAPS, TRILINEAR_TAPS, BICUBIC_TAPS = 4, 8, 16

# Operators that only change the memory layout or the type of a tensor, or that make constants.
NO_WORK = frozenset({
    "clone", "copy_", "_to_copy", "contiguous", "_unsafe_view", "_reshape_alias", "as_strided", "resize_", "detach",
    "lift_fresh", "lift_fresh_copy", "expand_copy", "permute_copy", "fill_", "zero_", "_local_scalar_dense", "equal",
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones",
    "new_full", "new_empty", "new_empty_strided", "native_dropout", "alias", "_conj",
    "unsafe_split", "unsafe_split_with_sizes", "split_copy", "unbind_copy",
})  # fmt: skip

# A product, a sum or a pooling can include one of these operators, if nothing else reads its output.
FUSED = frozenset({
    "relu", "relu_", "clamp", "clamp_", "clamp_min", "clamp_min_", "hardtanh", "hardtanh_", "threshold", "threshold_",
})  # fmt: skip
BATCH_NORMS = frozenset({
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "batch_norm",
})  # fmt: skip
SCALINGS = frozenset({"add", "add_", "sub", "sub_", "rsub", "mul", "mul_", "div", "div_", "neg", "neg_"})


def _window(x: Tensor, size: Sequence[int], *rest: Any, output: Any) -> int:
    """Return the work of a pooling: one value for each tap of each window."""
    axes = x.ndim - 2 if x.ndim > len(size) else len(size)
    taps = math.prod(size) if len(size) > 1 else int(size[0]) ** max(1, axes)
    return _numel(output) * taps


def _whole(x: Any, *rest: Any, output: Any) -> int:
    """Return the work of one pass over the input."""
    return _numel(x)


def _ordered(x: Tensor, *rest: Any, output: Any) -> int:
    """Return the work of a sort by comparisons: n log2 n for n values."""
    return x.numel() * max(1, math.ceil(math.log2(max(2, x.numel()))))


def _passes(count: int) -> Callable[..., int]:
    return lambda x, *rest, output: count * _numel(x)


def _batch_norm(x: Tensor, *rest: Any, output: Any) -> int:
    """Return the work of a batch normalisation: one pass, or three if it computes mean and spread of its input.

    PyTorch runs an instance normalisation as a batch normalisation that computes mean and spread.
    """
    return x.numel() * (NORM_PASSES if has_own_statistics(rest) else 1)


def has_own_statistics(args: Sequence[Any]) -> bool:
    """Say whether a batch normalisation is called to compute mean and spread from its input."""
    return any(each is True for each in args)


def _attention(query: Tensor, key: Tensor, *rest: Any, output: Any) -> int:
    """Return the work of attention besides its products: softmax over [..., n, m], and the sum with a mask if any."""
    is_masked = rest[2:3] == (True,) or any(isinstance(each, Tensor) for each in rest[1:])
    return (SOFTMAX_PASSES + is_masked) * math.prod(query.shape[:-1]) * key.shape[-2]


def _per_output(count: int) -> Callable[..., int]:
    return lambda *args, output: count * _numel(output)


ELEMENT_WORK: Mapping[str, Callable[..., int]] = {
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), _passes(SOFTMAX_PASSES)),
    **dict.fromkeys(("native_layer_norm", "native_group_norm", "_fused_rms_norm"), _passes(NORM_PASSES)),
    **dict.fromkeys(("avg_pool2d", "avg_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices"), _window),
    "mkldnn_max_pool2d": _window,
    **dict.fromkeys(BATCH_NORMS, _batch_norm),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean", "logsumexp", "logcumsumexp"), _passes(2)),
    **dict.fromkeys((
        "sum", "mean", "prod", "amax", "amin", "aminmax", "any", "all", "max", "min", "argmax", "argmin", "cumsum",
        "cumprod", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d",
        "linalg_vector_norm", "nonzero", "cummax", "cummin", "nansum", "fractional_max_pool2d", "trace",
    ), _whole),
    **dict.fromkeys(("sort", "topk", "argsort", "median", "kthvalue"), _ordered),
    **dict.fromkeys(("upsample_bilinear2d", "grid_sampler_2d"), _per_output(BILINEAR_TAPS)),
    "upsample_trilinear3d": _per_output(TRILINEAR_TAPS),
    "upsample_bicubic2d": _per_output(BICUBIC_TAPS),
    # Each of these computes a function of a value, and then multiplies the value by the result.
    **dict.fromkeys((
        "silu", "silu_", "gelu", "gelu_", "hardswish", "hardswish_", "mish", "mish_", "glu",
    ), _per_output(GATED_CURVE_PASSES)),
    **dict.fromkeys((
        "_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
    ), _attention),
}  # fmt: skip


def element_work(func: Any, name: str, args: Sequence[Any], output: Any, macs: int) -> int:
    """Return the number of values that an operator reads or writes one by one, besides its products.

    Args:
        func: the operator.
        name: name of the operator's schema.
        args: arguments of the call.
        output: the tensors that the operator returned.
        macs: multiply-accumulates of the operator.
    """
    formula = ELEMENT_WORK.get(name)
    if formula is not None:
        return formula(*args, output=output)
    tensors = [leaf for leaf in tree_leaves(list(args)) if isinstance(leaf, Tensor)]
    if macs or func.is_view or name in NO_WORK or not tensors:
        return 0
    if torch.Tag.inplace_view in func.tags or torch.Tag.view_copy in func.tags:
        return 0
    if name in SCALINGS and len(tensors) == 1:
        return 0  # the other operand is a scalar
    return _numel(output)


def _numel(output: Any) -> int:
    tensor = next((leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)), None)
    return 0 if tensor is None else tensor.numel()
