"""One stage of a gated model as a value that the passes hand on to each other."""

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
    """What one core runs: activations [N, ...] to (passed, logit [N, 1]), or to the network's output at the end."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Run the stage."""
        result: Tensor | tuple[Tensor, Tensor] = self.head(self.body(inputs))
        return result


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a stage.

    Args:
        inputs, outputs: names of the values that it reads and writes, in order.
        program: the module and an example of each of its inputs; None where a kernel runs the part.
        arrays: the arrays of the kernel, by name; None for a program.
        kernel: name in a :class:`~gatesearch.kernels.LayerKernel`; None for a program.
        site: the site of the layer; None for a program.
        source: index of the part whose blocks are the only ones that this one has to read; None where it reads all.
        whole: whether another part reads what the kernel does not compute, which then has to be zero.
        reads: shape of what a kernel reads, [1, h, w, c] or [1, T, F].
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

    def describe(self) -> dict[str, Any]:
        """Return the part's entry of a manifest, as what runs bundles reads it."""
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
        body: [N, *entering] to [N, *leaving]: the stage of the backbone.
        head: what follows: a gate, [N, ...] to (passed, logit [N, 1]), or what ends the network.
        samples: inputs [n, ...] that the stage gets in use, without the channels that were cut.
        shape: the shape of one input with *all* channels.
        entering: indices of the channels that the gate before passes on; None for all.
        leaving: indices of the channels that its own gate passes on; None for all.
        axes: which axis of a sample has the channels, at the input and at the output.
        threshold: the threshold of the gate's logit; None behind the last gate.
        core: the core that runs the stage; None where nothing but the graph is asked for.
        kernels: for layers of the stage, the kernels that can run them.
        parts: programs and kernels in the order in which they run; none where one program is all.
        exit: what samples run that leave at the gate; None where their answer is constant.
    """

    body: nn.Module
    head: nn.Module
    samples: Tensor
    shape: tuple[int, ...]
    entering: Sequence[int] | None = None
    leaving: Sequence[int] | None = None
    axes: tuple[int, int] = (0, 0)
    threshold: float | None = None
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
        """The arithmetic of its core, ``"int8"`` or ``"float32"``."""
        assert self.core is not None
        return arithmetic(needs(self.program), self.core)

    @property
    def logit_window(self) -> dict[str, float]:
        """Which part of the gate's logit is exported; see :class:`gatesearch.compile.rescale.LogitWindow`."""
        window: dict[str, float] = self.head.window  # type: ignore[assignment]
        return window

    def gate_logit(self, exported: Any) -> Any:
        """Return the gate's logit for a value that the exported head gives."""
        window = self.logit_window
        return window["center"] + (exported - 3) * window["half_width"] / 3

    @property
    def logit_offset(self) -> float:
        """What the exported class logits have to be raised by to be the model's; 0 for anything else."""
        return getattr(self.head, "lowest", 0.0)
