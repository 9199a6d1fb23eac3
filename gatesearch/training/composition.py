"""Composes models of plans from heads that were trained once, in milliseconds and without running the network.

A gate that passes its input as it is changes nothing for other gates or for the network. So its head is trained once,
on a network that stays as it is, together with the heads of all other such gates. One run then records the outputs of
the network and of all heads for each sample of a split. Any plan of these gates reads its columns of this record.
Thresholds, quality and pass rates of the plan follow in the same way as for a model that runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gatesearch._lib.tensors import channels_last
from gatesearch.gates import CutGate, GateOutput, build_gate, trained_form
from gatesearch.graph.sites import CutSite, find
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.training.cascade import EVALUATION_BATCH
from gatesearch.training.features import FeatureSplit
from gatesearch.training.goals import Goal


class HeadsModel(GatedModel):
    """A gated model in which only the gates train; weights and running statistics of the network stay as they are.

    Args:
        backbone: the trained network, which is copied.
        gates: the gates, in the order of their sites; several may stand at one site.
        sites: cut sites of this network.
        outputs: shape of the network's output for one sample.
        saliency: importance of each channel [C] by site name.
    """

    def __init__(
        self,
        backbone: nn.Module,
        gates: Sequence[PlacedGate],
        sites: tuple[CutSite, ...],
        outputs: int | Sequence[int],
        saliency: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(backbone, GatePlan(tuple(gates)), sites, outputs, saliency)
        self.stages.requires_grad_(False)

    @contextmanager
    def unchanged_network(self) -> Iterator[None]:
        """Restore the network after a training, which may return an average of equal weights with rounding errors."""
        before = {name: tensor.clone() for name, tensor in self.stages.state_dict().items()}
        yield
        self.stages.load_state_dict(before)

    def train(self, mode: bool = True) -> HeadsModel:
        """Set the mode of the gates; the network stays in evaluation mode."""
        super().train(mode)
        self.stages.eval()
        return self


class RecordedGate(nn.Module):
    """A cut gate that reads its logits from a record [N, columns] in place of activations.

    Args:
        gate: the trained gate, which calibrates and holds the threshold.
        column: the column of the record with the logits of the gate.
    """

    def __init__(self, gate: CutGate, column: int) -> None:
        super().__init__()
        self.gate, self.column = gate, column
        self.exit: nn.Module | None = None

    @property
    def theta(self) -> Tensor:
        """The threshold of the gate."""
        return self.gate.theta

    def forward(self, record: Tensor) -> GateOutput:
        """Return the record [N, columns], unchanged, and the logits of the gate [N]."""
        return GateOutput(record, record[:, self.column])

    def calibrate(self, logit: Tensor, positive: Tensor) -> None:
        """Set the threshold; see :meth:`CutGate.calibrate`."""
        self.gate.calibrate(logit, positive)


class RecordedOutputs(nn.Module):
    """The last stage of a composed model: reads the network's logits from a record.

    Args:
        first: the first column of the logits; they are the last columns of the record.
    """

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first = first

    def forward(self, record: Tensor) -> Tensor:
        """Return the logits, [N, columns] to [N, classes]."""
        return record[:, self.first :]


class ComposedModel(GatedModel):
    """A gated model whose inputs are a record of all outputs, [N, columns], in place of features.

    Args:
        plan: the plan.
        gates: the gates of the plan, in order.
        heads: number of heads in the record; the logits of the network follow them.
        classes: number of the network's logits.
    """

    def __init__(self, plan: GatePlan, gates: Sequence[RecordedGate], heads: int, classes: int) -> None:
        nn.Module.__init__(self)  # GatedModel would build the stages from a network
        self.plan = plan
        self.sites, self.layer_sites, self.layer_stages = (), (), ()
        self.gates = nn.ModuleList(gates)
        self.stages = nn.ModuleList([*(nn.Identity() for _ in gates), RecordedOutputs(heads)])
        self.output_shape = (classes,)
        self.register_buffer("answers", torch.zeros(len(gates), dtype=torch.long))
        self.stream = None


@dataclass(frozen=True)
class Heads:
    """The trained heads of all gates that train alone, and the recorded outputs from which plans are composed.

    Args:
        sites: the cut sites of the network.
        columns: the column of each head in the records, by the trained form of its gate.
        states: the trained weights of each head, in the order of the columns.
        validation: the validation split, and its stream, with records [N, heads + classes] as features.
        goal: the goal of the run, for records in place of features.
    """

    sites: tuple[CutSite, ...]
    columns: Mapping[PlacedGate, int]
    states: Sequence[Mapping[str, Tensor]]
    validation: FeatureSplit
    goal: Goal

    @classmethod
    def record(cls, model: GatedModel, split: FeatureSplit, goal: Goal) -> Heads:
        """Run a model once over a split and its stream, and record its outputs.

        Args:
            model: a trained model, with the gates of all heads.
            split: the validation split.
            goal: the goal of the run, for features.
        """
        stream = split.stream
        if stream is not None:
            stream = replace(stream, features=record_outputs(model, stream.features))
        recorded = replace(split, features=record_outputs(model, split.features), stream=stream)
        return cls(
            sites=tuple(dict.fromkeys(model.sites)),
            columns={trained_form(gate): k for k, gate in enumerate(model.plan.gates)},
            states=[gate.state_dict() for gate in model.gates],
            validation=recorded,
            goal=goal.for_validation(recorded),
        )

    def covers(self, plan: GatePlan) -> bool:
        """Say whether every gate of a plan has a head."""
        return all(trained_form(gate) in self.columns for gate in plan.gates)

    def compose(self, plan: GatePlan) -> ComposedModel:
        """Return the model of a plan that :meth:`covers` accepts; it reads records, and is not calibrated."""
        gates = []
        for placed in plan.gates:
            column = self.columns[trained_form(placed)]
            with torch.random.fork_rng(devices=[]):  # initial weights, which are replaced, draw random numbers
                gate = build_gate(find(self.sites, placed.site), placed)
            assert isinstance(gate, nn.Module)
            gate.load_state_dict(self.states[column])
            gates.append(RecordedGate(gate, column))
        width = self.validation.features.shape[1]
        return ComposedModel(plan, gates, len(self.columns), width - len(self.columns)).eval()


@torch.no_grad()
def record_outputs(model: GatedModel, features: Tensor) -> Tensor:
    """Return the logits of all gates and of the network, as if no gate stopped a sample, [N, gates + classes].

    Args:
        model: a model with one logit per class.
        features: features of the samples, [N, *shape].
    """
    model.eval()
    rows = []
    for batch in features.split(EVALUATION_BATCH):
        output = model(channels_last(batch))
        rows.append(torch.cat([*(gate.logit[:, None] for gate in output.gates), output.logits], 1))
    return torch.cat(rows)
