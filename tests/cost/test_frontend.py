"""Tests of the price of a front end: counted where a kernel computes it, else by the rate of the profile."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gatesearch.cost.frontend import FrontendWork, follow_core
from gatesearch.cost.sources import board
from gatesearch.devices import profile
from gatesearch.frontends import FIXED_POINT, FLOAT, MFCC, Frontend, LogMel
from gatesearch.frontends.identity import Identity
from gatesearch.gates import KernelCall
from gatesearch.kernels import counted_kernels


class Louder(LogMel):
    """A front end that a user derives from a shipped one, with other features."""

    def compress(self, magnitudes: Tensor) -> Tensor:
        """Return doubled features."""
        return 2 * super().compress(magnitudes)


@pytest.mark.parametrize(
    "front", [LogMel(), MFCC(), LogMel(mel_bins=20), MFCC(window_ms=40.0, stride_ms=40.0, fft=1024)]
)
@pytest.mark.parametrize("device", ["three_core", "m55_u55", "cortex_a"])
def test_a_shipped_front_end_costs_its_counted_frames(front: LogMel, device: str) -> None:
    core = profile.load(device).core(profile.load(device).sense.core)
    costs, call = board.costs_of(core), front.frame_call()
    assert costs is not None and call is not None
    frame = costs.reading(KernelCall(*call))
    assert frame is not None
    window, hop = FrontendWork.on_core(front, core), FrontendWork.on_core(front, core, 2 * front.stride)
    assert window.latency_us(core) == pytest.approx(core.latency_us(frame * front.output_shape[1]))
    assert hop.latency_us(core) == pytest.approx(core.latency_us(frame * 2))
    assert (window.macs, hop.macs) == (front.macs(), front.hop_macs(2 * front.stride))


def test_a_frame_of_forty_bands_takes_far_less_than_100_000_instructions_on_a_cortex_m4() -> None:
    table = board.tables.load("test", "cortex_m4")
    call = LogMel().frame_call()
    assert call is not None
    reading = table.costs.reading(KernelCall(*call))
    assert reading is not None and 10_000 < reading < 35_000


@pytest.mark.parametrize("front", [Louder(), LogMel(window_ms=1.0, stride_ms=1.0, fft=16, mel_bins=2), Identity()])
def test_a_front_end_without_a_kernel_is_priced_by_the_rate_of_the_profile(front: Frontend) -> None:
    core = profile.load("three_core").core("mcu")
    work = FrontendWork.on_core(front.fit(torch.randn(4, 16000)), core)
    assert work == FrontendWork(front.macs())
    assert work.latency_us(core) == core.timing.frontend_us(front.macs())


def test_a_core_without_a_table_is_priced_by_the_rate_of_the_profile() -> None:
    core = profile.load("host").core("host")
    assert FrontendWork.on_core(LogMel(), core) == FrontendWork(LogMel().macs())


def test_a_frame_of_the_kernel_has_about_the_products_of_the_front_end() -> None:
    """The front end counts every complex product; the kernel saves those of the first pass."""
    call = LogMel().frame_call()
    assert call is not None
    assert counted_kernels()["fixed_mel"].macs(KernelCall(*call)) == pytest.approx(LogMel().macs() / 49, rel=0.4)


def sound(largest: float = 1.0) -> torch.Tensor:
    """Return clips in float whose largest sample is given."""
    clips = torch.randn(4, 16000, generator=torch.Generator().manual_seed(0))
    return clips / clips.abs().max() * largest


@pytest.mark.parametrize(
    ("front", "device", "inputs", "arithmetic"),
    [
        (LogMel(), "three_core", sound(), FIXED_POINT),
        (MFCC(), "m55_u55", (32767 * sound()).to(torch.int16), FIXED_POINT),
        (LogMel(), "host", sound(), FLOAT),  # no kernel table, and the price is that of float
        (Louder(), "three_core", sound(), FLOAT),
        (Identity(), "three_core", sound(), FLOAT),
        (LogMel(), "three_core", sound(40.0), FLOAT),
    ],
)
def test_a_front_end_computes_as_its_price_counts(
    front: Frontend, device: str, inputs: torch.Tensor, arithmetic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    core = profile.load(device).core(profile.load(device).sense.core)
    follow_core(front.fit(inputs), core, inputs)
    assert front.arithmetic == arithmetic == front.describe()["arithmetic"]
    beyond_full_scale = inputs.is_floating_point() and float(inputs.abs().max()) > 1
    assert ("computes in float: samples reach 40" in capsys.readouterr().err) == beyond_full_scale
