/* Bytes from sums on MVE: scaled in float, rounded half to even, and clipped to 0 .. 255. */
#ifndef GS_BYTES_MVE_H
#define GS_BYTES_MVE_H

#include "simd.h"

/* The factors of a block of 16 channels, and what is added to its sums, in narrow order (tile_mve.h). */
typedef struct {
  int32_t start[GS_BLOCK];
  float scale[GS_BLOCK], shift[GS_BLOCK];
  int shifted; /* whether a shift is not 0 */
} gs_factors;

/* Load n values in narrow order, n at most 16; the others are 0. */
GS_INLINE void gs_load_narrow(const void *values, int n, void *to) {
  const uint32x4_t offsets = vshlq_n_u32(vidupq_n_u32(0, 4), 2); /* bytes between the channels 0, 4, 8 and 12 */
  GS_UNROLL for (int i = 0; i < 4; i++) {
    const mve_pred16_t lanes = vctp32q((uint32_t)(n - i + 3) / 4);
    vstrwq_u32((uint32_t *)to + 4 * i, vldrwq_gather_offset_z_u32((const uint32_t *)values + i, offsets, lanes));
  }
}

/* Load the factors of the n_channels channels from a block's first on; shift may be NULL. */
GS_INLINE void gs_load_factors(const int32_t *start, const float *scale, const float *shift, int n_channels,
                               gs_factors *f) {
  const int n = GS_MIN(n_channels, GS_BLOCK);
  gs_load_narrow(start, n, f->start);
  gs_load_narrow(scale, n, f->scale);
  f->shifted = 0;
  if (!shift) return;
  gs_load_narrow(shift, n, f->shift);
  GS_UNROLL for (int i = 0; i < 4; i++) f->shifted |= vcmpneq_n_f32(vldrwq_f32(f->shift + 4 * i), 0);
}

/* Write round(scale s + shift) + zero_out, clipped to 0 .. 255, of the first n_channels channels of a block. Vector i of
   the sums s holds those of channels i, i + 4, i + 8 and i + 12. Conversion and narrowing saturate, and all bounds are
   whole numbers, so clipping last gives the same bytes as clipping first. */
GS_INLINE void gs_write_bytes(const int shifted, int32x4_t s0, int32x4_t s1, int32x4_t s2, int32x4_t s3,
                              const gs_factors *f, int zero_out, int n_channels, uint8_t *y) {
  int32x4_t whole[4] = {s0, s1, s2, s3};
  GS_UNROLL for (int i = 0; i < 4; i++) {
    float32x4_t real = vmulq_f32(vcvtq_f32_s32(whole[i]), vldrwq_f32(f->scale + 4 * i));
    if (shifted) real = vaddq_f32(real, vldrwq_f32(f->shift + 4 * i));
    whole[i] = vcvtnq_s32_f32(real);
  }
  int16x8_t even = vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(whole[0]), whole[0]), whole[2]);
  int16x8_t odd = vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(whole[1]), whole[1]), whole[3]);
  even = vqaddq_n_s16(even, (int16_t)zero_out);
  odd = vqaddq_n_s16(odd, (int16_t)zero_out);
  const uint8x16_t bytes = vqmovuntq_s16(vqmovunbq_s16(vreinterpretq_u8_s16(even), even), odd);
  if (n_channels >= GS_BLOCK) vstrbq_u8(y, bytes);
  else vstrbq_p_u8(y, bytes, vctp8q((uint32_t)n_channels));
}

#endif
