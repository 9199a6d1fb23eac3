/* Pooling over windows and the sum of two maps on MVE (pool.c), 16 channels at a time. */
#ifndef GS_POOL_MVE_H
#define GS_POOL_MVE_H

#include "simd.h"

/* The part of a pooling window inside the map. */
typedef struct {
  const uint8_t *x;
  int rows, columns;
  ptrdiff_t row, column; /* how far apart rows and columns are in x */
} gs_window;

/* Return the largest values of the channels in lanes. */
GS_INLINE uint8x16_t gs_largest_values(const gs_window *v, mve_pred16_t lanes) {
  uint8x16_t largest = vdupq_n_u8(0);
  for (int row = 0; row < v->rows; row++) {
    const uint8_t *x = v->x + row * v->row;
    for (int i = v->columns; i > 0; i--, x += v->column) largest = vmaxq_u8(largest, vldrbq_z_u8(x, lanes));
  }
  return largest;
}

/* Return the means, rounded half up, of the channels in lanes. An int16 holds the sum of 256 values.

   For n values with the sum s, the mean is floor(m / n) with m = s + floor(n / 2). Let M be 2^32 / n, rounded up. Then
   m M / 2^32 exceeds m / n by less than m / 2^32. If m n < 2^32, this is less than 1 / n, and both have the same floor.
   As m < 256 n, it holds for n < 4096. */
GS_INLINE uint8x16_t gs_mean_values(const gs_window *v, mve_pred16_t lanes) {
  const int n = v->rows * v->columns;
  uint32x4_t sum[4]; /* in narrow order (tile_mve.h) */
  GS_UNROLL for (int i = 0; i < 4; i++) sum[i] = vdupq_n_u32((uint32_t)n / 2);
  for (int row = 0, column; row < v->rows; row++) {
    const uint8_t *x = v->x + row * v->row;
    for (column = 0; column < v->columns;) {
      const int next = GS_MIN(column + 256, v->columns);
      uint16x8_t even = vdupq_n_u16(0), odd = even;
      for (; column < next; column++, x += v->column) {
        const uint8x16_t values = vldrbq_z_u8(x, lanes);
        even = vaddq_u16(even, vmovlbq_u8(values));
        odd = vaddq_u16(odd, vmovltq_u8(values));
      }
      sum[0] = vaddq_u32(sum[0], vmovlbq_u16(even));
      sum[1] = vaddq_u32(sum[1], vmovlbq_u16(odd));
      sum[2] = vaddq_u32(sum[2], vmovltq_u16(even));
      sum[3] = vaddq_u32(sum[3], vmovltq_u16(odd));
    }
  }
  if (n >= 4096) {
    uint32_t all[GS_BLOCK];
    GS_UNROLL for (int i = 0; i < 4; i++) vstrwq_u32(all + 4 * i, sum[i]);
    for (int k = 0; k < GS_BLOCK; k++) all[k] /= (uint32_t)n;
    GS_UNROLL for (int i = 0; i < 4; i++) sum[i] = vldrwq_u32(all + 4 * i);
  } else if (n > 1) {
    const uint32_t reciprocal = UINT32_MAX / (uint32_t)n + 1;
    GS_UNROLL for (int i = 0; i < 4; i++) sum[i] = vmulhq_u32(sum[i], vdupq_n_u32(reciprocal));
  }
  const uint16x8_t even = vmovntq_u32(vmovnbq_u32(vreinterpretq_u16_u32(sum[0]), sum[0]), sum[2]);
  const uint16x8_t odd = vmovntq_u32(vmovnbq_u32(vreinterpretq_u16_u32(sum[1]), sum[1]), sum[3]);
  return vmovntq_u16(vmovnbq_u16(vreinterpretq_u8_u16(even), even), odd);
}

/* The loops of all windows. The last block of 16 channels may overlap the block before it. */
GS_INLINE void gs_pool_u8(const gs_conv *shape, const uint8_t *x, int largest, uint8_t *y) {
  const gs_conv c = *shape; /* a local copy, which no write to y can change, as compilers see */
  const int height = gs_height(&c), width = gs_width(&c), channels = c.c_in, n = GS_MIN(channels, GS_BLOCK);
  const mve_pred16_t lanes = vctp8q((uint32_t)n);
  for (int row = 0; row < height; row++) {
    const int top = row * c.stride_h - c.pad_h, first_y = GS_MAX(top, 0), last_y = GS_MIN(top + c.kh, c.h);
    for (int column = 0; column < width; column++, y += channels) {
      const int left = column * c.stride_w - c.pad_w, first_x = GS_MAX(left, 0), last_x = GS_MIN(left + c.kw, c.w);
      gs_window v = {.rows = last_y - first_y, .columns = last_x - first_x, .row = c.w * channels, .column = channels};
      for (int block = 0; block < GS_BLOCKS(channels); block++) {
        const int first = GS_MIN(block * GS_BLOCK, channels - n);
        v.x = x + ((ptrdiff_t)first_y * c.w + first_x) * channels + first;
        vstrbq_p_u8(y + first, largest ? gs_largest_values(&v, lanes) : gs_mean_values(&v, lanes), lanes);
      }
    }
  }
}

GS_INLINE void gs_sum_u8(const uint8_t *x, const uint8_t *z, int n, float scale_x, float scale_z, float shift,
                         uint8_t *restrict y) {
  for (; n > 0; n -= 4, x += 4, z += 4, y += 4) {
    const mve_pred16_t lanes = vctp32q((uint32_t)n);
    const float32x4_t a = vmulq_n_f32(vcvtq_f32_u32(vldrbq_z_u32(x, lanes)), scale_x);
    const float32x4_t b = vmulq_n_f32(vcvtq_f32_u32(vldrbq_z_u32(z, lanes)), scale_z);
    const int32x4_t whole = vcvtnq_s32_f32(vaddq_n_f32(vaddq_f32(a, b), shift));
    vstrbq_p_s32((int8_t *)y, vminq_s32(vmaxq_s32(whole, vdupq_n_s32(0)), vdupq_n_s32(255)), lanes);
  }
}

#endif
