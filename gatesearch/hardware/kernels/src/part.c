/* What stands around a kernel where it takes the place of a layer in a network in float. */
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
