"""Tests that every shipped kernel passes the conformance suite."""

from __future__ import annotations

from gatesearch.gates import KernelCall
from gatesearch.kernels.conv import ConvKernel
from gatesearch.kernels.depthwise import DepthwiseKernel
from gatesearch.kernels.elementwise import GateHeadKernel, SumKernel
from gatesearch.kernels.fbs import FBSKernel
from gatesearch.kernels.fbs_pg import FBSPGKernel
from gatesearch.kernels.fbs_single import FBSSingleKernel
from gatesearch.kernels.level import LevelKernel
from gatesearch.kernels.mel import MelKernel
from gatesearch.kernels.peak import PeakKernel
from gatesearch.kernels.pg import PGKernel
from gatesearch.kernels.pool import AverageKernel, LargestKernel
from gatesearch.kernels.recurrent import GRUKernel, GRULowRankKernel, LSTMKernel, LSTMLowRankKernel
from gatesearch.runtime.stage import StageKernel
from gatesearch.testing.kernels import CountedKernelConformance, KernelConformance, LayerKernelConformance

# Convolutions: height, width, channels in and out, then kernel, stride, padding and dilation, two numbers each.
SHAPES = ((5, 4, 20, 40, 3, 3, 1, 1, 1, 1, 1, 1), (1, 1, 33, 17, 1, 1, 1, 1, 0, 0, 1, 1))
# The shares of input and output channels that a gate computes.
HALF = (("inputs", 0.5), ("outputs", 0.5))


class TestMel(KernelConformance):
    kernel = MelKernel()


class TestPeak(KernelConformance):
    kernel = PeakKernel()


class TestStage(KernelConformance):
    kernel = StageKernel()


class TestConv(CountedKernelConformance):
    kernel = ConvKernel()
    calls = tuple(KernelCall("conv", shape, (), HALF) for shape in SHAPES)


class TestDepthwise(CountedKernelConformance):
    kernel = DepthwiseKernel()
    calls = (KernelCall("depthwise", (5, 4, 20, 20, 3, 3, 1, 1, 1, 1, 1, 1)),)


class TestAverage(CountedKernelConformance):
    kernel = AverageKernel()
    calls = (KernelCall("average", (5, 4, 20, 20, 2, 2, 2, 2, 0, 0, 1, 1)),)


class TestLargest(CountedKernelConformance):
    kernel = LargestKernel()
    calls = (KernelCall("largest", (5, 4, 20, 20, 2, 2, 2, 2, 0, 0, 1, 1)),)


class TestGateHead(CountedKernelConformance):
    kernel = GateHeadKernel()
    calls = (KernelCall("gate", (5, 4, 20)),)


class TestSum(CountedKernelConformance):
    kernel = SumKernel()
    calls = (KernelCall("sum", (77,)),)


class TestLevel(CountedKernelConformance):
    kernel = LevelKernel()
    calls = tuple(KernelCall("level", (77, 32, 9, 31), (("statistic", statistic),)) for statistic in range(3))


class TestFBS(LayerKernelConformance):
    kernel = FBSKernel()
    calls = tuple(KernelCall("fbs", shape, (), HALF) for shape in SHAPES)
    tolerance = 1e-4  # torch sums in another order


class TestFBSSingle(LayerKernelConformance):
    kernel = FBSSingleKernel()
    calls = tuple(KernelCall("fbs_single", shape, (), HALF) for shape in SHAPES)
    tolerance = 1e-4


class TestFBSPG(LayerKernelConformance):
    kernel = FBSPGKernel()
    calls = tuple(
        KernelCall("fbs_pg", shape, (("block", block), ("group", 16), ("pieces", 2)), (*HALF, ("open", 0.5)))
        for shape, block in zip(SHAPES, (1, 16), strict=True)
    )
    tolerance = 1e-4


class TestPG(LayerKernelConformance):
    kernel = PGKernel()
    calls = tuple(
        KernelCall("pg", shape, (("bytes", size), ("group", group)), (("open", 0.5),))
        for shape, size, group in zip(SHAPES, (1, 2), (1, 16), strict=True)
    )
    tolerance = 1e-4  # the normalisation after the integer sums is in float


class TestLSTM(LayerKernelConformance):
    kernel = LSTMKernel()
    calls = (
        KernelCall("lstm", (5, 6, 20), (("parts", 2),), (("rich", 0.3),)),
        KernelCall("lstm", (1, 17, 9), (("parts", 0),), (("rich", 1.0),)),
    )
    tolerance = 1e-4


class TestGRU(LayerKernelConformance):
    kernel = GRUKernel()
    calls = (KernelCall("gru", (5, 6, 20), (("parts", 1),), (("rich", 0.3),)),)
    tolerance = 1e-4


class TestLSTMLowRank(LayerKernelConformance):
    kernel = LSTMLowRankKernel()
    calls = (KernelCall("lstm_lmf", (5, 6, 20), (), (("kept", 0.5),)),)
    tolerance = 1e-4


class TestGRULowRank(LayerKernelConformance):
    kernel = GRULowRankKernel()
    calls = (KernelCall("gru_lmf", (5, 6, 20), (), (("kept", 0.5),)),)
    tolerance = 1e-4
