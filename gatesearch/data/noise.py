"""Generates clips of background noise from random numbers, in several kinds such as hum and babble."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy import signal

from gatesearch.data.waveforms import FloatWaveform

Maker = Callable[[np.random.Generator, int, int], FloatWaveform]


def _coloured(slope: float) -> Maker:
    """Return a maker of noise whose power density at frequency f is f^-slope: 0 is white, 1 pink, 2 brown.

    Each bin of the spectrum is a complex normal number, scaled by the magnitude f^(-slope / 2). The inverse FFT turns
    the spectrum into a wave. Below 20 Hz the power does not rise further.
    """

    def make(rng: np.random.Generator, samples: int, sample_rate: int) -> FloatWaveform:
        hertz = np.fft.rfftfreq(samples, 1 / sample_rate)
        shape = np.maximum(hertz, 20.0) ** (-slope / 2)
        shape[0] = 0.0
        spectrum = rng.standard_normal(len(hertz)) + 1j * rng.standard_normal(len(hertz))
        return np.fft.irfft(spectrum * shape, samples)

    return make


white, pink, brown = _coloured(0.0), _coloured(1.0), _coloured(2.0)


def hum(rng: np.random.Generator, samples: int, sample_rate: int) -> FloatWaveform:
    """Make the hum of mains or of a motor: a fundamental of 45 to 130 Hz, its harmonics, and some pink noise."""
    time = np.arange(samples) / sample_rate
    order = np.arange(1, 13)[:, None]
    strength = rng.uniform(0, 1, (12, 1)) / order
    tones = strength * np.sin(2 * np.pi * (rng.uniform(45, 130) * order * time + rng.uniform(0, 1, (12, 1))))
    return tones.sum(0) + rng.uniform(0.05, 0.5) * scale_to_unit_power(pink(rng, samples, sample_rate))


def babble(rng: np.random.Generator, samples: int, sample_rate: int) -> FloatWaveform:
    """Make a few distant voices: bands of noise around 200 to 4000 Hz that swell at the pace of syllables."""
    time = np.arange(samples) / sample_rate
    hertz = np.fft.rfftfreq(samples, 1 / sample_rate)
    total = np.zeros(samples)
    for _ in range(4):
        centre = 10 ** rng.uniform(np.log10(200), np.log10(4000))
        band = np.exp(-0.5 * (np.log(np.maximum(hertz, 1.0) / centre) / 0.5) ** 2)
        spectrum = (rng.standard_normal(len(hertz)) + 1j * rng.standard_normal(len(hertz))) * band
        swell = np.maximum(np.sin(2 * np.pi * (rng.uniform(2, 8) * time + rng.uniform())), 0.0)
        total += scale_to_unit_power(np.fft.irfft(spectrum, samples)) * swell
    return total


def clicks(rng: np.random.Generator, samples: int, sample_rate: int) -> FloatWaveform:
    """Make clicks of keys, cups and taps: short decaying bursts over faint pink noise."""
    impulses, count = np.zeros(samples), int(rng.integers(1, 9))
    impulses[rng.integers(samples, size=count)] = rng.uniform(0.2, 1.0, count)
    length = min(samples, round(0.03 * sample_rate))
    decay = rng.uniform(0.001, 0.006) * sample_rate
    ring = rng.standard_normal(length) * np.exp(-np.arange(length) / decay)
    floor = scale_to_unit_power(pink(rng, samples, sample_rate))
    return scale_to_unit_power(signal.fftconvolve(impulses, ring)[:samples]) + rng.uniform(0.02, 0.3) * floor


MAKERS: Mapping[str, Maker] = {
    "white": white, "pink": pink, "brown": brown, "hum": hum, "babble": babble, "clicks": clicks,
}  # fmt: skip


def scale_to_unit_power(wave: FloatWaveform) -> FloatWaveform:
    """Return the wave at root mean square 1; silence stays silence."""
    power = float(np.sqrt(np.mean(wave**2)))
    return wave / power if power > 0 else wave


def draw_noise(rng: np.random.Generator, samples: int, sample_rate: int) -> tuple[str, FloatWaveform]:
    """Return the name of a random kind of noise and one clip of it [samples] at root mean square 1.

    >>> name, wave = draw_noise(np.random.default_rng(0), 16000, 16000)
    >>> name in MAKERS, round(float(np.mean(wave**2)), 6)
    (True, 1.0)
    """
    name = list(MAKERS)[int(rng.integers(len(MAKERS)))]
    return name, scale_to_unit_power(MAKERS[name](rng, samples, sample_rate))
