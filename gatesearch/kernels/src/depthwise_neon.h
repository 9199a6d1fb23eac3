/* Depthwise convolution on 64-bit Arm (depthwise.c), 16 channels at a time.

   The zero is subtracted from each value, so taps outside the map add nothing. The sums of a pixel stay in registers.
   If a rectangle (rectangles.h) has 3 x 3 taps, their weights stay in registers for all its pixels. */
#ifndef GS_DEPTHWISE_NEON_H
#define GS_DEPTHWISE_NEON_H

#include "output_neon.h"
#include "rectangles.h"

typedef struct {
  int16x8_t low, high; /* 16 values or weights */
} gs_sixteen;

/* Load n bytes, at most 16; the others are 0. */
GS_INLINE uint8x16_t gs_load_bytes(const void *from, int n) {
  uint8_t bytes[GS_BLOCK] = {0};
  if (n >= GS_BLOCK) return vld1q_u8(from);
  memcpy(bytes, from, n);
  return vld1q_u8(bytes);
}

/* Load n weights. */
GS_INLINE gs_sixteen gs_load_row(const int8_t *w, int n) {
  const int8x16_t row = vreinterpretq_s8_u8(gs_load_bytes(w, n));
  return (gs_sixteen){vmovl_s8(vget_low_s8(row)), vmovl_high_s8(row)};
}

/* Add the products of one tap to 16 sums. */
GS_INLINE void gs_add_tap(int32x4_t *s, uint8x16_t x, uint8x16_t zero, gs_sixteen w) {
  const int16x8_t low = vreinterpretq_s16_u16(vsubl_u8(vget_low_u8(x), vget_low_u8(zero)));
  const int16x8_t high = vreinterpretq_s16_u16(vsubl_high_u8(x, zero));
  s[0] = vmlal_s16(s[0], vget_low_s16(low), vget_low_s16(w.low));
  s[1] = vmlal_high_s16(s[1], low, w.low);
  s[2] = vmlal_s16(s[2], vget_low_s16(high), vget_low_s16(w.high));
  s[3] = vmlal_high_s16(s[3], high, w.high);
}

/* Compute n channels, at most 16, for a rectangle. nine says whether the rectangle has 3 x 3 taps. */
GS_INLINE void gs_filter_block(const int nine, const int n, const gs_rectangle *r, const uint8_t *x, const int8_t *w,
                               const int32_t *bias, const float *scale, uint8_t *y) {
  const gs_taps *t = &r->taps;
  const uint8x16_t zero = vdupq_n_u8((uint8_t)r->zero);
  int32_t start[GS_BLOCK] = {0};
  float scales[GS_BLOCK] = {0};
  memcpy(start, bias, n * sizeof(int32_t));
  memcpy(scales, scale, n * sizeof(float));
  gs_sixteen weight[9];
  GS_UNROLL for (int tap = 0; tap < 9 * nine; tap++) {
    weight[tap] = gs_load_row(w + tap / 3 * t->weight_row + tap % 3 * t->weight_column, n);
  }
  for (int row = 0; row < r->height; row++, x += r->row, y += r->out_row) {
    const uint8_t *window = x;
    uint8_t *to = y;
    for (int column = 0; column < r->width; column++, window += r->column, to += r->out_column) {
      int32x4_t s[4];
      gs_vf v[4];
      GS_UNROLL for (int i = 0; i < 4; i++) s[i] = vld1q_s32(start + 4 * i);
      if (nine) {
        GS_UNROLL for (int tap = 0; tap < 9; tap++) {
          gs_add_tap(s, gs_load_bytes(window + tap / 3 * t->row + tap % 3 * t->column, n), zero, weight[tap]);
        }
      } else {
        for (int i = 0; i < t->rows; i++) {
          const uint8_t *value = window + i * t->row;
          const int8_t *at = w + i * t->weight_row;
          for (int k = t->columns; k > 0; k--, value += t->column, at += t->weight_column) {
            gs_add_tap(s, gs_load_bytes(value, n), zero, gs_load_row(at, n));
          }
        }
      }
      GS_UNROLL for (int i = 0; i < 4; i++) v[i] = vcvtq_f32_s32(s[i]) * vld1q_f32(scales + 4 * i);
      const uint8x16_t bytes = gs_round_bytes(v[0], v[1], v[2], v[3], r->zero_out);
      if (n >= GS_BLOCK) {
        vst1q_u8(to, bytes);
      } else {
        uint8_t value[GS_BLOCK];
        vst1q_u8(value, bytes);
        memcpy(to, value, n);
      }
    }
  }
}

/* The last block of 16 channels may overlap the block before it. */
static void gs_filter_channels(const gs_rectangle *r, int channels, const uint8_t *x, const int8_t *w,
                               const int32_t *bias, const float *scale, uint8_t *y) {
  const int nine = r->taps.rows == 3 && r->taps.columns == 3;
  if (channels < GS_BLOCK) gs_filter_block(0, channels, r, x, w, bias, scale, y);
  for (int k = 0; channels >= GS_BLOCK && k < channels; k += GS_BLOCK) {
    const int first = GS_MIN(k, channels - GS_BLOCK);
    if (nine) gs_filter_block(1, GS_BLOCK, r, x + first, w + first, bias + first, scale + first, y + first);
    else gs_filter_block(0, GS_BLOCK, r, x + first, w + first, bias + first, scale + first, y + first);
  }
}

#endif
