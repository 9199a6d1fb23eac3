/* Patches of an image with few channels on MVE (image.h). */
#ifndef GS_UNFOLD_MVE_H
#define GS_UNFOLD_MVE_H

#include "simd.h"

/* Copy rows of n bytes, which lie stride apart, side by side. Vectors read and write up to 15 bytes beyond a row; the
   next row overwrites what they write. */
GS_INLINE uint8_t *gs_join_rows(uint8_t *to, const uint8_t *from, int rows, int n, ptrdiff_t stride) {
  if (n <= 16) {
    for (int row = 0; row < rows; row++, to += n, from += stride) vstrbq_u8(to, vldrbq_u8(from));
    return to;
  }
  for (int row = 0; row < rows; row++, to += n, from += stride) {
    for (int k = 0; k < n; k += 16) vstrbq_u8(to + k, vldrbq_u8(from + k));
  }
  return to;
}

/* Copy the image, with a border of the byte fill, to the memory behind the patches. Then copy each patch from this
   padded image, one row of taps after the other. */
static void gs_unfold_u8(const gs_conv *shape, const gs_geometry *g, const uint8_t *x, uint8_t fill, uint8_t *out) {
  const gs_conv c = *shape; /* a local copy, which no write to out can change, as compilers see */
  const int height = gs_height(&c), width = gs_width(&c), patch = g->patch, row = c.w * c.c_in;
  const ptrdiff_t line = (ptrdiff_t)g->width * c.c_in, column = c.stride_w * c.c_in;
  uint8_t *padded = out + (size_t)g->pixels * patch + GS_BLOCK;
  memset(padded, fill, (c.h + 2 * c.pad_h) * line);
  for (int y = 0; y < c.h; y++) memcpy(padded + (y + c.pad_h) * line + c.pad_w * c.c_in, x + (ptrdiff_t)y * row, row);
  for (int y = 0; y < height; y++) {
    const uint8_t *window = padded + y * c.stride_h * line;
    for (int i = 0; i < width; i++, out += patch, window += column) {
      if (c.dilation_w == 1) {
        gs_join_rows(out, window, c.kh, c.kw * c.c_in, c.dilation_h * line);
        continue;
      }
      uint8_t *to = out;
      for (int ky = 0; ky < c.kh; ky++) {
        to = gs_join_rows(to, window + ky * c.dilation_h * line, c.kw, c.c_in, c.dilation_w * c.c_in);
      }
    }
  }
}

#endif
