"""From a gated model to one straight-line program a stage, suppressed channels cut away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from gatesearch.compile.equalise import equalise
from gatesearch.compile.number_format import arithmetic, needs
from gatesearch.compile.prune import cut_channels
from gatesearch.compile.rewrites import fold_batch_norms
from gatesearch.devices.profile import Core
from gatesearch.model import GatedModel

WINDOW = 0.5  # of a gate logit's standard deviation, to either side of the threshold


class StageProgram(nn.Module):
    """What one core runs: activations [N, ...] to (passed, logit [N, 1]), or to the network's output in the end."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Run the stage."""
        result: Tensor | tuple[Tensor, Tensor] = self.head(self.body(inputs))
        return result


class _Decision(nn.Module):
    """Gate head whose logit fills the int8 range with the neighbourhood of its threshold: 0 to 6, the threshold at 3.

    How far a sample lies on its side of the threshold does not matter, and a logit that spans from plain silence to
    plain speech would leave the threshold between two coarse steps.
    """

    def __init__(self, head: nn.Module, center: float, half_width: float) -> None:
        super().__init__()
        self.head, self.center, self.half_width = head, center, half_width

    @property
    def window(self) -> dict[str, float]:
        """What part of the logit is exported."""
        return {"center": self.center, "half_width": self.half_width}

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        passed, logit = self.head(hidden)
        return passed, F.relu6((logit - self.center) * (3 / self.half_width) + 3)


class _Answer(nn.Module):
    """relu(logits - lowest): the largest stays the largest, and int8 steps are not spent on classes that cannot win."""

    def __init__(self, lowest: float) -> None:
        super().__init__()
        self.lowest = lowest

    def forward(self, logits: Tensor) -> Tensor:
        return F.relu(logits - self.lowest)


def _lowest_that_matters(logits: Tensor) -> float:
    """Return a bound below winner and runner-up of every sample, and a fifth of the span lower for samples unseen."""
    top = logits.topk(min(2, logits.shape[1])).values
    return float(top.min() - 0.2 * (top.max() - top.min()))


@dataclass(frozen=True, slots=True)
class LoweredStage:
    """A stage ready for an exporter.

    Args:
        program: the module.
        samples: inputs [n, ...] that it sees in use, for quantisation ranges.
        channels: indices of the site's channels that it passes on; None for all.
        exit: what samples that leave here run, from what passes to the network's output; None where they run nothing.
    """

    program: StageProgram
    samples: Tensor
    channels: Sequence[int] | None
    exit: LoweredStage | None = None

    def arithmetic(self, core: Core) -> str:
        """Return what it computes in on a core, ``"int8"`` or ``"float32"``."""
        return arithmetic(needs(self.program), core)

    @property
    def window(self) -> dict[str, float]:
        """What part of the gate's logit is exported."""
        return cast(_Decision, self.program.head).window

    def gate_logit(self, exported: Any) -> Any:
        """Return the gate's logit for a value that the exported head gives."""
        decision = cast(_Decision, self.program.head)
        return decision.center + (exported - 3) * decision.half_width / 3

    @property
    def logit_offset(self) -> float:
        """What the exported class logits have to be raised by to be the model's; 0 for anything else."""
        return self.program.head.lowest if isinstance(self.program.head, _Answer) else 0.0


@torch.no_grad()
def lower(model: GatedModel, features: Tensor, fewest: int = 64) -> list[LoweredStage]:
    """Lower every stage of a calibrated model.

    Args:
        model: thresholds set, in evaluation mode.
        features: [n, *shape] from the training split. Each stage is given those that the gates before it let through,
            or, where these are fewer than ``fewest``, those that came closest.
        fewest: see ``features``.
    """
    model.eval()
    stages, hidden, full, entering = [], features, features, None
    sites = [None, *model.sites, None]
    for k, (stage, before, after) in enumerate(zip(model.stages, sites, sites[1:], strict=False)):
        lowered = model.gate(k).lower() if k < len(model.gates) else None
        leaving = None if lowered is None else lowered.channels
        axes = tuple(site.channel_axis if site else 0 for site in (before, after))
        body = cut_stage(cast(fx.GraphModule, stage), full, entering, leaving, (axes[0], axes[1]))
        fold_batch_norms(body)
        equalise(body, hidden)
        if lowered is None:
            outputs = body(hidden)
            # What is no list of class logits is wanted as it is.
            answer = _Answer(_lowest_that_matters(outputs)) if outputs.ndim == 2 else nn.Identity()
            stages.append(LoweredStage(StageProgram(body, answer).eval(), hidden, None))
            break
        theta = float(model.gate(k).theta)
        passed, logit = lowered.head(body(hidden))
        center = theta if math.isfinite(theta) else float(logit.min())
        decision = _Decision(lowered.head, center, max(1e-3, WINDOW * float(logit.std())))
        falling = logit[:, 0].argsort(descending=True)
        light = (
            None if lowered.exit is None else _exit(lowered.exit, passed[falling], int((logit <= theta).sum()), fewest)
        )
        stages.append(LoweredStage(StageProgram(body, decision).eval(), hidden, leaving, light))
        going = torch.nonzero(logit[:, 0] > theta).flatten()
        if len(going) < fewest:
            going = falling[:fewest]
        hidden, entering = passed[going], leaving
        full = model.gate(k)(stage(full)).passed[going]
    return stages


def _exit(light: nn.Module, passed: Tensor, leaving: int, fewest: int) -> LoweredStage:
    """Lower an exit; of what passes, by falling logit, the last ``leaving`` are those that leave."""
    samples = passed[-max(leaving, min(fewest, len(passed))) :]
    body = fx.symbolic_trace(light.eval())
    fold_batch_norms(body)
    equalise(body, samples)
    return LoweredStage(StageProgram(body, nn.Identity()).eval(), samples, None)


def cut_stage(
    stage: fx.GraphModule,
    example: Tensor,
    entering: Sequence[int] | None,
    leaving: Sequence[int] | None,
    axes: tuple[int, int] = (0, 0),
) -> nn.Module:
    """Return the stage without the channels that are not kept; an empty stage becomes the identity."""
    body = cut_channels(stage, example[:1], entering, leaving, axes)
    operations = [node for node in body.graph.nodes if node.op not in ("placeholder", "output")]
    return body if operations else nn.Identity()
