/* A simulated interpreter of TFLM: for the inputs of a recorded call it returns the recorded outputs, else an error. */
#include <cstring>

#include "recorded.h"
#include "tensorflow/lite/micro/micro_interpreter.h"

static const recorded_model *find(const tflite::Model *model) {
  for (const recorded_model &each : recorded_models) {
    if (each.model == reinterpret_cast<const unsigned char *>(model)) return &each;
  }
  return nullptr;
}

namespace tflite {

MicroInterpreter::MicroInterpreter(const Model *model, const MicroOpResolver &op_resolver, uint8_t *tensor_arena,
                                   size_t tensor_arena_size, MicroResourceVariables *, MicroProfilerInterface *, bool)
    : model_(op_resolver.count() == RECORDED_OPERATORS ? model : nullptr),
      arena_(tensor_arena),
      arena_size_(tensor_arena_size) {}

MicroInterpreter::~MicroInterpreter() { model_ = nullptr; }

TfLiteStatus MicroInterpreter::AllocateTensors() {
  const recorded_model *r = find(model_);
  size_t used = 0;
  if (!r || reinterpret_cast<uintptr_t>(arena_) % 16 || reinterpret_cast<uintptr_t>(r->model) % 16) return kTfLiteError;
  for (int end = 0; end < 2; end++) {
    for (int i = 0; i < r->count[end]; i++) {
      TfLiteTensor &tensor = tensors_[end][i];
      tensor.type = kTfLiteInt8;
      tensor.bytes = r->bytes[end][i];
      tensor.data.raw = reinterpret_cast<char *>(arena_ + used);
      used += (tensor.bytes + 15) / 16 * 16;
    }
  }
  return used <= arena_size_ ? kTfLiteOk : kTfLiteError;
}

TfLiteTensor *MicroInterpreter::input(size_t index) { return &tensors_[0][index]; }
TfLiteTensor *MicroInterpreter::output(size_t index) { return &tensors_[1][index]; }
size_t MicroInterpreter::inputs_size() const { return static_cast<size_t>(find(model_)->count[0]); }
size_t MicroInterpreter::outputs_size() const { return static_cast<size_t>(find(model_)->count[1]); }

TfLiteStatus MicroInterpreter::Invoke() {
  static int invocations;
  const recorded_model *r = find(model_);
  if (invocations++ == RECORDED_FAILURE) return kTfLiteError;
  for (int call = 0; call < r->calls; call++) {
    const int8_t *values = r->values[call];
    bool equal = true;
    for (int i = 0; i < r->count[0]; values += r->bytes[0][i++]) {
      equal = equal && !std::memcmp(values, tensors_[0][i].data.raw, r->bytes[0][i]);
    }
    if (!equal) continue;
    for (int i = 0; i < r->count[0]; i++) std::memset(tensors_[0][i].data.raw, 0x55, r->bytes[0][i]);
    for (int i = 0; i < r->count[1]; values += r->bytes[1][i++]) {
      std::memcpy(tensors_[1][i].data.raw, values, r->bytes[1][i]);
    }
    return kTfLiteOk;
  }
  return kTfLiteError;
}

}  // namespace tflite
