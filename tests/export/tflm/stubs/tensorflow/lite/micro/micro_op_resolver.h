/* Stub: the base of resolvers. */
#ifndef TENSORFLOW_LITE_MICRO_MICRO_OP_RESOLVER_H_
#define TENSORFLOW_LITE_MICRO_MICRO_OP_RESOLVER_H_
#include "tensorflow/lite/c/common.h"

namespace tflite {
class MicroOpResolver {
 public:
  virtual unsigned count() const = 0;

 protected:
  ~MicroOpResolver() = default;
};
}  // namespace tflite
#endif
