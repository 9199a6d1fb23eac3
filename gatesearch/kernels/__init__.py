"""Kernels that skip what gates leave out: C sources, compiled on first use, each with its reference in torch or numpy.

Activations are height x width x channels; channels come in blocks of 16, which is what gates skip. Without a C compiler
the references run in the kernels' place, and :func:`status` says so.
"""

from __future__ import annotations

from gatesearch.kernels.channel_skipping import FBSPG, FBSSingle, Live, Precision
from gatesearch.kernels.conv import Conv, ConvU8
from gatesearch.kernels.depthwise import DepthwiseU8
from gatesearch.kernels.elementwise import (
    GateHead,
    add_u8,
    keep_channels,
    keep_nonzero,
    pool_u8,
    pool_windows,
    spread_nonzero,
)
from gatesearch.kernels.fbs import FBSConv, FBSConvU8
from gatesearch.kernels.fbs_predictor import Boost
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.mel import Mel, MelStream
from gatesearch.kernels.native import Library, load, status
from gatesearch.kernels.operand_split import Pieces
from gatesearch.kernels.pg import PGConv
from gatesearch.kernels.recurrent import HMD, Dense, GRUStep, LowRank, LSTMStep, Pruned, weights_of
from gatesearch.kernels.recurrent_u8 import GRUStepU8, LSTMStepU8, WeightsU8
from gatesearch.kernels.stage import Stage, Unsupported

__all__ = [
    "FBSPG",
    "HMD",
    "Boost",
    "Conv",
    "ConvU8",
    "Dense",
    "DepthwiseU8",
    "FBSConv",
    "FBSConvU8",
    "FBSSingle",
    "GRUStep",
    "GRUStepU8",
    "GateHead",
    "Geometry",
    "LSTMStep",
    "LSTMStepU8",
    "Library",
    "Live",
    "LowRank",
    "Mel",
    "MelStream",
    "PGConv",
    "Pieces",
    "Precision",
    "Pruned",
    "Stage",
    "Unsupported",
    "WeightsU8",
    "add_u8",
    "keep_channels",
    "keep_nonzero",
    "load",
    "pool_u8",
    "pool_windows",
    "spread_nonzero",
    "status",
    "weights_of",
]
