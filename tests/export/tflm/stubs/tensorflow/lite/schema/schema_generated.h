/* Stub: the model's table and its version. */
#ifndef FLATBUFFERS_GENERATED_SCHEMA_TFLITE_H_
#define FLATBUFFERS_GENERATED_SCHEMA_TFLITE_H_
#include <cstdint>

namespace tflite {
struct Model {
  uint32_t version() const { return 3; }
};
inline const Model *GetModel(const void *buffer) { return static_cast<const Model *>(buffer); }
}  // namespace tflite
#endif
