"""The conformance tests for the exported (lowered) form of a cut gate, and for the work that a gate declares."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gatesearch.gates import CutWork
from gatesearch.graph.channel_axes import select
from gatesearch.graph.sites import CutSite
from gatesearch.testing._gate_kind import SAMPLES, GateConformance, check_export


class LoweringConformance(GateConformance):
    """Tests the promises of :meth:`gatesearch.gates.CutGate.lower`, and that ``work()`` counts the lowered form.

    Lowering separates a trained gate into the channels that stay, a head that computes the logit, and an exit.
    """

    site: CutSite

    def test_lowered_head_is_the_gate(self) -> None:
        """The lowered head computes the same as the gate on the channels that stay; the other channels are zero."""
        with self.trained() as (gate, hidden):
            channels, head, _ = gate.lower()
            indices, axis = _channel_list(self.site, channels), self.site.channel_axis + 1
            assert indices and indices == sorted(set(indices)), (
                "lower(): channels must rise, without repeats, and not be empty"
            )
            assert indices[0] >= 0 and indices[-1] < self.site.channels, "lower(): a channel does not exist"
            output, (passed, logit) = gate(hidden), head.eval()(select(hidden, indices, axis))
            assert logit.shape == (SAMPLES, 1), f"the lowered head's logit is {tuple(logit.shape)}, not [N, 1]"
            same = torch.allclose(passed, select(output.passed, indices, axis), atol=1e-5)
            assert same, "the lowered head passes something else"
            assert torch.allclose(logit[:, 0], output.logit, atol=1e-4), "the lowered head's logit is another"
            rest = [channel for channel in range(self.site.channels) if channel not in indices]
            assert not select(output.passed, rest, axis).any(), "a channel that lower() drops is not zero"

    def test_lowered_gate_can_be_exported(self) -> None:
        """The lowered head and the lowered exit can be converted to .tflite, and their programs compute the same."""
        with self.trained() as (gate, hidden):
            channels, head, light = gate.lower()
            indices = select(hidden, _channel_list(self.site, channels), self.site.channel_axis + 1)
            for name, part in (("head", head), ("exit", light)):
                if part is not None:
                    check_export(part, indices, f"the lowered {name}")

    def test_work_is_that_of_the_lowered_head(self) -> None:
        """``work()`` counts the parameters and multiply-accumulates of the lowered head."""
        with self.trained() as (gate, hidden):
            work, (channels, head, _) = self.work(), gate.lower()
            indices = _channel_list(self.site, channels)
            assert len(indices) <= work.kept_channels <= self.site.channels, (
                "work(): kept_channels is less than the channels that lower() keeps"
            )
            assert 0 < work.elements <= self.site.elements, "work(): elements is out of range"
            assert 0.0 < work.density <= 1.0, "work(): density is not in (0, 1]"
            if len(indices) == work.kept_channels:
                params, macs = _size(head, select(hidden[:1], indices, self.site.channel_axis + 1))
                assert work.params == params, f"work(): params is {work.params}, the lowered head has {params}"
                assert work.macs >= macs, f"work(): macs is {work.macs}, the lowered head takes {macs}"

    def test_exit_is_priced_and_lowered(self) -> None:
        """The lowered exit computes the same as the gate's exit, and ``work()`` counts the exit's work."""
        with self.trained() as (gate, hidden):
            work, (channels, _, light) = self.work(), gate.lower()
            if gate.exit is None:
                assert light is None, "lower() gives an exit, and the gate has none"
                assert work.exit_macs == work.exit_params == 0, "work() prices an exit, and the gate has none"
                return
            passed = gate(hidden).passed
            answer = gate.exit(passed)
            shape = tuple(answer.shape[1:])
            assert shape == self.site.output, f"the exit gives {shape}, not {self.site.output}"
            alone = torch.cat([gate.exit(sample) for sample in passed.split(1)])
            assert torch.allclose(alone, answer, atol=1e-4), "a sample's answer depends on the rest of its batch"
            assert light is not None, "lower() leaves the exit out"
            indices = _channel_list(self.site, channels)
            crossing = select(passed, indices, self.site.channel_axis + 1)
            assert torch.allclose(light.eval()(crossing), answer, atol=1e-4), "the lowered exit gives something else"
            if len(indices) == work.kept_channels:
                params, macs = _size(light, crossing[:1])
                assert work.exit_params == params, f"work(): exit_params is {work.exit_params}, the exit has {params}"
                assert work.exit_macs == macs, f"work(): exit_macs is {work.exit_macs}, the exit takes {macs}"

    def work(self) -> CutWork:
        """Return the work of a gate with the suite's parameters."""
        work = self.kind.work(self.site, self.read())
        assert isinstance(work, CutWork), f"work() returned a {type(work).__name__}, not a CutWork"
        return work


def _channel_list(site: CutSite, channels: Sequence[int] | None) -> list[int]:
    return list(range(site.channels)) if channels is None else list(channels)


def _size(module: nn.Module, inputs: Tensor) -> tuple[int, int]:
    """Return the number of a module's parameters, and its multiply-accumulates for ``inputs``."""
    with FlopCounterMode(display=False) as counter:
        module(inputs)
    return sum(p.numel() for p in module.parameters()), counter.get_total_flops() // 2
