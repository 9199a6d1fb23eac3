/* Helper functions for kernels that replace layers: rounding, normalising and clearing.

   Real values are float32 in C order. In gatesearch/kernels, pg.py calls levels_f32, spread_f32 and affine_f32, and
   fbs.py calls clear_f32. */
#include "kernels.h"
#include "simd.h"

/* Round x [n] / step to whole levels from 0 to top, half to even. Each level takes 1 or 2 bytes of out, as bytes says.
   */
void GS(levels_f32)(const float *x, int n, float step, float top, int bytes, void *out) {
  uint8_t *narrow = out;
  uint16_t *wide = out;
  for (int i = 0; i < n; i++) {
    float level = x[i] / step;
    level = level > top ? top : level;
    level = level > 0 ? level : 0;
    level = (level + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23 leaves no bits for fractions: rounds half to even */
    if (bytes == 1) {
      narrow[i] = (uint8_t)(int32_t)level;
    } else {
      wide[i] = (uint16_t)(int32_t)level;
    }
  }
}

/* Round x [pixels][channels] to levels and write the operands of each pixel one after the other.

   The operands of a pixel are the positive part of its channels and, if sign is set, the negative part. If wide is set,
   weights have 9 bits and are split as w = 2 (w >> 1) + (w & 1). Each operand is then written twice: doubled for the
   weight w >> 1, and unchanged for w & 1. Doubling must not carry the low part of a level into its high part. So there
   is a zero bit between the two parts, and the low part takes low_bits + 1 bits. */
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

/* Compute y = act(y scale + shift) in place, y [pixels][channels]. act is a ReLU if relu is set, else the identity. */
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

/* Set to zero the blocks of y [pixels][channels] that active does not list. */
void GS(clear_f32)(float *y, int pixels, int channels, const int32_t *active, int n_active) {
  for (int block = 0, i = 0; block < GS_BLOCKS(channels); block++) {
    if (i < n_active && active[i] == block) {
      i++;
      continue;
    }
    const int first = block * GS_BLOCK, size = GS_MIN(GS_BLOCK, channels - first);
    for (int p = 0; p < pixels; p++) memset(y + (size_t)p * channels + first, 0, size * sizeof(float));
  }
}
