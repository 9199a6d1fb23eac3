"""The conformance tests for gates at cut sites, in addition to the tests for every gate kind."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch.gates import CutGate, GateContext, GateOutput
from gatesearch.testing._gate_kind import SAMPLES, check_gradients
from gatesearch.testing._lowered_gates import LoweringConformance
from gatesearch.testing._suite import fixed_torch_seed


class CutGateConformance(LoweringConformance):
    """Tests the promises of :class:`gatesearch.gates.CutGate`; :mod:`gatesearch.testing.gates` shows its use."""

    def inputs(self) -> Tensor:
        """Return activations [N, *site.shape] like those behind a ReLU, larger for positive samples."""
        shift = self.positive().float().view(-1, *[1] * len(self.site.shape))
        return torch.relu(torch.randn(SAMPLES, *self.site.shape) + shift)

    def positive(self) -> Tensor:
        """Return whether each sample of :meth:`inputs` is positive, [N]; half of them are."""
        return torch.arange(SAMPLES) % 2 == 0

    def output(self, gate: Any, inputs: Tensor) -> Tensor:
        """Return the passed activations and the logit of each sample in one tensor, [N, features]."""
        output = gate(inputs)
        return torch.cat([output.passed.flatten(1), output.logit[:, None]], 1)

    @contextmanager
    def trained(self) -> Iterator[tuple[Any, Tensor]]:
        """Yield a gate in evaluation mode, after a few training steps, and activations for it."""
        with fixed_torch_seed():
            gate, hidden = self.build(), self.inputs()
            gate.initialise(torch.rand(self.site.channels))
            self._train(gate.train(), hidden)
            with torch.no_grad():
                yield gate.eval(), hidden

    def _train(self, gate: Any, hidden: Tensor) -> None:
        """Train on batches with both labels and with one label alone, and check losses and gradients."""
        optimizer = torch.optim.AdamW(gate.parameters(), lr=0.01)
        target = torch.randn(SAMPLES, *self.site.output)
        final = target + 0.1 * torch.randn_like(target)

        def loss(gate: Any, output: GateOutput, labels: Tensor, weight: Tensor | None) -> Tensor:
            context = GateContext(
                positive=labels,
                alpha=1.0,
                beta=0.1,
                distillation=0.1,
                weight=weight,
                final=final,
                errors=_distance(target),
            )
            value: Tensor = gate.loss(output, context)
            return value

        positive = self.positive()
        for labels in (positive, torch.zeros_like(positive), torch.ones_like(positive), positive):
            leaf = hidden.clone().requires_grad_()
            output = _with_exit(gate, gate(leaf))
            plain = loss(copy.deepcopy(gate), output, labels, None)
            even = loss(copy.deepcopy(gate), output, labels, torch.ones(SAMPLES))
            assert torch.allclose(plain, even), "loss() without weights differs from loss() with equal weights"
            total = loss(gate, output, labels, torch.rand(SAMPLES))
            assert total.shape == () and bool(torch.isfinite(total)), "loss() must be a finite scalar for any labels"
            optimizer.zero_grad()
            (total + output.passed.square().mean()).backward()
            check_gradients(gate, leaf)
            optimizer.step()

    def test_gate_is_a_module_that_starts_open(self) -> None:
        """A gate without calibration stops no sample, and a checkpoint holds its threshold."""
        with fixed_torch_seed():
            gate = self.build()
        assert isinstance(gate, CutGate), f"build() returned a {type(gate).__name__} that is no CutGate"
        assert isinstance(gate, nn.Module), f"build() returned a {type(gate).__name__} that is no nn.Module"
        assert "theta" in gate.state_dict(), "theta must be a buffer, so that a checkpoint holds it"
        assert float(gate.theta) == -math.inf, "theta must start at -inf: a gate not calibrated stops nothing"

    def test_samples_do_not_mix(self) -> None:
        """In evaluation, a sample's output does not depend on its batch, and the gate does not change its input."""
        with self.trained() as (gate, hidden):
            untouched, output = hidden.clone(), gate(hidden)
            assert torch.equal(hidden, untouched), "the gate changes its input in place"
            shape = tuple(output.passed.shape)
            assert shape == hidden.shape, f"passed is {shape}, not {tuple(hidden.shape)}"
            assert output.logit.shape == (SAMPLES,), f"logit is {tuple(output.logit.shape)}, not {(SAMPLES,)}"
            alone = torch.cat([gate(sample).logit for sample in hidden.split(1)])
            assert torch.allclose(alone, output.logit, atol=1e-4), "a sample's logit depends on the rest of its batch"

    def test_calibration_meets_its_target(self) -> None:
        """Calibration sets a threshold for any samples, and meets the targets of the gate's parameters."""
        with fixed_torch_seed():
            gate, logit, positive = self.build(), torch.randn(200), torch.rand(200) < 0.3
            gate.calibrate(logit, positive)
            theta = float(gate.theta)
            assert not math.isnan(theta), "calibrate() sets theta to NaN"
            order = torch.randperm(200)
            gate.calibrate(logit[order], positive[order])
            assert float(gate.theta) == theta, "calibrate() depends on the order of the samples"
            targets, passing = self.read().calibration(), logit > gate.theta
            if "recall" in targets:
                recall = float(passing[positive].float().mean())
                assert recall >= targets["recall"] - 1e-6, (
                    f"calibrate() reaches a recall of {recall:.3f}, not {targets}"
                )
            if "leaving" in targets:
                share = 1 - float(passing.float().mean())
                assert abs(share - targets["leaving"]) <= 0.02, f"calibrate() lets {share:.3f} leave, not {targets}"
            gate.calibrate(logit, torch.zeros(200, dtype=torch.bool))
            assert not bool(gate.theta.isnan()), "calibrate() sets theta to NaN where there are no positives"

    def test_gate_that_trains_alone_changes_nothing_for_others(self) -> None:
        """Where ``trains_alone()`` is true, all activations pass as they are, and the gate has weights to train."""
        if not self.kind.trains_alone(self.site, self.read()):
            return
        with self.trained() as (gate, hidden):
            for mode in (False, True):
                passed = gate.train(mode)(hidden).passed
                assert torch.equal(passed, hidden), "trains_alone() is true, and the gate changes what it passes"
            assert gate.exit is None, "trains_alone() is true, and the gate has an exit"
            weights = [parameter for parameter in gate.parameters() if parameter.requires_grad]
            assert weights, "trains_alone() is true, and the gate has no weights to train"


def _distance(target: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that computes the error of each sample [N] from outputs [N, *output].

    The error is the mean square distance from ``target``. It is 0 if the site has no output shape.
    """
    if target.ndim == 1:
        return lambda answer: answer.new_zeros(SAMPLES)
    return lambda answer: (answer - target).square().flatten(1).mean(1)


def _with_exit(gate: Any, output: GateOutput) -> GateOutput:
    assert output.exit is None, "the gate calls its own exit, which samples that pass must not run"
    return output if gate.exit is None else output._replace(exit=gate.exit(output.passed))
