"""The operators of TensorFlow Lite Micro (TFLM), and the call that adds each one to a resolver."""

from __future__ import annotations

from collections.abc import Iterable

from gatesearch.compile.flatbuffer import operator_names
from gatesearch.compile.vela import NPU_OPERATOR
from gatesearch.errors import UserError, nearest

# The operators for which MicroMutableOpResolver has a method, as TFLM writes them: `Conv2D` stands for AddConv2D().
# Source: tensorflow/lite/micro/micro_mutable_op_resolver.h of the repository tflite-micro.
# fmt: off
METHODS = (
    "Abs", "Add", "AddN", "ArgMax", "ArgMin", "AssignVariable", "AveragePool2D", "BatchMatMul", "BatchToSpaceNd",
    "BroadcastArgs", "BroadcastTo", "CallOnce", "Cast", "Ceil", "Concatenation", "Conv2D", "Cos", "CumSum",
    "DepthToSpace", "DepthwiseConv2D", "Dequantize", "Div", "Elu", "Equal", "Exp", "ExpandDims", "Fill", "Floor",
    "FloorDiv", "FloorMod", "FullyConnected", "Gather", "GatherNd", "Greater", "GreaterEqual", "HardSwish", "If",
    "L2Normalization", "L2Pool2D", "LeakyRelu", "Less", "LessEqual", "Log", "LogicalAnd", "LogicalNot", "LogicalOr",
    "Logistic", "LogSoftmax", "Maximum", "MaxPool2D", "Mean", "Minimum", "MirrorPad", "Mul", "Neg", "NotEqual",
    "Pack", "Pad", "PadV2", "Prelu", "Quantize", "ReadVariable", "ReduceMax", "Relu", "Relu6", "Reshape",
    "ResizeBilinear", "ResizeNearestNeighbor", "Round", "Rsqrt", "SelectV2", "Shape", "Sin", "Slice", "Softmax",
    "SpaceToBatchNd", "SpaceToDepth", "Split", "SplitV", "Sqrt", "Square", "SquaredDifference", "Squeeze",
    "StridedSlice", "Sub", "Sum", "Svdf", "Tanh", "Transpose", "TransposeConv", "UnidirectionalSequenceLSTM",
    "Unpack", "VarHandle", "While", "ZerosLike",
)
# fmt: on
_BY_NAME = {method.upper(): method for method in METHODS} | {NPU_OPERATOR: "EthosU"}


def resolver_method(operator: str) -> str:
    """Return the method that adds an operator of a .tflite file to a resolver.

    Raises:
        UserError: TFLM has no such operator.

    >>> resolver_method("DEPTHWISE_CONV_2D"), resolver_method("PADV2"), resolver_method("ethos-u")
    ('AddDepthwiseConv2D', 'AddPadV2', 'AddEthosU')
    >>> resolver_method("CONV_3D")
    Traceback (most recent call last):
    ...
    gatesearch.errors.UserError: TFLM has no operator CONV_3D; nearest: Conv2D
    """
    method = _BY_NAME.get(operator if operator in _BY_NAME else operator.replace("_", "").upper())
    if method is None:
        close = nearest(operator.replace("_", ""), METHODS)
        raise UserError(f"TFLM has no operator {operator}" + (f"; nearest: {close}" if close else ""))
    return f"Add{method}"


def resolver_methods(models: Iterable[bytes]) -> list[str]:
    """Return the methods that add exactly the operators of some models, in alphabetical order."""
    return sorted({resolver_method(name) for model in models for name in operator_names(model)})
