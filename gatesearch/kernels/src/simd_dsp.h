/* Vectors of floats in plain C, and products of bytes with SMLAD, the DSP extension of Cortex-M4 and M33. */
#ifndef GS_SIMD_DSP_H
#define GS_SIMD_DSP_H

#include <arm_acle.h>

#include "simd_floats.h"

#define GS_LANES_I 1
#define GS_OFFSET 0
#define GS_ROWS 3
#define GS_COLUMNS 1
#define GS_MOST_COLUMNS 1
#define GS_TILE_FILE "tile_dsp.h"
#define GS_CONV_FILE "conv_dsp.h"
#define GS_DEPTHWISE_FILE "depthwise_dsp.h"
#define GS_STEP_ROOM 104 /* three widened rows of 16 int16, and a run of steps */
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
/* Return the bytes 0 and 2 of a word, or 1 and 3, as two int16 that are not negative. */
GS_INLINE uint32_t gs_even(uint32_t word) { return __uxtb16(word); }
GS_INLINE uint32_t gs_odd(uint32_t word) {
  uint32_t pair;
  __asm__("uxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
  return pair;
}

/* Return v rounded half to even, plus zero_out, clipped to 0 .. 255. VCVTR rounds half to even, and like QADD it stays
   within the range of int32. */
GS_INLINE int32_t gs_byte(float v, int zero_out) {
#if defined(__ARM_FP) && (__ARM_FP & 4)
  __asm__("vcvtr.s32.f32 %0, %0" : "+t"(v));
  int32_t whole;
  memcpy(&whole, &v, 4);
  return __usat(__qadd(whole, zero_out), 8);
#else
  const float low = -(float)zero_out, high = 255.0f - (float)zero_out;
  v = v < low ? low : v > high ? high : v;
  return (int32_t)((v + 12582912.0f) - 12582912.0f) + zero_out; /* adding 1.5 * 2^23 rounds half to even */
#endif
}

#endif
