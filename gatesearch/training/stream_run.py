"""Runs a gated model once over a stream and returns the outputs of all its parts at every hop.

The output of a stage at a hop does not depend on the hops at which its gate was open. So one run suffices to try any
settings of the gates and of the detector. For a stream of 15 minutes, this run takes longer than all later computations
together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gatesearch._lib.tensors import channels_last
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan
from gatesearch.runtime.chain import ChainScores
from gatesearch.runtime.detector import Array
from gatesearch.training.calibration import digest_weights
from gatesearch.training.cascade import EVALUATION_BATCH, check_finite
from gatesearch.training.stream_split import StreamSplit

MAX_RUNS = 4  # the gated model and the ungated backbone, each on the validation and on the test stream


@dataclass
class StreamRuns:
    """Runs models over streams, and stores the outputs of the last few runs, so that no run is repeated.

    A copy for another process starts without outputs.
    """

    # The keys contain id(stream). Each entry stores its stream, so that no later stream can get the same id.
    _scores: OrderedDict[tuple[str, int], tuple[StreamSplit, ChainScores]] = field(default_factory=OrderedDict)

    def run(self, model: GatedModel, stream: StreamSplit) -> ChainScores:
        """Return the outputs of a model at every hop of a stream; the outputs of the last few runs are stored.

        Raises:
            UserError: an output is not finite.
        """
        key = f"{GatePlan(model.plan.gates).digest} {digest_weights(model)}", id(stream)
        if key not in self._scores:
            self._scores[key] = stream, run_densely(model, stream)
            if len(self._scores) > MAX_RUNS:
                self._scores.popitem(last=False)
        self._scores.move_to_end(key)
        return self._scores[key][1]

    def __getstate__(self) -> dict[str, object]:
        return {"_scores": OrderedDict()}


@torch.no_grad()
def run_densely(model: GatedModel, stream: StreamSplit) -> ChainScores:
    """Run all stages, gates and exits of a model at every hop of a stream.

    Raises:
        UserError: an output is not finite.
    """
    model.eval()
    gates, logits = [], []
    exits: dict[int, list[Tensor]] = {k: [] for k, gate in enumerate(model.cut_gates) if gate.exit is not None}
    for batch in stream.features.split(EVALUATION_BATCH):
        output = model(channels_last(batch))
        logits.append(output.logits)
        # The first column, of zeros, lets the stack work without gates; it is removed below.
        gates.append(torch.stack([output.logits.new_zeros(len(batch)), *(gate.logit for gate in output.gates)], 1))
        for k, parts in exits.items():
            exit_logits = output.gates[k].exit
            assert exit_logits is not None
            parts.append(exit_logits)
    scores, outputs = torch.cat(gates)[:, 1:], torch.cat(logits)
    for k in range(scores.shape[1]):
        check_finite(scores[:, k], f"logits of gate {k + 1}")
    check_finite(outputs, "outputs of the last stage")
    answers = {k: torch.cat(parts) for k, parts in exits.items()}
    for k, answer in answers.items():
        check_finite(answer, f"outputs of the exit of gate {k + 1}")
    return ChainScores(
        gates=scores.numpy(),
        posteriors=outputs.softmax(1).numpy(),
        events=stream.events,
        signal=stream.signal,
        exits={k: answer.softmax(1).numpy() for k, answer in answers.items()},
    )


@torch.no_grad()
def observe_layers(model: GatedModel, stream: StreamSplit, runs: Sequence[Array]) -> dict[str, dict[str, float]]:
    """Return the report of each layer gate, by site, over the hops at which its stage runs.

    Args:
        model: the gated model.
        stream: the stream.
        runs: whether each stage runs, [stages][hops].
    """
    if not model.layer_gates:
        return {}
    for layer_gate in model.layer_gates.values():
        layer_gate.reset()
    model.eval()
    last = max(model.layer_stages)
    for first in range(0, len(stream.features), EVALUATION_BATCH):
        hops = np.arange(first, min(first + EVALUATION_BATCH, len(stream.features)))
        active = hops[runs[0][hops]]
        hidden = channels_last(stream.features[torch.from_numpy(active)])
        for k, stage in enumerate(model.stages[: last + 1]):
            if not len(active):
                break
            hidden = stage(hidden)
            if k < last:
                goes_on = runs[k + 1][active]
                hidden = model.gate(k)(hidden).passed[torch.from_numpy(goes_on)]
                active = active[goes_on]
    return {site: dict(gate.report()) for site, gate in model.layer_gates.items()}
