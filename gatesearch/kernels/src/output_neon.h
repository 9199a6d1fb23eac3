/* Bytes from sums on 64-bit Arm: scaled in float, rounded half to even, and clipped to 0 .. 255.

   Conversion and narrowing saturate, and all bounds are whole numbers, so clipping last gives the same bytes as clipping
   first. */
#ifndef GS_OUTPUT_NEON_H
#define GS_OUTPUT_NEON_H

#include "simd.h"

/* Return 16 values plus zero_out as bytes; each value is rounded. */
GS_INLINE uint8x16_t gs_round_bytes(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d, int zero_out) {
  const int16x8_t zero = vdupq_n_s16((int16_t)zero_out);
  const int16x8_t low = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(a)), vcvtnq_s32_f32(b));
  const int16x8_t high = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(c)), vcvtnq_s32_f32(d));
  return vqmovun_high_s16(vqmovun_s16(vqaddq_s16(low, zero)), vqaddq_s16(high, zero));
}

/* The bytes of one pixel and one block of channels (conv_u8.c). */
GS_INLINE void gs_finish_bytes(const int32_t *totals, int n_channels, const float *scale, const float *shift,
                               int zero_out, uint8_t *y) {
  gs_vf v[4];
  GS_UNROLL for (int i = 0; i < 4; i++) {
    v[i] = gs_real(totals + 4 * i) * gs_load_f(scale + 4 * i) + gs_load_f(shift + 4 * i);
  }
  uint8_t value[GS_BLOCK];
  const uint8x16_t bytes = gs_round_bytes(v[0], v[1], v[2], v[3], zero_out);
  vst1q_u8(n_channels >= GS_BLOCK ? y : value, bytes);
  if (n_channels < GS_BLOCK) memcpy(y, value, n_channels);
}

#endif
