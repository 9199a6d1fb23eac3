/* Depthwise convolution by rectangles of outputs, for instruction sets that compute 16 channels at once (depthwise.c).

   The outputs form rectangles in which all windows have the same taps inside the map: corners, borders and the middle.
   So the loop over the pixels of a rectangle checks no bounds. A set that includes this file defines
   gs_filter_channels. */
#ifndef GS_RECTANGLES_H
#define GS_RECTANGLES_H

#include "gs.h"

/* Neighbouring outputs in one direction, from first up to next - 1, whose windows have the same taps inside the map:
   the taps from tap up to next_tap - 1. */
typedef struct {
  int first, next, tap, next_tap;
} gs_span;

/* The taps of a rectangle: their number, how far apart they are in x, and how far apart their weights are. */
typedef struct {
  int rows, columns;
  ptrdiff_t row, column, weight_row, weight_column;
} gs_taps;

/* Return the span that starts at an output. size is the number of values in this direction, kernel the number of taps. */
static gs_span gs_find_span(int output, int outputs, int size, int kernel, int stride, int pad, int dilation) {
  gs_span s = {.first = output, .next = output};
  for (; s.next < outputs; s.next++) {
    const int start = s.next * stride - pad;
    int tap = 0, next_tap = kernel;
    while (tap < kernel && start + tap * dilation < 0) tap++;
    while (next_tap > tap && start + (next_tap - 1) * dilation >= size) next_tap--;
    if (s.next == output) s.tap = tap, s.next_tap = next_tap;
    else if (s.tap != tap || s.next_tap != next_tap) break;
  }
  return s;
}

/* A rectangle of outputs of a depthwise convolution. */
typedef struct {
  gs_taps taps;
  int height, width;                          /* outputs */
  ptrdiff_t row, column, out_row, out_column; /* how far apart windows are in x, and outputs in y */
  int zero, zero_out;
} gs_rectangle;

/* Compute all channels of a rectangle. x is the first value of the first window inside the map, w its weight, and y the
   first output. */
static void gs_filter_channels(const gs_rectangle *r, int channels, const uint8_t *x, const int8_t *w,
                               const int32_t *bias, const float *scale, uint8_t *y);

GS_INLINE void gs_filter_u8(const gs_conv *c, const uint8_t *x, int zero, const int8_t *weights, const int32_t *bias,
                            const float *scale, int zero_out, uint8_t *y) {
  const int height = gs_height(c), width = gs_width(c);
  const ptrdiff_t channels = c->c_out, line = c->w * channels;
  gs_span down, right;
  for (int row = 0; row < height; row = down.next) {
    down = gs_find_span(row, height, c->h, c->kh, c->stride_h, c->pad_h, c->dilation_h);
    for (int column = 0; column < width; column = right.next) {
      right = gs_find_span(column, width, c->w, c->kw, c->stride_w, c->pad_w, c->dilation_w);
      gs_rectangle r = {
          .taps = {.rows = down.next_tap - down.tap, .columns = right.next_tap - right.tap,
                   .row = c->dilation_h * line, .column = c->dilation_w * channels,
                   .weight_row = c->kw * channels, .weight_column = channels},
          .height = down.next - down.first, .width = right.next - right.first,
          .row = c->stride_h * line, .column = c->stride_w * channels, .out_row = width * channels,
          .out_column = channels, .zero = zero, .zero_out = zero_out};
      gs_taps *t = &r.taps;
      if (t->columns == 1) { /* a column of taps becomes a row */
        t->columns = t->rows, t->column = t->row, t->weight_column = t->weight_row;
        t->rows = 1;
      }
      const ptrdiff_t top = row * c->stride_h - c->pad_h + down.tap * c->dilation_h;
      const ptrdiff_t left = column * c->stride_w - c->pad_w + right.tap * c->dilation_w;
      gs_filter_channels(&r, (int)channels, x + (top * c->w + left) * channels,
                         weights + (down.tap * c->kw + right.tap) * channels, bias, scale,
                         y + ((ptrdiff_t)row * width + column) * channels);
    }
  }
}

#endif
