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
#define GS_POOL_FILE "pool_dsp.h"
#define GS_STEP_ROOM 104  /* three widened rows of 16 int16, and a run of steps */
#define GS_BLOCK_ROOM 192 /* what turns the sums of 16 channels to bytes */
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
/* gs_even returns the bytes 0 and 2 of a word as two int16, gs_odd the bytes 1 and 3. None is negative. */
GS_INLINE uint32_t gs_even(uint32_t word) { return __uxtb16(word); }
GS_INLINE uint32_t gs_odd(uint32_t word) {
  uint32_t pair;
  __asm__("uxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
  return pair;
}

/* Return two bytes, the first one lowest: scale sum + shift rounded half to even, plus zero_out, clipped to 0 .. 255.
   VCVTR rounds half to even. VCVTR and QADD saturate to the range of int32. */
GS_INLINE uint32_t gs_two_bytes(int32_t sum0, int32_t sum1, float scale0, float scale1, float shift0, float shift1,
                                int zero_out) {
#if defined(__ARM_FP) && (__ARM_FP & 4)
  __asm__("vmov s14, s15, %0, %1\n\t"
          "vcvt.f32.s32 s14, s14\n\t"
          "vcvt.f32.s32 s15, s15\n\t"
          "vmul.f32 s14, s14, %2\n\t"
          "vmul.f32 s15, s15, %3\n\t"
          "vadd.f32 s14, s14, %4\n\t"
          "vadd.f32 s15, s15, %5\n\t"
          "vcvtr.s32.f32 s14, s14\n\t"
          "vcvtr.s32.f32 s15, s15\n\t"
          "vmov %0, %1, s14, s15\n\t"
          "qadd %0, %0, %6\n\t"
          "qadd %1, %1, %6\n\t"
          "usat %0, #8, %0\n\t"
          "usat %1, #8, %1\n\t"
          "orr %0, %0, %1, lsl #8"
          : "+r"(sum0), "+r"(sum1)
          : "t"(scale0), "t"(scale1), "t"(shift0), "t"(shift1), "r"(zero_out)
          : "s14", "s15", "cc");
  return (uint32_t)sum0;
#else
  const float low = -(float)zero_out, high = 255.0f - (float)zero_out;
  float a = (float)sum0 * scale0 + shift0, b = (float)sum1 * scale1 + shift1;
  a = a < low ? low : a > high ? high : a;
  b = b < low ? low : b > high ? high : b;
  a = (a + 12582912.0f) - 12582912.0f; /* adding 1.5 * 2^23 rounds half to even */
  b = (b + 12582912.0f) - 12582912.0f;
  return (uint32_t)((int32_t)a + zero_out) | (uint32_t)((int32_t)b + zero_out) << 8;
#endif
}

#endif
