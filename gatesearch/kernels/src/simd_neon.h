/* Vectors and products of bytes on 64-bit Arm; simd.h explains the names. */
#ifndef GS_SIMD_NEON_H
#define GS_SIMD_NEON_H

#include <arm_neon.h>

#include "gs.h"

#define GS_LANES 4
#define GS_OFFSET 128
#define GS_ROWS 6
#define GS_COLUMNS 1
#define GS_OUTPUT_FILE "output_neon.h"
#define GS_DEPTHWISE_FILE "depthwise_neon.h"
typedef float32x4_t gs_vf;
typedef int32x4_t gs_vi;
typedef int8x16_t gs_quad, gs_weights;
GS_INLINE gs_vf gs_load_f(const float *p) { return vld1q_f32(p); }
GS_INLINE void gs_store_f(float *p, gs_vf v) { vst1q_f32(p, v); }
GS_INLINE gs_vf gs_zero_f(void) { return vdupq_n_f32(0); }
GS_INLINE gs_vf gs_set_f(float x) { return vdupq_n_f32(x); }
GS_INLINE gs_vf gs_fma(gs_vf acc, gs_vf a, gs_vf b) { return vfmaq_f32(acc, a, b); }
GS_INLINE gs_vf gs_max(gs_vf a, gs_vf b) { return vmaxnmq_f32(a, b); }
GS_INLINE gs_vf gs_min(gs_vf a, gs_vf b) { return vminnmq_f32(a, b); }
GS_INLINE gs_vf gs_real(const int32_t *p) { return vcvtq_f32_s32(vld1q_s32(p)); }
GS_INLINE void gs_store_i(int32_t *p, gs_vi v) { vst1q_s32(p, v); }
GS_INLINE gs_vi gs_zero_i(void) { return vdupq_n_s32(0); }
GS_INLINE gs_quad gs_load_quad(const uint8_t *p) {
  uint32_t four;
  memcpy(&four, p, 4);
  return vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u));
}
GS_INLINE gs_weights gs_load_weights(const int8_t *p) { return vld1q_s8(p); }
#if defined(__ARM_FEATURE_DOTPROD)
GS_INLINE gs_vi gs_dot(gs_vi acc, gs_quad a, gs_weights w) { return vdotq_s32(acc, w, a); }
#else
GS_INLINE gs_vi gs_dot(gs_vi acc, gs_quad a, gs_weights w) {
  int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(w)));
  int32x4_t high = vpaddlq_s16(vmull_s8(vget_high_s8(a), vget_high_s8(w)));
  return vaddq_s32(acc, vpaddq_s32(low, high));
}
#endif

#endif
