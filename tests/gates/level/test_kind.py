"""The level gate passes the conformance suite of gates, and fits only raw waveforms at the input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gatesearch.compile import tflite
from gatesearch.errors import UserError
from gatesearch.gates import GateError, build_gate, fits, kind_of
from gatesearch.gates.level import FRACTION_BITS, STATISTICS, LevelGate, window_statistic
from gatesearch.gates.level.gate import FLOOR
from gatesearch.graph.sites import CutSite
from gatesearch.plan import PlacedGate
from gatesearch.runtime.program import Program
from tests.testing.gate_suites import check_gate


def wave_site(*shape: int, name: str = "input") -> CutSite:
    return CutSite(name, shape, 0, 1000, 0, 10, name, output=(3,))


@pytest.mark.parametrize("shape", [(3200,), (1, 3300), (1, 4096, 1)])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_level_kind_conforms(statistic: str, shape: tuple[int, ...]) -> None:
    check_gate(kind_of("level"), wave_site(*shape), statistic=statistic)


@pytest.mark.parametrize(
    "site",
    [
        wave_site(1, 4096, 1, name="conv"),  # behind a layer
        wave_site(1, 49, 10),  # features of frames
        wave_site(2, 8000, 1),  # two channels
        wave_site(561),  # a vector of features
        wave_site(),
    ],
)
def test_the_level_kind_fits_raw_waveforms_only(site: CutSite) -> None:
    assert not fits("level", site)


def test_frames_that_are_too_long_or_too_many_are_refused() -> None:
    kind, site = kind_of("level"), wave_site(4096)
    with pytest.raises(GateError, match="500 samples make 8 frames of 4096 samples; wanted: 2 to 409 samples"):
        kind.check(site, kind.Params.read({"frame": 500}))
    with pytest.raises(UserError, match="level gate at input: frame: 1 samples make 4096 frames"):
        build_gate(site, PlacedGate.of("level", "input", frame=1))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_logit_orders_windows_as_the_integer_statistic_does(statistic: str) -> None:
    """The logit equals the integer statistic up to a small error, on speech-like bursts, tones and noises."""
    generator = np.random.default_rng(0)
    envelopes = np.repeat(generator.random((40, 10)) ** 3, 320, axis=1)
    noise = generator.normal(size=(40, 3200))
    tones = np.sin(np.outer(generator.uniform(0.1, 1.0, 40), np.arange(3200)))
    share = generator.random((40, 1))
    samples = (6000 * envelopes * (share * noise + (1 - share) * tones)).astype(np.int16)
    exact = window_statistic(statistic, samples, 320) / 2.0**FRACTION_BITS
    gate = build_gate(wave_site(3200), PlacedGate.of("level", "input", statistic=statistic))
    assert isinstance(gate, LevelGate)
    gate.peak.fill_(1 / FLOOR)  # a floor of one int16 step, as in the integer statistic
    with torch.no_grad():
        logit = gate.eval()(torch.from_numpy(samples).float()).logit.numpy()
    expected = {"spread": exact**2, "level": exact - np.log2(320), "flatness": exact}[statistic]
    np.testing.assert_allclose(logit, expected, atol=0.06 if statistic == "spread" else 0.02)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_int8_programs_decide_alike_on_every_engine(statistic: str) -> None:
    """The windows contain digital silence: engines store the infinite logarithm of an int8 zero differently."""
    torch.manual_seed(0)
    envelopes = (torch.rand(48, 1, 10, 1) ** 3).repeat_interleave(320, 2)
    tones = torch.sin(torch.linspace(0.1, 1.0, 48)[:, None] * torch.arange(3200))[:, None, :, None]
    share = torch.rand(48, 1, 1, 1)
    waves = 3 * envelopes * (share * torch.randn(48, 1, 3200, 1) + (1 - share) * tones) * (envelopes > 0.05)
    gate = build_gate(wave_site(1, 3200, 1), PlacedGate.of("level", "input", statistic=statistic))
    assert isinstance(gate, LevelGate)
    gate.train()(waves)
    logit = gate.eval()(waves).logit.detach().numpy()
    head = gate.lower().head.eval()
    blob = tflite.quantise(tflite.convert(head, waves[:1]), tflite.channel_last(waves.numpy()))
    for engine in ("litert", "tflm"):
        program = Program(blob, engine)
        windows = [program.inputs[0].quantise(tflite.channel_last(wave.numpy())) for wave in waves.split(1)]
        numbers = np.array([program(window)[1].item() for window in windows])
        assert np.corrcoef(numbers, logit)[0, 1] > 0.98, engine


def test_the_floor_follows_the_waveforms_in_training() -> None:
    """A front end may scale waveforms; the logits do not depend on the scale."""
    torch.manual_seed(0)
    waves = torch.randn(64, 3200) * torch.rand(64, 10).repeat_interleave(320, 1)
    logits = []
    for scale in (1.0, 1000.0):
        gate = build_gate(wave_site(3200), PlacedGate.of("level", "input"))
        assert isinstance(gate, LevelGate)
        for batch in (scale * waves).split(16):
            gate.train()(batch)
        logits.append(gate.eval()(scale * waves).logit)
    assert torch.allclose(*logits, atol=1e-4)


def test_speech_like_bursts_pass_and_steady_noise_stops() -> None:
    torch.manual_seed(0)
    noise = torch.randn(80, 16000) * torch.rand(80, 1)
    bursts = noise.clone()
    bursts[:40, :9600] *= 0.05
    gate = build_gate(wave_site(16000), PlacedGate.of("level", "input"))
    assert isinstance(gate, LevelGate)
    gate.train()(bursts)
    logit, positive = gate.eval()(bursts).logit, torch.arange(80) < 40
    gate.calibrate(logit, positive)
    assert bool((logit[positive] > gate.theta).all()) and bool((logit[~positive] <= gate.theta).all())
