/* Stub: what the glue needs of tensorflow/lite/c/common.h, with the signatures of TFLM's public API. */
#ifndef TENSORFLOW_LITE_C_COMMON_H_
#define TENSORFLOW_LITE_C_COMMON_H_
#include <cstddef>
#include <cstdint>

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteNoType = 0, kTfLiteFloat32 = 1, kTfLiteInt8 = 9 };
union TfLitePtrUnion {
  char *raw;
  int8_t *int8;
  void *data;
};
struct TfLiteTensor {
  TfLiteType type;
  TfLitePtrUnion data;
  size_t bytes;
};
#endif
