"""From a gated model to one straight-line program a stage, suppressed channels cut away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from gatesearch.export.equalise import equalise
from gatesearch.gated import GatedModel
from gatesearch.hardware.lowering import fold_batch_norms
from gatesearch.surgery import cut_channels


class StageProgram(nn.Module):
    """What one core runs: activations [N, ...] to (passed, logit [N, 1]), or to class logits in the last stage."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Run the stage."""
        result: Tensor | tuple[Tensor, Tensor] = self.head(self.body(inputs))
        return result


class _Answer(nn.Module):
    """relu(logits - lowest): the largest stays the largest, and int8 steps are not spent on classes that cannot win."""

    def __init__(self, lowest: float) -> None:
        super().__init__()
        self.lowest = lowest

    def forward(self, logits: Tensor) -> Tensor:
        return F.relu(logits - self.lowest)


def _lowest_that_matters(logits: Tensor) -> float:
    """Return a bound below the winner, and below the runner-up, of every sample; a fifth of the span lower for others."""
    top = logits.topk(min(2, logits.shape[1])).values
    return float(top.min() - 0.2 * (top.max() - top.min()))


@dataclass(frozen=True, slots=True)
class LoweredStage:
    """A stage ready for an exporter.

    Args:
        program: the module.
        samples: inputs [n, ...] that it sees in use, for quantisation ranges.
        channels: indices of the site's channels that it passes on; None for all.
    """

    program: StageProgram
    samples: Tensor
    channels: Sequence[int] | None

    @property
    def logit_offset(self) -> float:
        """What the exported class logits have to be raised by to be the model's; 0 for a gated stage."""
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
    for k, stage in enumerate(model.stages):
        is_last = k == len(model.gates)
        lowered = None if is_last else model.gate(k).lower()
        leaving = None if lowered is None else lowered.channels
        body = cut_stage(cast(fx.GraphModule, stage), full, entering, leaving)
        fold_batch_norms(body)
        equalise(body, hidden)
        head = _Answer(_lowest_that_matters(body(hidden))) if lowered is None else lowered.head
        program = StageProgram(body, head).eval()
        stages.append(LoweredStage(program, hidden, leaving))
        if lowered is not None:
            passed, logit = program(hidden)
            going = torch.nonzero(logit[:, 0] > model.gate(k).theta).flatten()
            if len(going) < fewest:
                going = logit[:, 0].argsort(descending=True)[:fewest]
            hidden, entering = passed[going], leaving
            full = model.gate(k)(stage(full)).passed[going]
    return stages


def cut_stage(
    stage: fx.GraphModule, example: Tensor, entering: Sequence[int] | None, leaving: Sequence[int] | None
) -> nn.Module:
    """Return the stage without the channels that are not kept; an empty stage becomes the identity."""
    body = cut_channels(stage, example[:1], entering, leaving)
    operations = [node for node in body.graph.nodes if node.op not in ("placeholder", "output")]
    return body if operations else nn.Identity()
