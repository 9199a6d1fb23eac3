/* Stub: TFLM's resolver with a method for each operator; it counts the operators. */
#ifndef TENSORFLOW_LITE_MICRO_MICRO_MUTABLE_OP_RESOLVER_H_
#define TENSORFLOW_LITE_MICRO_MICRO_MUTABLE_OP_RESOLVER_H_
#include "tensorflow/lite/micro/micro_op_resolver.h"

namespace tflite {
template <unsigned int tOpCount>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
  unsigned count() const override { return count_; }
  TfLiteStatus AddAbs() { return add(); }
  TfLiteStatus AddAdd() { return add(); }
  TfLiteStatus AddAddN() { return add(); }
  TfLiteStatus AddArgMax() { return add(); }
  TfLiteStatus AddArgMin() { return add(); }
  TfLiteStatus AddAssignVariable() { return add(); }
  TfLiteStatus AddAveragePool2D() { return add(); }
  TfLiteStatus AddBatchMatMul() { return add(); }
  TfLiteStatus AddBatchToSpaceNd() { return add(); }
  TfLiteStatus AddBroadcastArgs() { return add(); }
  TfLiteStatus AddBroadcastTo() { return add(); }
  TfLiteStatus AddCallOnce() { return add(); }
  TfLiteStatus AddCast() { return add(); }
  TfLiteStatus AddCeil() { return add(); }
  TfLiteStatus AddConcatenation() { return add(); }
  TfLiteStatus AddConv2D() { return add(); }
  TfLiteStatus AddCos() { return add(); }
  TfLiteStatus AddCumSum() { return add(); }
  TfLiteStatus AddDepthToSpace() { return add(); }
  TfLiteStatus AddDepthwiseConv2D() { return add(); }
  TfLiteStatus AddDequantize() { return add(); }
  TfLiteStatus AddDiv() { return add(); }
  TfLiteStatus AddElu() { return add(); }
  TfLiteStatus AddEqual() { return add(); }
  TfLiteStatus AddExp() { return add(); }
  TfLiteStatus AddExpandDims() { return add(); }
  TfLiteStatus AddFill() { return add(); }
  TfLiteStatus AddFloor() { return add(); }
  TfLiteStatus AddFloorDiv() { return add(); }
  TfLiteStatus AddFloorMod() { return add(); }
  TfLiteStatus AddFullyConnected() { return add(); }
  TfLiteStatus AddGather() { return add(); }
  TfLiteStatus AddGatherNd() { return add(); }
  TfLiteStatus AddGreater() { return add(); }
  TfLiteStatus AddGreaterEqual() { return add(); }
  TfLiteStatus AddHardSwish() { return add(); }
  TfLiteStatus AddIf() { return add(); }
  TfLiteStatus AddL2Normalization() { return add(); }
  TfLiteStatus AddL2Pool2D() { return add(); }
  TfLiteStatus AddLeakyRelu() { return add(); }
  TfLiteStatus AddLess() { return add(); }
  TfLiteStatus AddLessEqual() { return add(); }
  TfLiteStatus AddLog() { return add(); }
  TfLiteStatus AddLogicalAnd() { return add(); }
  TfLiteStatus AddLogicalNot() { return add(); }
  TfLiteStatus AddLogicalOr() { return add(); }
  TfLiteStatus AddLogistic() { return add(); }
  TfLiteStatus AddLogSoftmax() { return add(); }
  TfLiteStatus AddMaximum() { return add(); }
  TfLiteStatus AddMaxPool2D() { return add(); }
  TfLiteStatus AddMean() { return add(); }
  TfLiteStatus AddMinimum() { return add(); }
  TfLiteStatus AddMirrorPad() { return add(); }
  TfLiteStatus AddMul() { return add(); }
  TfLiteStatus AddNeg() { return add(); }
  TfLiteStatus AddNotEqual() { return add(); }
  TfLiteStatus AddPack() { return add(); }
  TfLiteStatus AddPad() { return add(); }
  TfLiteStatus AddPadV2() { return add(); }
  TfLiteStatus AddPrelu() { return add(); }
  TfLiteStatus AddQuantize() { return add(); }
  TfLiteStatus AddReadVariable() { return add(); }
  TfLiteStatus AddReduceMax() { return add(); }
  TfLiteStatus AddRelu() { return add(); }
  TfLiteStatus AddRelu6() { return add(); }
  TfLiteStatus AddReshape() { return add(); }
  TfLiteStatus AddResizeBilinear() { return add(); }
  TfLiteStatus AddResizeNearestNeighbor() { return add(); }
  TfLiteStatus AddRound() { return add(); }
  TfLiteStatus AddRsqrt() { return add(); }
  TfLiteStatus AddSelectV2() { return add(); }
  TfLiteStatus AddShape() { return add(); }
  TfLiteStatus AddSin() { return add(); }
  TfLiteStatus AddSlice() { return add(); }
  TfLiteStatus AddSoftmax() { return add(); }
  TfLiteStatus AddSpaceToBatchNd() { return add(); }
  TfLiteStatus AddSpaceToDepth() { return add(); }
  TfLiteStatus AddSplit() { return add(); }
  TfLiteStatus AddSplitV() { return add(); }
  TfLiteStatus AddSqrt() { return add(); }
  TfLiteStatus AddSquare() { return add(); }
  TfLiteStatus AddSquaredDifference() { return add(); }
  TfLiteStatus AddSqueeze() { return add(); }
  TfLiteStatus AddStridedSlice() { return add(); }
  TfLiteStatus AddSub() { return add(); }
  TfLiteStatus AddSum() { return add(); }
  TfLiteStatus AddSvdf() { return add(); }
  TfLiteStatus AddTanh() { return add(); }
  TfLiteStatus AddTranspose() { return add(); }
  TfLiteStatus AddTransposeConv() { return add(); }
  TfLiteStatus AddUnidirectionalSequenceLSTM() { return add(); }
  TfLiteStatus AddUnpack() { return add(); }
  TfLiteStatus AddVarHandle() { return add(); }
  TfLiteStatus AddWhile() { return add(); }
  TfLiteStatus AddZerosLike() { return add(); }
  TfLiteStatus AddEthosU() { return add(); }

 private:
  TfLiteStatus add() { return count_++ < tOpCount ? kTfLiteOk : kTfLiteError; }

  unsigned count_ = 0;
};
}  // namespace tflite
#endif
