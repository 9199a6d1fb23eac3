"""Augments batches of waveforms, spectrograms and images; every sample draws its own random values.

The modules compute on whole batches, without a loop over samples. All random numbers come from torch's global
generator. In ``eval()`` mode the modules return their input unchanged.
"""

from gatesearch.data.augment.image import ImageAugment
from gatesearch.data.augment.spectrogram import SpecAugment
from gatesearch.data.augment.wave import WaveAugment

__all__ = ["ImageAugment", "SpecAugment", "WaveAugment"]
