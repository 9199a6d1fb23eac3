/* Vectors and products of bytes on MVE, the vector extension of the Cortex-M55; simd.h explains the names. */
#ifndef GS_SIMD_MVE_H
#define GS_SIMD_MVE_H

#include <arm_mve.h>

#include "gs.h"

#define GS_LANES 4
#define GS_OFFSET 128
#define GS_ROWS 1 /* the sums of one row take four of the eight registers */
#define GS_COLUMNS 1
#define GS_TILE_FILE "tile_mve.h"
#define GS_UNFOLD_FILE "unfold_mve.h"
#define GS_CONV_FILE "conv_mve.h"
#define GS_DEPTHWISE_FILE "depthwise_mve.h"
#define GS_POOL_FILE "pool_mve.h"
typedef float32x4_t gs_vf;
typedef int32x4_t gs_vi;
typedef int8x16_t gs_quad, gs_weights;
GS_INLINE gs_vf gs_load_f(const float *p) { return vldrwq_f32(p); }
GS_INLINE void gs_store_f(float *p, gs_vf v) { vstrwq_f32(p, v); }
GS_INLINE gs_vf gs_zero_f(void) { return vdupq_n_f32(0); }
GS_INLINE gs_vf gs_set_f(float x) { return vdupq_n_f32(x); }
GS_INLINE gs_vf gs_fma(gs_vf acc, gs_vf a, gs_vf b) { return vfmaq_f32(acc, a, b); }
GS_INLINE gs_vf gs_max(gs_vf a, gs_vf b) { return vmaxnmq_f32(a, b); }
GS_INLINE gs_vf gs_min(gs_vf a, gs_vf b) { return vminnmq_f32(a, b); }
GS_INLINE gs_vf gs_real(const int32_t *p) { return vcvtq_f32_s32(vldrwq_s32(p)); }
GS_INLINE void gs_store_i(int32_t *p, gs_vi v) { vstrwq_s32(p, v); }
GS_INLINE gs_vi gs_zero_i(void) { return vdupq_n_s32(0); }
GS_INLINE gs_quad gs_load_quad(const uint8_t *p) {
  uint32_t four;
  memcpy(&four, p, 4);
  return vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u));
}
GS_INLINE gs_weights gs_load_weights(const int8_t *p) { return vldrbq_s8(p); }
/* An int16 holds the sum of two products of bytes, at most 2 x 128 x 127. Neighbouring sums are then added in int32. */
GS_INLINE gs_vi gs_dot(gs_vi acc, gs_quad a, gs_weights w) {
  const int16x8_t two = vaddq_s16(vmullbq_int_s8(a, w), vmulltq_int_s8(a, w));
  acc = vaddq_s32(acc, vaddq_s32(vmovlbq_s16(two), vmovltq_s16(two)));
  __asm__("" : "+w"(acc)); /* makes the compiler add at once; if it added later, it would need more than 8 registers */
  return acc;
}

#define GS_HAS_RUNS
#include "runs_mve.h"

#define GS_HAS_WEIGHT_AT
/* Return where packed weights hold the weight of a place and of a channel: [places / 16][16 channels][16 places]. */
GS_INLINE size_t gs_weight_at(size_t place, int channel) {
  return (place / GS_BLOCK * GS_BLOCK + channel) * GS_BLOCK + place % GS_BLOCK;
}

#endif
