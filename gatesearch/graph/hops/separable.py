"""Splits a pooling over a whole map into a pooling over frequency and a pooling over time.

The mean over time and frequency equals the mean over time of the means over frequency. The same holds for the largest
value. A network that runs hop by hop on a stream pools only new frames over frequency, and needs less state. With one
pooling, the state holds every value of the window, and each hop reads all of them again. With two poolings, the state
holds one value for each frame and channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

POOLS = (nn.AvgPool2d, nn.MaxPool2d)


@torch.no_grad()
def separate_pools(network: nn.Module, shape: tuple[int, ...], time_axis: int) -> tuple[str, ...]:
    """Replace, in place, each pooling over a whole map by a pooling over frequency and a pooling over time.

    Args:
        network: maps windows [N, *shape] to one tensor; its maps are [N, C, H, W].
        shape: shape of one window.
        time_axis: index of the time axis in ``shape``; the time axis is the same in every map.

    Returns:
        A line for each pooling that was replaced.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AvgPool2d((8, 3)), nn.Flatten())
    >>> separate_pools(net, (1, 10, 5), time_axis=1)
    ("layer '1' pools each frame first, then 8 frames",)
    >>> net[1]
    Sequential(
      (0): AvgPool2d(kernel_size=(1, 3), stride=(1, 3), padding=0)
      (1): AvgPool2d(kernel_size=(8, 1), stride=(8, 1), padding=0)
    )
    """
    if time_axis not in (1, 2) or len(shape) != 3:
        return ()
    changes = []
    for name, sizes in _pooled_maps(network, shape).items():
        layer: Any = network.get_submodule(name)
        frames, bins = sizes[time_axis - 1], sizes[2 - time_axis]
        if _pools_all(layer, sizes) and frames > 1 and bins > 1:
            network.set_submodule(name, nn.Sequential(*_in_two_steps(type(layer), frames, bins, time_axis)))
            changes.append(f"layer {name!r} pools each frame first, then {frames} frames")
    return tuple(changes)


def _in_two_steps(kind: Callable[..., nn.Module], frames: int, bins: int, time_axis: int) -> list[nn.Module]:
    """Return the pooling over frequency and the pooling over time."""
    kernels = [(1, bins), (frames, 1)] if time_axis == 1 else [(bins, 1), (1, frames)]
    return [kind(kernel) for kernel in kernels]


def _pools_all(layer: Any, sizes: tuple[int, int]) -> bool:
    kernel = layer.kernel_size if isinstance(layer.kernel_size, tuple) else (layer.kernel_size,) * 2
    padded = layer.padding not in (0, (0, 0)) or getattr(layer, "dilation", 1) not in (1, (1, 1))
    plain = not getattr(layer, "divisor_override", None) and not getattr(layer, "return_indices", False)
    return tuple(kernel) == sizes and not padded and plain


def _pooled_maps(network: nn.Module, shape: tuple[int, ...]) -> dict[str, tuple[int, int]]:
    """Return, by the name of a pooling, height and width of the map that it reads; omit poolings that run twice."""
    maps: dict[str, list[tuple[int, int]]] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if inputs[0].ndim == 4:
                maps.setdefault(name, []).append((inputs[0].shape[2], inputs[0].shape[3]))

        return hook

    pools = [(name, module) for name, module in network.named_modules() if type(module) in POOLS]
    hooks = [module.register_forward_pre_hook(record(name)) for name, module in pools]
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        network(next(network.parameters(), torch.zeros(())).new_zeros(2, *shape))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return {name: sizes[0] for name, sizes in maps.items() if len(sizes) == 1}
