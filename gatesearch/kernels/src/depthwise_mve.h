/* Depthwise convolution on MVE (depthwise.c), 16 channels at a time.

   The loops multiply x - 128 instead of x - zero. The sum of the weights times 128 - zero corrects the difference. It
   is the same for all pixels of a rectangle (rectangles.h).

   Products of bytes are int16. An int16 holds the sum of two of them, unless both are -128 x -128. So taps are added
   in pairs before they are widened to int32, if no weight is -128. Widening leaves the sums in narrow order
   (tile_mve.h). */
#ifndef GS_DEPTHWISE_MVE_H
#define GS_DEPTHWISE_MVE_H

#include "bytes_mve.h"
#include "rectangles.h"

/* GS_LOAD_TAP loads 16 values less 128, and their weights. GS_MULTIPLY multiplies them: q4 holds the products of even
   channels, q5 those of odd channels. GS_ADD_PRODUCTS adds the products of a second tap to q4 and q5. It loads its
   weights twice, so that the eight registers suffice; a compiler would store sums in memory instead. GS_WIDEN adds q4
   and q5 to the sums. */
#define GS_LOAD_TAP(x, w) "vldrb.8 q6, [" x "]\n vldrb.8 q7, [" w "]\n vsub.i8 q6, q6, %[offset]\n "
#define GS_MULTIPLY "vmullb.s8 q4, q6, q7\n vmullt.s8 q5, q6, q7\n "
#define GS_ADD_PRODUCTS(w)                                                                                       \
  "vmullt.s8 q7, q6, q7\n vadd.i16 q5, q5, q7\n vldrb.8 q7, [" w "]\n vmullb.s8 q6, q6, q7\n vadd.i16 q4, q4, q6\n "
#define GS_WIDEN                                                                                                \
  "vmovlb.s16 q6, q4\n vmovlt.s16 q7, q4\n vadd.i32 %q[s0], %q[s0], q6\n vadd.i32 %q[s2], %q[s2], q7\n "       \
  "vmovlb.s16 q6, q5\n vmovlt.s16 q7, q5\n vadd.i32 %q[s1], %q[s1], q6\n vadd.i32 %q[s3], %q[s3], q7\n "
#define GS_SUMS_OF(s) [s0] "+w"((s)[0]), [s1] "+w"((s)[1]), [s2] "+w"((s)[2]), [s3] "+w"((s)[3])

/* Add the products of two taps to sums in narrow order. */
GS_INLINE void gs_add_pair(int32x4_t *s, const uint8_t *x0, const uint8_t *x1, const int8_t *w0, const int8_t *w1) {
  __asm__(GS_LOAD_TAP("%[x0]", "%[w0]") GS_MULTIPLY GS_LOAD_TAP("%[x1]", "%[w1]") GS_ADD_PRODUCTS("%[w1]") GS_WIDEN
          : GS_SUMS_OF(s)
          : [x0] "r"(x0), [x1] "r"(x1), [w0] "r"(w0), [w1] "r"(w1), [offset] "r"(128)
          : "q4", "q5", "q6", "q7", "memory");
}

/* Add the products of one tap. */
GS_INLINE void gs_add_one(int32x4_t *s, const uint8_t *x, const int8_t *w) {
  __asm__(GS_LOAD_TAP("%[x]", "%[w]") GS_MULTIPLY GS_WIDEN
          : GS_SUMS_OF(s)
          : [x] "r"(x), [w] "r"(w), [offset] "r"(128)
          : "q4", "q5", "q6", "q7", "memory");
}

/* Add the products of 3 x 3 taps, whose weights lie side by side. */
GS_INLINE void gs_add_nine(int32x4_t *s, const gs_taps *t, const uint8_t *x, const int8_t *w) {
  const uint8_t *y = x + t->row, *z = y + t->row;
  const ptrdiff_t a = t->column, b = 2 * a;
  gs_add_pair(s, x, x + a, w, w + 16);
  gs_add_pair(s, x + b, y, w + 32, w + 48);
  gs_add_pair(s, y + a, y + b, w + 64, w + 80);
  gs_add_pair(s, z, z + a, w + 96, w + 112);
  gs_add_one(s, z + b, w + 128);
}

/* Add the products of all taps, row by row. */
GS_INLINE void gs_add_taps(int32x4_t *s, const gs_taps *t, int paired, const uint8_t *x, const int8_t *w) {
  const int pairs = paired ? t->columns / 2 : 0, rest = t->columns - 2 * pairs;
  for (int row = 0; row < t->rows; row++, x += t->row, w += t->weight_row) {
    const uint8_t *value = x;
    const int8_t *weight = w;
    if (pairs) {
      __asm__("dls lr, %[pairs]\n 1: " GS_LOAD_TAP("%[x]", "%[w]") "add %[x], %[x], %[column]\n "
              "add %[w], %[w], %[next]\n " GS_MULTIPLY GS_LOAD_TAP("%[x]", "%[w]") GS_ADD_PRODUCTS("%[w]")
              "add %[x], %[x], %[column]\n add %[w], %[w], %[next]\n " GS_WIDEN "le lr, 1b"
              : GS_SUMS_OF(s), [x] "+r"(value), [w] "+r"(weight)
              : [pairs] "r"(pairs), [column] "r"(t->column), [next] "r"(t->weight_column), [offset] "r"(128)
              : "lr", "q4", "q5", "q6", "q7", "memory");
    }
    for (int i = 0; i < rest; i++) gs_add_one(s, value + i * t->column, weight + i * t->weight_column);
  }
}

/* Add the products of all taps for fewer than 16 channels, those of lanes. */
GS_INLINE void gs_add_lanes(int32x4_t *s, const gs_taps *t, const uint8_t *x, const int8_t *w, mve_pred16_t lanes) {
  for (int row = 0; row < t->rows; row++, x += t->row, w += t->weight_row) {
    for (int column = 0; column < t->columns; column++) {
      const int8x16_t value = vreinterpretq_s8_u8(vsubq_n_u8(vldrbq_z_u8(x + column * t->column, lanes), 128));
      const int8x16_t weight = vldrbq_z_s8(w + column * t->weight_column, lanes);
      const int16x8_t even = vmullbq_int_s8(value, weight), odd = vmulltq_int_s8(value, weight);
      s[0] = vaddq_s32(s[0], vmovlbq_s16(even));
      s[2] = vaddq_s32(s[2], vmovltq_s16(even));
      s[1] = vaddq_s32(s[1], vmovlbq_s16(odd));
      s[3] = vaddq_s32(s[3], vmovltq_s16(odd));
    }
  }
}

/* Add to start, in narrow order, 128 - zero times the sum of the weights of all taps. Return whether no weight is -128. */
GS_INLINE int gs_add_zero(const gs_taps *t, const int8_t *w, int zero, mve_pred16_t lanes, int32_t *start) {
  int32x4_t s[4];
  int8x16_t least = vdupq_n_s8(0);
  GS_UNROLL for (int i = 0; i < 4; i++) s[i] = vldrwq_s32(start + 4 * i);
  for (int row = 0; row < t->rows; row++, w += t->weight_row) {
    const int8_t *at = w;
    for (int column = 0; column < t->columns; column++, at += t->weight_column) {
      const int8x16_t weight = vldrbq_z_s8(at, lanes);
      least = vminq_s8(least, weight);
      const int16x8_t even = vmovlbq_s8(weight), odd = vmovltq_s8(weight);
      s[0] = vmlaq_n_s32(s[0], vmovlbq_s16(even), 128 - zero);
      s[2] = vmlaq_n_s32(s[2], vmovltq_s16(even), 128 - zero);
      s[1] = vmlaq_n_s32(s[1], vmovlbq_s16(odd), 128 - zero);
      s[3] = vmlaq_n_s32(s[3], vmovltq_s16(odd), 128 - zero);
    }
  }
  GS_UNROLL for (int i = 0; i < 4; i++) vstrwq_s32(start + 4 * i, s[i]);
  return vminvq_s8(0, least) > -128;
}

/* Which loop a block of channels needs: any taps, 3 x 3 taps, or any taps of fewer than 16 channels. */
enum { GS_ANY, GS_NINE, GS_FEW };

/* Compute the n_channels channels of a block for a rectangle. paired says whether taps may be added in pairs. */
GS_INLINE void gs_filter_block(const int loop, int paired, const gs_rectangle *r, const uint8_t *x, const int8_t *w,
                               const gs_factors *f, int n_channels, uint8_t *y) {
  const mve_pred16_t lanes = vctp8q((uint32_t)n_channels);
  const gs_taps *t = &r->taps;
  int8_t nine[9 * GS_BLOCK];
  for (int tap = 0; loop == GS_NINE && tap < 9; tap++) {
    vstrbq_s8(nine + tap * GS_BLOCK, vldrbq_s8(w + tap / 3 * t->weight_row + tap % 3 * t->weight_column));
  }
  for (int row = 0; row < r->height; row++, x += r->row, y += r->out_row) {
    const uint8_t *window = x;
    uint8_t *to = y;
    for (int column = 0; column < r->width; column++, window += r->column, to += r->out_column) {
      int32x4_t s[4];
      GS_UNROLL for (int i = 0; i < 4; i++) s[i] = vldrwq_s32(f->start + 4 * i);
      if (loop == GS_NINE) gs_add_nine(s, t, window, nine);
      else if (loop == GS_ANY) gs_add_taps(s, t, paired, window, w);
      else gs_add_lanes(s, t, window, w, lanes);
      gs_write_bytes(0, s[0], s[1], s[2], s[3], f, r->zero_out, n_channels, to);
    }
  }
}

/* The last block of 16 channels may overlap the block before it. */
static void gs_filter_channels(const gs_rectangle *r, int channels, const uint8_t *x, const int8_t *w,
                               const int32_t *bias, const float *scale, uint8_t *y) {
  const int n_channels = GS_MIN(channels, GS_BLOCK);
  for (int block = 0; block < GS_BLOCKS(channels); block++) {
    const int first = GS_MIN(block * GS_BLOCK, channels - n_channels);
    gs_factors f;
    gs_load_factors(bias + first, scale + first, NULL, n_channels, &f);
    const int paired = gs_add_zero(&r->taps, w + first, r->zero, vctp8q((uint32_t)n_channels), f.start);
    if (n_channels < GS_BLOCK) {
      gs_filter_block(GS_FEW, 0, r, x, w, &f, n_channels, y);
    } else if (r->taps.rows == 3 && r->taps.columns == 3 && paired) {
      gs_filter_block(GS_NINE, 1, r, x + first, w + first, &f, GS_BLOCK, y + first);
    } else {
      gs_filter_block(GS_ANY, paired, r, x + first, w + first, &f, GS_BLOCK, y + first);
    }
  }
}

#endif
