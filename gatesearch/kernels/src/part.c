/* Helpers for a kernel that replaces a layer in a float network: rounding inputs to levels, normalising outputs. */
#include "kernels.h"
#include "simd.h"

/* x [n] to the nearest of the levels 0 .. top, each worth step; ties to even. */
void GS(levels_f32)(const float *x, int n, float step, float top, int bytes, void *out) {
  uint8_t *narrow = out;
  uint16_t *wide = out;
  for (int i = 0; i < n; i++) {
    float level = x[i] / step;
    level = level > top ? top : level;
    level = level > 0 ? level : 0;
    level = (level + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23: rounds to even */
    if (bytes == 1) {
      narrow[i] = (uint8_t)(int32_t)level;
    } else {
      wide[i] = (uint16_t)(int32_t)level;
    }
  }
}

/* The same of each pixel of x [pixels][channels], in pieces: of what is positive and, with sign, of what is negative.
   Where weights are of 9 bits, a piece is there twice, doubled and as it is, for w = 2 (w >> 1) + (w & 1); its low bits
   then have one bit more. */
void GS(spread_f32)(const float *x, int pixels, int channels, float step, float top, int low_bits, int wide, int sign,
                    int bytes, void *out) {
  uint8_t *narrow = out;
  uint16_t *two = out;
  for (int p = 0; p < pixels; p++, x += channels) {
    for (int side = 0; side <= sign; side++) {
      for (int times = 1 + wide; times; times--) {
        for (int i = 0; i < channels; i++) {
          float level = (side ? -x[i] : x[i]) / step;
          level = level > top ? top : level;
          level = level > 0 ? level : 0;
          unsigned whole = (unsigned)(int32_t)((level + 12582912.0f) - 12582912.0f);
          if (wide) whole = (((whole >> low_bits) << (low_bits + 1)) | (whole & ((1u << low_bits) - 1))) * times;
          if (bytes == 1) *narrow++ = (uint8_t)whole;
          else *two++ = (uint16_t)whole;
        }
      }
    }
  }
}

/* y [pixels][channels] = act(y scale + shift), in place. */
void GS(affine_f32)(float *restrict y, int pixels, int channels, const float *restrict scale,
                    const float *restrict shift, int relu) {
  const float floor = relu ? 0.0f : -__FLT_MAX__;
  for (int p = 0; p < pixels; p++, y += channels) {
    for (int k = 0; k < channels; k++) {
      const float value = y[k] * scale[k] + shift[k];
      y[k] = value > floor ? value : floor;
    }
  }
}

/* Clear the blocks of y [pixels][channels] that are not live. */
void GS(clear_f32)(float *y, int pixels, int channels, const int32_t *live, int n_live) {
  for (int block = 0, i = 0; block < GS_BLOCKS(channels); block++) {
    if (i < n_live && live[i] == block) {
      i++;
      continue;
    }
    const int first = block * GS_BLOCK, size = GS_MIN(GS_BLOCK, channels - first);
    for (int p = 0; p < pixels; p++) memset(y + (size_t)p * channels + first, 0, size * sizeof(float));
  }
}

/* All steps of a layer in one direction, from a state of zero: x [steps][columns] to y [steps], stride floats apart.
   c is NULL for a GRU. */
void GS(recurrence)(const gs_matrix *of_x, const gs_matrix *of_h, const float *bias_x, const float *bias_h,
                    const float *x, int steps, int backwards, float *h, float *c, float *y, int stride,
                    void *scratch) {
  const int n = of_h->height;
  memset(h, 0, n * sizeof(float));
  if (c) memset(c, 0, n * sizeof(float));
  for (int i = 0; i < steps; i++) {
    const int t = backwards ? steps - 1 - i : i;
    if (c) {
      GS(lstm_step)(of_x, of_h, bias_x, x + (size_t)t * of_x->columns, h, c, scratch);
    } else {
      GS(gru_step)(of_x, of_h, bias_x, bias_h, x + (size_t)t * of_x->columns, h, scratch);
    }
    memcpy(y + (size_t)t * stride, h, n * sizeof(float));
  }
}
