"""Kernels in C that skip the work that gates save, each with a reference in torch or numpy.

The C sources are compiled on first use. Without a C compiler the references run instead, and :func:`status` says so.
Activations are [height, width, channels]; channels come in blocks of 16, the unit that kernels skip. Each kernel has a
Python class in a file of its own. The class describes the kernel to the rest of gatesearch
(:mod:`gatesearch.kernels.base`). Other packages may register kernels of their own.
"""

from __future__ import annotations

from gatesearch.kernels.base import ActiveChannels, CountedKernel, Kernel, LayerKernel, Listing, NativeLayer, Sample
from gatesearch.kernels.conv import Conv, ConvU8
from gatesearch.kernels.depthwise import DepthwiseU8
from gatesearch.kernels.elementwise import GateHead, add_u8
from gatesearch.kernels.fbs import FBSConv, FBSConvU8
from gatesearch.kernels.fbs_pg import FBSPG, Precision
from gatesearch.kernels.fbs_predictor import Boost
from gatesearch.kernels.fbs_single import FBSSingle
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.library import Library
from gatesearch.kernels.mel import Mel, MelStream
from gatesearch.kernels.native import load, status
from gatesearch.kernels.operand_split import OperandSplit
from gatesearch.kernels.pg_conv import PGConv
from gatesearch.kernels.pool import pool_windows
from gatesearch.kernels.recurrent_step import GRUStep, LSTMStep
from gatesearch.kernels.recurrent_weights import HMD, Dense, LowRank, Pruned, weights_from_factors
from gatesearch.kernels.registry import counted_kernels, kernels, layer_kernel, layer_kernels

__all__ = [
    "FBSPG",
    "HMD",
    "ActiveChannels",
    "Boost",
    "Conv",
    "ConvU8",
    "CountedKernel",
    "Dense",
    "DepthwiseU8",
    "FBSConv",
    "FBSConvU8",
    "FBSSingle",
    "GRUStep",
    "GateHead",
    "Geometry",
    "Kernel",
    "LSTMStep",
    "LayerKernel",
    "Library",
    "Listing",
    "LowRank",
    "Mel",
    "MelStream",
    "NativeLayer",
    "OperandSplit",
    "PGConv",
    "Precision",
    "Pruned",
    "Sample",
    "add_u8",
    "counted_kernels",
    "kernels",
    "layer_kernel",
    "layer_kernels",
    "load",
    "pool_windows",
    "status",
    "weights_from_factors",
]
