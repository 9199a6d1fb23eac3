"""The kernel of the gate kind ``quiet``: its reference, its C arguments and its cost terms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor, nn

from gatesearch.gates import KernelCall
from gatesearch.kernels import ActiveChannels, LayerKernel, Library, Listing, Sample
from gatesearch.kernels.arrays import Array, address
from gatesearch.kernels.base import Axes, Calls
from gatesearch.kernels.library import ADDRESS, FLOAT, INT, Signatures, bind_call


class QuietLayer:
    """A trained layer that the kernel runs, with weights [inputs, outputs]."""

    absorbs_norm: ClassVar[bool] = False
    reads: ClassVar[tuple[int, ...]] = ()
    active: ActiveChannels | None = None

    def __init__(self, weights: Array, bias: Array, limit: float, relu: bool, shape: Any, library: Any = None) -> None:
        self.weights, self.bias, self.limit, self.relu = weights, bias, limit, relu
        self.shape, self.library = tuple(shape), library

    @classmethod
    def from_module(
        cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool, positive: bool
    ) -> Self:
        """Return the layer of a trained gate."""
        gate: Any = layer
        weights = np.ascontiguousarray(gate.weight.detach().numpy().T)
        bias = np.zeros(weights.shape[1], np.float32) if gate.bias is None else gate.bias.detach().numpy().copy()
        return cls(weights, bias, gate.limit, relu, (*example.shape[1:-1], weights.shape[1]))

    def arrays(self) -> dict[str, Array]:
        """Return all arrays that the layer consists of."""
        numbers = {"limit": np.asarray(self.limit), "relu": np.asarray(self.relu), "shape": np.array(self.shape)}
        return {"weights": self.weights, "bias": self.bias, **numbers}

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: Library) -> Self:
        """Return the layer from the arrays that :meth:`arrays` returned."""
        weights, bias = (np.ascontiguousarray(arrays[name]) for name in ("weights", "bias"))
        shape = [int(size) for size in arrays["shape"]]
        return cls(weights, bias, float(arrays["limit"]), bool(arrays["relu"]), shape, library)

    def bind(self, x: Array, y: Array, active: ActiveChannels | None = None, whole: bool = True) -> Calls:
        """Return the layer's only kernel call."""
        inputs, outputs = self.weights.shape
        arguments = (
            address(x),
            math.prod(self.shape[:-1]),
            inputs,
            outputs,
            self.limit,
            address(self.weights),
            address(self.bias),
            int(self.relu),
            address(y),
        )
        return [bind_call(self.library.function("quiet_f32"), arguments, x, y, self)]

    def reference(self, x: Array, active: ActiveChannels | None = None) -> Array:
        """Return the layer's output, computed in NumPy; it sums column by column as the C code does."""
        rows = x.reshape(-1, len(self.weights))
        y = np.tile(self.bias, (len(rows), 1))
        read = ~((rows < np.float32(self.limit)) & (rows > -np.float32(self.limit)))
        for column, weights in enumerate(self.weights):
            products = rows[:, column, None] * weights
            y = np.where(read[:, column, None], y + products, y)
        return (np.maximum(y, 0) if self.relu else y).reshape(self.shape)


class QuietKernel(LayerKernel):
    """The kernel of a linear layer that leaves out small inputs; the shape of a call is (rows, inputs, outputs)."""

    name = "quiet"
    source = Path(__file__).with_name("quiet.c")
    runner = "quiet"
    shares = ("read",)
    listings = ("cell",)  # kernel tables time this linear layer at the sizes that they list for recurrent layers
    layer = QuietLayer
    signatures: ClassVar[Signatures] = {
        "quiet_f32": (None, (ADDRESS, INT, INT, INT, FLOAT, ADDRESS, ADDRESS, INT, ADDRESS)),
    }

    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield the calls that a board times for its table: one for each share."""
        for share in (0.0, *listing.shares):
            yield KernelCall(self.name, (1, *listing.shape), (), (("read", share),))

    def macs(self, call: KernelCall) -> float:
        """Return the MACs of the dense layer."""
        return float(math.prod(call.shape))

    def work(self, call: KernelCall, tile: int) -> dict[str, float]:
        """Return how often each loop of the C code runs, by name; the estimated time is a weighted sum of these."""
        rows, inputs, outputs = call.shape
        read = rows * inputs * dict(call.remaining).get("read", 1.0)
        return {
            "call": 1.0,
            "inputs": float(rows * inputs),
            "inputs read": read,
            "products": read * outputs,
            "outputs": float(rows * outputs),
        }

    def axes(self, call: KernelCall, reads_blocks: bool = True) -> Axes:
        """Return the shares at which a host core is timed: no input read, and all inputs read."""
        return {"read": (0.0, 1.0)}

    def sample(self, call: KernelCall, library: Library, generator: np.random.Generator) -> Sample:
        """Return a random layer and random inputs.

        The call says which share of the inputs the kernel reads; the other inputs are zero.
        """
        rows, inputs, outputs = call.shape
        x = generator.standard_normal((rows, inputs)).astype(np.float32)
        x[:, round(inputs * dict(call.remaining)["read"]) :] = 0
        weights = generator.standard_normal((inputs, outputs)).astype(np.float32)
        bias = generator.standard_normal(outputs).astype(np.float32)
        return Sample(QuietLayer(weights, bias, 1e-6, relu=False, shape=(rows, outputs), library=library), x)
