"""Front ends: modules that turn raw samples into the features that a backbone reads.

Each front end has a file of its own and an entry point of the group ``gatesearch.frontends``; see :class:`Frontend`.

>>> from gatesearch.frontends import MFCC, build
"""

from gatesearch.frontends.base import ARITHMETICS, FIXED_POINT, FLOAT, FrameCall, Frontend
from gatesearch.frontends.build import build, build_for, restore
from gatesearch.frontends.fixed_mel import FixedMel
from gatesearch.frontends.identity import Identity
from gatesearch.frontends.image import Normalise
from gatesearch.frontends.log_mel import LogMel
from gatesearch.frontends.mfcc import MFCC
from gatesearch.frontends.micro import Micro
from gatesearch.frontends.sequence import SensorSequence
from gatesearch.frontends.waveform import Waveform

__all__ = [
    "ARITHMETICS",
    "FIXED_POINT",
    "FLOAT",
    "MFCC",
    "FixedMel",
    "FrameCall",
    "Frontend",
    "Identity",
    "LogMel",
    "Micro",
    "Normalise",
    "SensorSequence",
    "Waveform",
    "build",
    "build_for",
    "restore",
]
