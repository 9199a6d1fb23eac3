/* Operators on uint8 feature maps between convolutions: pooling over windows, and the sum of two maps.

   gatesearch/kernels/pool.py calls pool_window_u8, elementwise.py calls sum_u8. With GS_KIT defined, the file instead
   holds prepare_pool, run_pool, prepare_sum and run_sum, for a program that times kernels on a board (kit.h). */
#ifndef GS_KIT
#include "kernels.h"
#include "simd.h"

#ifdef GS_POOL_FILE
#include GS_POOL_FILE
#else
/* The loops of sets that have none of their own. Adding and subtracting 1.5 * 2^23 (12582912) rounds half to even. */
GS_INLINE void gs_pool_u8(const gs_conv *c, const uint8_t *x, int largest, uint8_t *y) {
  const int height = gs_height(c), width = gs_width(c), channels = c->c_in;
  for (int row = 0; row < height; row++) {
    const int top = row * c->stride_h - c->pad_h, first_y = GS_MAX(top, 0), last_y = GS_MIN(top + c->kh, c->h);
    for (int column = 0; column < width; column++, y += channels) {
      const int left = column * c->stride_w - c->pad_w, first_x = GS_MAX(left, 0), last_x = GS_MIN(left + c->kw, c->w);
      const int count = (last_y - first_y) * (last_x - first_x);
      for (int first = 0; first < channels; first += GS_BLOCK) {
        const int n_channels = GS_MIN(GS_BLOCK, channels - first);
        int32_t sum[GS_BLOCK];
        uint8_t maximum[GS_BLOCK] = {0};
        for (int k = 0; k < n_channels; k++) sum[k] = count / 2;
        for (int at_y = first_y; at_y < last_y; at_y++) {
          for (int at_x = first_x; at_x < last_x; at_x++) {
            const uint8_t *value = x + ((ptrdiff_t)at_y * c->w + at_x) * channels + first;
            if (n_channels < GS_BLOCK) {
              for (int k = 0; k < n_channels; k++) sum[k] += value[k], maximum[k] = GS_MAX(maximum[k], value[k]);
            } else if (largest) {
              GS_LOOP for (int k = 0; k < GS_BLOCK; k++) maximum[k] = GS_MAX(maximum[k], value[k]);
            } else {
              GS_LOOP for (int k = 0; k < GS_BLOCK; k++) sum[k] += value[k];
            }
          }
        }
        if (largest) {
          memcpy(y + first, maximum, n_channels);
        } else {
          for (int k = 0; k < n_channels; k++) y[first + k] = (uint8_t)(sum[k] / count);
        }
      }
    }
  }
}

GS_INLINE void gs_sum_u8(const uint8_t *x, const uint8_t *z, int n, float scale_x, float scale_z, float shift,
                         uint8_t *restrict y) {
  for (int i = 0; i < n; i++) {
    float value = (float)x[i] * scale_x + (float)z[i] * scale_z + shift;
    value = value < 0.0f ? 0.0f : value > 255.0f ? 255.0f : value;
    y[i] = (uint8_t)(int32_t)((value + 12582912.0f) - 12582912.0f);
  }
}
#endif

/* Pool x [h][w][c_in] to y [h'][w'][c_in]. If largest is set, each output is the largest value of its channel in the
   window; else it is the mean, rounded half up. Only the part of a window inside the map counts. */
void GS(pool_window_u8)(const gs_conv *c, const uint8_t *x, int largest, uint8_t *y) {
  gs_pool_u8(c, x, largest, y);
}

/* Compute y = round(scale_x x + scale_z z + shift), half to even, clipped to 0 .. 255; x, z and y are [n]. */
void GS(sum_u8)(const uint8_t *x, const uint8_t *z, int n, float scale_x, float scale_z, float shift,
                uint8_t *restrict y) {
  gs_sum_u8(x, z, n, scale_x, scale_z, shift, y);
}

#else /* with GS_KIT: functions for a program that times kernels on a board */
#include "kit.h"

/* Prepare the pooling of a row of the kit; the row has the shape. */
static void prepare_pool(gs_call *k) {
  k->c = conv_of(k->row->shape);
  k->x = bytes(k->c.h * k->c.w * k->c.c_in);
  k->y = reserve(outputs_of(&k->c));
}

/* Run a prepared pooling. */
GS_INLINE void run_pool(gs_call *k) {
  GS(pool_window_u8)(&k->c, k->x, k->row->kernel == GS_KERNEL_LARGEST, k->y);
}

/* Prepare the sum of a row of the kit; the row has the number of values. */
static void prepare_sum(gs_call *k) {
  const int n = k->row->shape[0];
  k->x = bytes(n), k->h = bytes(n), k->y = reserve(n);
}

/* Run a prepared sum. */
GS_INLINE void run_sum(gs_call *k) {
  GS(sum_u8)(k->x, k->h, k->row->shape[0], 0.4f, 0.6f, 3.0f, k->y);
}
#endif
