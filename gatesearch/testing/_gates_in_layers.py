"""The conformance tests for gates that replace layers, in addition to the tests for every gate kind."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch.gates import LayerGate, LayerWork
from gatesearch.graph.sites import CutSite, LayerSite
from gatesearch.graph.trace import trace
from gatesearch.kernels import layer_kernel
from gatesearch.testing._gate_kind import SAMPLES, GateConformance, check_export, check_gradients
from gatesearch.testing._suite import fixed_torch_seed


class LayerGateConformance(GateConformance):
    """Tests the promises of :class:`gatesearch.gates.LayerGate`; :mod:`gatesearch.testing.gates` shows its use."""

    site: LayerSite

    def layer(self) -> nn.Module:
        """Return the layer that the gate replaces; an LSTM needs ``batch_first``."""
        raise NotImplementedError

    def inputs(self) -> Tensor:
        """Return inputs of the layer, [N, *site.shape_in]."""
        return torch.randn(SAMPLES, *self.site.shape_in) + 0.5

    def output(self, gate: Any, inputs: Tensor) -> Tensor:
        """Return the output tensor of a gate, without the state that a recurrent layer returns."""
        output = gate(inputs)
        first: Tensor = output if isinstance(output, Tensor) else output[0]
        return first

    @contextmanager
    def trained(self) -> Iterator[tuple[Any, Tensor]]:
        """Yield a gate in evaluation mode, after four training steps, and inputs for it."""
        with fixed_torch_seed():
            gate, inputs = self.build(), self.inputs()
            self._train(gate.train(), inputs)
            with torch.no_grad():
                yield gate.eval(), inputs

    def _train(self, gate: Any, inputs: Tensor) -> None:
        """Take a training step at four points of annealing, and check outputs, losses and gradients."""
        optimizer = torch.optim.AdamW(gate.parameters(), lr=0.01)
        for progress in (0.0, 0.25, 0.5, 1.0):
            gate.anneal(progress)
            leaf = inputs.clone().requires_grad_()
            output = self.output(gate, leaf)
            shape = (SAMPLES, *self.site.shape)
            assert tuple(output.shape) == shape, f"the output is {tuple(output.shape)}, not {shape}"
            loss = gate.loss()
            assert isinstance(loss, Tensor) and loss.shape == (), "loss() must be a scalar tensor"
            assert bool(torch.isfinite(loss)), "loss() is not finite"
            optimizer.zero_grad()
            (loss + output.square().mean()).backward()
            check_gradients(gate, leaf)
            optimizer.step()

    def test_gate_is_a_module_that_tracing_leaves_whole(self) -> None:
        """The trace of a model with the gate has one node for the gate."""
        with fixed_torch_seed():
            gate = self.build()
        assert isinstance(gate, LayerGate), f"build() returned a {type(gate).__name__} that is no LayerGate"
        assert isinstance(gate, nn.Module), f"build() returned a {type(gate).__name__} that is no nn.Module"
        assert gate.traced_whole is True, "torch.fx looks into the gate: traced_whole must be True"
        calls = [node.target for node in trace(nn.Sequential(gate)).graph.nodes if node.op == "call_module"]
        assert calls == ["0"], f"a trace calls {calls}, not the gate alone"

    def test_trained_layer_stays_as_it_is(self) -> None:
        """A gate copies weights of the layer and of the normalisation behind it, and does not change them."""
        with fixed_torch_seed():
            layer, norm = self.layer(), self.norm()
            originals = nn.ModuleList([layer] if norm is None else [layer, norm])
            before = copy.deepcopy(originals.state_dict())
            gate: Any = self.kind.build(self.site, self.read(), layer, norm)
            self._train(gate.train(), self.inputs())
            for name, value in originals.state_dict().items():
                same = torch.equal(before[name], value)
                assert same, "training the gate changes the layer that it was made from: copy tensors that you store"

    def test_samples_do_not_mix(self) -> None:
        """In evaluation, a sample's output does not depend on its batch, and input and state do not change.

        The published code of Precision Gating (Zhang et al. 2020) breaks this promise, because it quantises by the
        maximum of a batch.
        """
        with self.trained() as (gate, inputs):
            inputs[0] *= 100  # changes the batch's maximum and mean
            original, before = inputs.clone(), copy.deepcopy(gate.state_dict())
            together = self.output(gate, inputs)
            assert torch.equal(inputs, original), "the gate changes its input in place"
            alone = torch.cat([self.output(gate, sample) for sample in inputs.split(1)])
            scale = float(together.abs().max())
            same = torch.allclose(alone, together, atol=1e-5 * scale)
            assert same, "a sample's output depends on the rest of its batch"
            same = all(torch.equal(before[name], value) for name, value in gate.state_dict().items())
            assert same, "evaluation changes the state of the gate"

    def test_gate_can_be_copied(self) -> None:
        """A gate can be copied after a forward pass in training, as a checkpoint copies it."""
        with self.trained() as (gate, inputs):
            state, expected = copy.deepcopy(gate.state_dict()), self.output(gate, inputs)
            with torch.enable_grad():
                gate.train()(inputs)
            gate.load_state_dict(state)
            try:
                duplicate = copy.deepcopy(gate)
            except RuntimeError as error:
                raise AssertionError(f"the gate cannot be copied after a forward in training: {error}") from error
            assert torch.equal(self.output(duplicate.eval(), inputs), expected), (
                "a deep copy of the gate does something else"
            )

    def test_gate_can_be_exported(self) -> None:
        """The gate can be converted to .tflite, and the program computes what the gate computes."""
        with self.trained() as (gate, inputs):
            check_export(_Output(gate), inputs, "the gate")

    def test_report_sums_over_samples(self) -> None:
        """A report covers all samples in evaluation since the last reset, however they are batched."""
        with self.trained() as (gate, inputs):
            gate.reset()
            empty, whole = self._report(gate), self._report(gate, inputs)
            gate.reset()
            assert self._report(gate) == empty, "reset() does not clear the observations"
            parts = self._report(gate, *inputs.split([1, 5, SAMPLES - 6]))
            same = parts.keys() == whole.keys() and all(
                math.isclose(parts[name], whole[name], rel_tol=1e-5) for name in whole
            )
            assert same, f"report() depends on how samples are batched: {parts}, not {whole}"
            state = copy.deepcopy(gate.state_dict())
            gate.train()(2 * inputs)
            gate.load_state_dict(state)
            assert self._report(gate) == parts, "report() counts inputs in training"

    def _report(self, gate: Any, *batches: Tensor) -> dict[str, float]:
        """Run batches in evaluation and return the gate's report; check that the kind declares the report's figures."""
        gate.eval()
        for batch in batches:
            gate(batch)
        report, figures = dict(gate.report()), {figure.name: figure for figure in self.kind.figures}
        for name, value in report.items():
            is_finite = isinstance(value, float) and math.isfinite(value)
            assert is_finite, f"report(): {name} is {value!r}, not a plain, finite float"
            assert name in figures, f"report(): {name} is none of the kind's figures"
            assert figures[name].unit != "share" or 0 <= value <= 1, f"report(): {name} is {value}, which is no share"
        return report

    def test_work_is_least_without_a_report(self) -> None:
        """Shares of work are between 0 and 1; without a report, the work is the least that the parameters allow."""
        with self.trained() as (gate, inputs):
            gate.reset()
            gate(inputs)
            least, observed = self.work(), self.work(gate.report())
            assert self.work({}) == least, "work() differs between no report and an empty one"
            count = sum(p.numel() for p in gate.parameters())
            for work in (least, observed):
                assert work.calls, "work(): there is no call, not even one of which nothing is left"
                for call in work.calls:
                    assert min(call.bits) >= 1, f"work(): a call of {call.bits} bits"
                    assert all(0.0 <= share <= 1.0 for _, share in call.remaining), (
                        f"work(): {call.remaining} are no shares"
                    )
                assert 0.0 < work.density <= 1.0, f"work(): density {work.density} is not in (0, 1]"
                assert work.macs >= 0, "work(): macs is negative"
                assert 0 <= work.params <= count, f"work(): params is {work.params}, the gate has {count} in all"
            for name, figure in FIGURES.items():
                lower, higher = figure(least), figure(observed)
                message = f"{name} must be the least possible, yet it is {lower:g}, with one {higher:g}"
                assert lower <= higher + 1e-9, f"work(): without a report {message}"

    def test_kernels_are_installed(self) -> None:
        """Every kernel that the work names is installed."""
        for call in self.work().kernels:
            assert layer_kernel(call.kernel, "work()").axes(call)

    def test_kind_is_refused_at_cuts(self) -> None:
        """The kind is not for cut sites."""
        assert self.kind.site_type is not CutSite, "the kind is for cut sites"

    def work(self, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return the work of a gate with the suite's parameters."""
        work = self.kind.work(self.site, self.read(), observed)
        assert isinstance(work, LayerWork), f"work() returned a {type(work).__name__}, not a LayerWork"
        return work


class _Output(nn.Module):
    """A module that returns only the output tensor of a gate, because the converter takes no recurrent state."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        output = self.gate(x)
        first: Tensor = output if isinstance(output, Tensor) else output[0]
        return first


FIGURES: Mapping[str, Callable[[LayerWork], float]] = {
    "the work of all calls": lambda work: sum(call.share * math.prod(call.bits) for call in work.calls),
    "macs": lambda work: work.macs,
    "density": lambda work: work.density,
}
