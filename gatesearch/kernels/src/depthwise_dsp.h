/* Depthwise convolution with SMLAD, which adds the products of two rows of the kernel to the sum of a channel.

   The loops compute four channels at a time, because a word holds the bytes of four. For each row of outputs, the
   input rows are first paired. For every column of the map, two words, each with four channels of one row, become four
   words: each holds the two inputs of one channel as int16. All outputs of the row whose windows share the column use
   these words. So a window is one run of words, which is multiplied with a run of weights. If the kernel has an odd
   number of rows, the last row has no partner. A word then holds two channels, and the weight of one of them is zero.
   Columns and rows outside the map hold the byte that represents 0, so no output has to check its taps.

   A kernel of a single row is transposed, so that its taps form pairs. */
#ifndef GS_DEPTHWISE_DSP_H
#define GS_DEPTHWISE_DSP_H

#include "simd.h"

#define GS_WINDOW_ROOM 64   /* gs_pairs of the weights of a kernel; larger kernels take the loop for one channel */
#define GS_COLUMN_ROOM 128  /* gs_pairs of the inputs of a strip of columns */

/* One axis of a depthwise convolution: sizes, and the distance of neighbours in x, among the weights, and in y. */
typedef struct {
  int size, outputs, taps, stride, pad, dilation;
  int step_x, step_w, step_y;
} gs_axis;

/* Four words: the inputs or the weights of two taps, for the channels 0, 2, 1 and 3 of a group. */
typedef struct {
  uint32_t pair[4];
} gs_pairs;

GS_INLINE uint32_t gs_low_halves(uint32_t a, uint32_t b) {
  uint32_t word;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(word) : "r"(a), "r"(b));
  return word;
}
GS_INLINE uint32_t gs_high_halves(uint32_t a, uint32_t b) {
  uint32_t word;
  __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(word) : "r"(b), "r"(a));
  return word;
}
GS_INLINE uint32_t gs_four(const void *p) {
  uint32_t word;
  memcpy(&word, p, 4);
  return word;
}

/* Pair the weights of a group of channels as [columns][pairs of rows]. start holds the biases; add -zero times the sums
   of the weights to it. */
static void gs_pair_weights(const gs_axis *rows, const gs_axis *columns, const int8_t *weights, int zero, gs_pairs *to,
                            int32_t *start) {
  const uint32_t minus = gs_low_halves((uint32_t)-zero, (uint32_t)-zero);
  for (int column = 0; column < columns->taps; column++) {
    for (int row = 0; row < rows->taps; row += 2, to++) {
      const int8_t *w = weights + row * rows->step_w + column * columns->step_w;
      const uint32_t a = gs_four(w), b = row + 1 < rows->taps ? gs_four(w + rows->step_w) : 0;
      const uint32_t a_even = __sxtb16(a), a_odd = __sxtb16(a >> 8 | a << 24);
      if (row + 1 < rows->taps) {
        const uint32_t b_even = __sxtb16(b), b_odd = __sxtb16(b >> 8 | b << 24);
        *to = (gs_pairs){{gs_low_halves(a_even, b_even), gs_high_halves(a_even, b_even),
                          gs_low_halves(a_odd, b_odd), gs_high_halves(a_odd, b_odd)}};
      } else {
        *to = (gs_pairs){{a_even & 0xffff, a_even & 0xffff0000, a_odd & 0xffff, a_odd & 0xffff0000}};
      }
      for (int k = 0; k < 4; k++) start[k] = __smlad(to->pair[k], minus, start[k]);
    }
  }
}

/* Pair two rows of n columns. From column to column, a and b move by their steps, and to by n_pairs. */
static __attribute__((noinline)) void gs_pair_rows(const uint8_t *a, int step_a, const uint8_t *b, int step_b, int n,
                                                   gs_pairs *to, int n_pairs) {
  for (; n; n--, a += step_a, b += step_b, to += n_pairs) {
    const uint32_t first = gs_four(a), second = gs_four(b);
    const uint32_t even = gs_even(first), odd = gs_odd(first);
    *to = (gs_pairs){{gs_low_halves(even, gs_even(second)), gs_high_halves(even, gs_even(second)),
                      gs_low_halves(odd, gs_odd(second)), gs_high_halves(odd, gs_odd(second))}};
  }
}

/* Widen one row of n columns. */
static __attribute__((noinline)) void gs_widen_row(const uint8_t *a, int step_a, int n, gs_pairs *to, int n_pairs) {
  for (; n; n--, a += step_a, to += n_pairs) {
    const uint32_t word = gs_four(a);
    const uint32_t even = gs_even(word), odd = gs_odd(word);
    *to = (gs_pairs){{even, even, odd, odd}};
  }
}

#define GS_FOUR_CHANNELS                 \
  "ldmia r7!, {r4, r5, r6, r8}\n\t"      \
  "ldmia lr!, {r9, r10, r11, r12}\n\t"   \
  "smlad r0, r4, r9, r0\n\t"             \
  "smlad r1, r5, r10, r1\n\t"            \
  "smlad r2, r6, r11, r2\n\t"            \
  "smlad r3, r8, r12, r3\n\t"

/* A group of four channels: its weights, and the values that convert its sums to bytes. The channels are in the order
   0, 2, 1, 3, except in scale. */
typedef struct {
  gs_pairs w[GS_WINDOW_ROOM];
  const gs_pairs *end; /* behind the last weights */
  int32_t start[4];    /* initial values of the sums */
  const float *scale;
  int32_t zero_out;
} gs_group;

/* Compute n windows, which are step pairs apart in x and step_y bytes apart in y. A turn of the loop over a window
   computes two gs_pairs. If their number is odd, the loop begins in the middle of a turn. */
static __attribute__((noinline)) void gs_filter_windows(const gs_group *g, const gs_pairs *x, int step, int n,
                                                        uint8_t *y, int step_y) {
  const float scale0 = g->scale[0], scale1 = g->scale[1], scale2 = g->scale[2], scale3 = g->scale[3];
  const gs_pairs *const end = g->end;
  const int32_t *const start = g->start;
  for (; n; n--, x += step, y += step_y) {
    register int32_t a __asm__("r0"), b __asm__("r1"), c __asm__("r2"), d __asm__("r3");
    register const gs_pairs *from __asm__("r7") = x, *by __asm__("lr") = g->w;
    __asm__ volatile(
        "ldr r5, %[start]\n\t"
        "ldr r4, %[end]\n\t"
        "ldmia r5, {r0, r1, r2, r3}\n\t"
        "subs r4, r4, lr\n\t"
        "tst r4, #16\n\t"
        "bne 1f\n"
        "0:\n\t" GS_FOUR_CHANNELS "1:\n\t" GS_FOUR_CHANNELS
        "ldr r4, %[end]\n\t"
        "cmp lr, r4\n\t"
        "bne 0b\n\t"
        : "=&r"(a), "=&r"(b), "=&r"(c), "=&r"(d), "+r"(from), "+r"(by)
        : [end] "m"(end), [start] "m"(start)
        : "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "cc", "memory");
    const int32_t sum0 = a, sum2 = b, sum1 = c, sum3 = d;
    const uint32_t bytes = gs_two_bytes(sum0, sum1, scale0, scale1, 0, 0, g->zero_out) |
                           gs_two_bytes(sum2, sum3, scale2, scale3, 0, 0, g->zero_out) << 16;
    memcpy(y, &bytes, 4);
  }
}

/* Pair the rows of a window, for n columns from column on; row is the first row of the window. */
GS_INLINE void gs_pair_window(const gs_axis *rows, const gs_axis *columns, const uint8_t *x, int row, int column, int n,
                              const uint32_t *outside, gs_pairs *to) {
  const int n_pairs = (rows->taps + 1) / 2;
  for (int k = 0; k < n_pairs; k++, row += 2 * rows->dilation) {
    const int second = row + rows->dilation, has_first = row >= 0 && row < rows->size;
    const int has_second = second >= 0 && second < rows->size, step = columns->step_x;
    const uint8_t *a = has_first ? x + (ptrdiff_t)row * rows->step_x + (ptrdiff_t)column * step : (const void *)outside;
    if (2 * k + 1 < rows->taps) {
      const uint8_t *b =
          has_second ? x + (ptrdiff_t)second * rows->step_x + (ptrdiff_t)column * step : (const void *)outside;
      gs_pair_rows(a, has_first ? step : 0, b, has_second ? step : 0, n, to + k, n_pairs);
    } else {
      gs_widen_row(a, has_first ? step : 0, n, to + k, n_pairs);
    }
  }
}

/* Compute a group of four channels, in strips of columns. */
static void gs_filter_group(const gs_axis *rows, const gs_axis *columns, const uint8_t *x, int zero, const gs_group *g,
                            uint8_t *y) {
  gs_pairs strip[GS_COLUMN_ROOM];
  const int n_pairs = (rows->taps + 1) / 2, most = (GS_COLUMN_ROOM / n_pairs - columns->taps) / columns->stride + 1;
  const uint32_t outside = (uint32_t)zero * 0x01010101u;
  for (int first = 0; first < columns->outputs; first += most) {
    const int n = GS_MIN(most, columns->outputs - first), left = first * columns->stride - columns->pad;
    const int width = (n - 1) * columns->stride + columns->taps, begin = GS_MIN(GS_MAX(0, -left), width);
    const int end = GS_MAX(begin, GS_MIN(width, columns->size - left));
    gs_widen_row((const void *)&outside, 0, begin * n_pairs, strip, 1);
    gs_widen_row((const void *)&outside, 0, (width - end) * n_pairs, strip + end * n_pairs, 1);
    for (int row = 0; row < rows->outputs; row++) {
      gs_pair_window(rows, columns, x, row * rows->stride - rows->pad, left + begin, end - begin, &outside,
                     strip + begin * n_pairs);
      gs_filter_windows(g, strip, columns->stride * n_pairs, n,
                        y + (ptrdiff_t)row * rows->step_y + (ptrdiff_t)first * columns->step_y, columns->step_y);
    }
  }
}

/* Compute one channel; x and y are those of the channel. */
static void gs_filter_channel(const gs_axis *rows, const gs_axis *columns, const uint8_t *x, int zero, const int8_t *w,
                              int32_t start, float scale, int zero_out, uint8_t *y) {
  for (int row = 0; row < rows->outputs; row++) {
    for (int column = 0; column < columns->outputs; column++) {
      int32_t sum = start;
      for (int ky = 0; ky < rows->taps; ky++) {
        const int at_y = row * rows->stride + ky * rows->dilation - rows->pad;
        if (at_y < 0 || at_y >= rows->size) continue;
        for (int kx = 0; kx < columns->taps; kx++) {
          const int at_x = column * columns->stride + kx * columns->dilation - columns->pad;
          if (at_x < 0 || at_x >= columns->size) continue;
          sum += (x[(ptrdiff_t)at_y * rows->step_x + (ptrdiff_t)at_x * columns->step_x] - zero) *
                 w[ky * rows->step_w + kx * columns->step_w];
        }
      }
      y[(ptrdiff_t)row * rows->step_y + (ptrdiff_t)column * columns->step_y] = (uint8_t)gs_two_bytes(sum, 0, scale, 0, 0, 0, zero_out);
    }
  }
}

/* Compute a depthwise convolution. The last group of four channels may overlap the one before it, whose outputs it then
   computes again. */
static void gs_filter_u8(const gs_conv *c, const uint8_t *x, int zero, const int8_t *weights, const int32_t *bias,
                         const float *scale, int zero_out, uint8_t *y) {
  const int channels = c->c_out, width = gs_width(c);
  gs_axis rows = {c->h, gs_height(c), c->kh, c->stride_h, c->pad_h, c->dilation_h, c->w * channels, c->kw * channels,
                  width * channels};
  gs_axis columns = {c->w, width, c->kw, c->stride_w, c->pad_w, c->dilation_w, channels, channels, channels};
  if (c->kh == 1) {
    const gs_axis swapped = rows;
    rows = columns;
    columns = swapped;
  }
  const int n_pairs = (rows.taps + 1) / 2;
  if (channels < 4 || n_pairs * columns.taps > GS_WINDOW_ROOM || (columns.dilation > 1 && columns.taps > 1)) {
    for (int k = 0; k < channels; k++) {
      gs_filter_channel(&rows, &columns, x + k, zero, weights + k, bias[k], scale[k], zero_out, y + k);
    }
    return;
  }
  gs_group g;
  g.end = g.w + columns.taps * n_pairs;
  g.zero_out = zero_out;
  for (int first = 0; first < channels; first += 4) {
    const int k = GS_MIN(first, channels - 4);
    const int32_t start[4] = {bias[k], bias[k + 2], bias[k + 1], bias[k + 3]};
    memcpy(g.start, start, sizeof(start));
    g.scale = scale + k;
    gs_pair_weights(&rows, &columns, weights + k, zero, g.w, g.start);
    gs_filter_group(&rows, &columns, x + k, zero, &g, y + k);
  }
}

#endif
