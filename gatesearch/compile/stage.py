"""One stage of a gated model, as the value that each pass of the compiler takes and returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from gatesearch.compile.number_format import arithmetic, needs
from gatesearch.devices.profile import Core
from gatesearch.graph.sites import LayerSite


class StageProgram(nn.Module):
    """The module of one stage, which maps activations [N, ...] to (passed, logit [N, 1]).

    In the last stage, it maps activations to the output of the network.
    """

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Run the stage."""
        result: Tensor | tuple[Tensor, Tensor] = self.head(self.body(inputs))
        return result


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a stage: a program of plain layers, or one layer that a kernel runs.

    Args:
        inputs, outputs: names of the values that the part reads and writes, in order.
        program: the module and an example of each of its inputs; None where a kernel runs the part.
        arrays: the arrays of the kernel's layer, by name; None for a program.
        kernel: name of the :class:`~gatesearch.kernels.LayerKernel`; None for a program.
        site: the site of the layer; None for a program.
        source: index of the part that computes this part's active channels; the kernel skips all other channels. None
            where the kernel reads all channels.
        whole: whether the channels that the kernel skips must be set to zero, because another part reads them.
        reads: shape of a kernel's input, [1, h, w, c] or [1, T, F].
        positive: whether a kernel's input is never negative, because a ReLU computes it.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    program: tuple[nn.Module, tuple[Tensor, ...]] | None = None
    arrays: Mapping[str, Any] | None = None
    kernel: str | None = None
    site: str | None = None
    source: int | None = None
    whole: bool = True
    reads: tuple[int, ...] = ()
    positive: bool = False

    def describe(self) -> dict[str, Any]:
        """Return the part's entry in a bundle's manifest."""
        return {
            "kernel": self.kernel,
            "site": self.site,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "source": self.source,
            "whole": self.whole,
            "reads": list(self.reads),
        }


@dataclass(frozen=True)
class StageGraph:
    """One stage between two passes.

    Args:
        body: the stage's part of the backbone.
        head: the module behind the body. A gate maps [N, ...] to (passed, logit [N, 1]). In the last stage, the head is
            the identity or a scaling of the output.
        samples: inputs [n, ...] like those that the stage gets in use, without the channels that gates suppress.
        shape: the shape of one input with *all* channels.
        entering: indices of the channels that the gate before the stage passes on; None for all.
        leaving: indices of the channels that the stage's own gate passes on; None for all.
        axes: the channel axis of a sample at the input and at the output.
        threshold: the threshold of the gate's logit; None for the last stage.
        averages_logits: whether the gate decides by the mean of its logits over several hops of a stream.
        core: the core that runs the stage; None if only the graph is needed.
        kernels: the kernel of each layer of the stage that has one.
        parts: the parts in the order in which they run; empty if the stage is one program.
        exit: the stage that computes the answer of samples that leave at the gate; None if their answer is constant.
    """

    body: nn.Module
    head: nn.Module
    samples: Tensor
    shape: tuple[int, ...]
    entering: Sequence[int] | None = None
    leaving: Sequence[int] | None = None
    axes: tuple[int, int] = (0, 0)
    threshold: float | None = None
    averages_logits: bool = False
    core: Core | None = None
    kernels: Mapping[LayerSite, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    exit: StageGraph | None = None

    @cached_property
    def program(self) -> StageProgram:
        """Body and head as one module."""
        return StageProgram(self.body, self.head).eval()

    @property
    def arithmetic(self) -> str:
        """The number format in which the core computes the stage, ``"int8"`` or ``"float32"``."""
        assert self.core is not None
        return arithmetic(needs(self.program), self.core)

    @property
    def logit_window(self) -> dict[str, float]:
        """The part of the gate's logit that is exported; see :class:`gatesearch.compile.rescale.LogitWindow`."""
        window: dict[str, float] = self.head.window  # type: ignore[assignment]
        return window

    def gate_logit(self, exported: Any) -> Any:
        """Return the gate's logit for a value of the exported logit."""
        window = self.logit_window
        return window["center"] + (exported - 3) * window["half_width"] / 3

    @property
    def logit_offset(self) -> float:
        """The number that was subtracted from the model's class logits in export; 0 for other outputs."""
        return getattr(self.head, "lowest", 0.0)
