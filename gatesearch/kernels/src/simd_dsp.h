/* Vectors of floats in plain C, and products of bytes with SMLAD, the DSP extension of Cortex-M4 and M33. */
#ifndef GS_SIMD_DSP_H
#define GS_SIMD_DSP_H

#include <arm_acle.h>

#include "simd_floats.h"

#define GS_LANES_I 1
#define GS_OFFSET 0
#define GS_ROWS 2
#define GS_COLUMNS 1
typedef int32_t gs_vi;
GS_INLINE void gs_store_i(int32_t *p, gs_vi v) { *p = v; }
GS_INLINE gs_vi gs_zero_i(void) { return 0; }
typedef struct {
  int16x2_t even, odd;
} gs_quad;
typedef uint32_t gs_weights;
GS_INLINE gs_quad gs_load_quad(const uint8_t *p) {
  uint32_t four;
  memcpy(&four, p, 4);
  return (gs_quad){(int16x2_t)__uxtb16(four), (int16x2_t)__uxtb16(four >> 8)};
}
GS_INLINE gs_weights gs_load_weights(const int8_t *p) {
  uint32_t four;
  memcpy(&four, p, 4);
  return four;
}
GS_INLINE gs_vi gs_dot(gs_vi acc, gs_quad a, gs_weights w) {
  acc = __smlad((int16x2_t)__sxtb16(w), a.even, acc);
  return __smlad((int16x2_t)__sxtb16((w >> 8) | (w << 24)), a.odd, acc);
}

#endif
