/* Depthwise convolution in int8: each channel has a filter of its own.

   Feature maps are uint8, weights int8; the int32 sums are requantised to bytes. gatesearch/kernels/depthwise.py and
   stage.c call depthwise_u8. With GS_KIT defined, the file instead holds prepare_depthwise and run_depthwise, for a
   program that times kernels on a board (kit.h). */
#ifndef GS_KIT
#include "kernels.h"
#include "simd.h"

#ifdef GS_DEPTHWISE_FILE
#include GS_DEPTHWISE_FILE
#else
/* The loop of sets that have none of their own. Adding and subtracting 1.5 * 2^23 (12582912) rounds half to even. */
GS_INLINE void gs_filter_u8(const gs_conv *c, const uint8_t *x, int zero, const int8_t *weights, const int32_t *bias,
                            const float *scale, int zero_out, uint8_t *y) {
  const int height = gs_height(c), width = gs_width(c), channels = c->c_out;
  const float low = -(float)zero_out, high = 255.0f - (float)zero_out;
  for (int row = 0; row < height; row++) {
    for (int column = 0; column < width; column++, y += channels) {
      for (int first = 0; first < channels; first += GS_BLOCK) {
        const int n_channels = GS_MIN(GS_BLOCK, channels - first);
        int32_t sum[GS_BLOCK];
        memcpy(sum, bias + first, n_channels * sizeof(int32_t));
        for (int ky = 0; ky < c->kh; ky++) {
          const int at_y = row * c->stride_h + ky * c->dilation_h - c->pad_h;
          if (at_y < 0 || at_y >= c->h) continue;
          for (int kx = 0; kx < c->kw; kx++) {
            const int at_x = column * c->stride_w + kx * c->dilation_w - c->pad_w;
            if (at_x < 0 || at_x >= c->w) continue;
            const uint8_t *value = x + ((ptrdiff_t)at_y * c->w + at_x) * channels + first;
            const int8_t *weight = weights + ((ptrdiff_t)ky * c->kw + kx) * channels + first;
            if (n_channels == GS_BLOCK) {
              GS_LOOP for (int k = 0; k < GS_BLOCK; k++) sum[k] += (value[k] - zero) * weight[k];
            } else {
              for (int k = 0; k < n_channels; k++) sum[k] += (value[k] - zero) * weight[k];
            }
          }
        }
        for (int k = 0; k < n_channels; k++) {
          float real = (float)sum[k] * scale[first + k];
          real = real < low ? low : real > high ? high : real;
          y[first + k] = (uint8_t)((int32_t)((real + 12582912.0f) - 12582912.0f) + zero_out);
        }
      }
    }
  }
}
#endif

/* Compute y = round(scale (sum of (x - zero) w + bias)) + zero_out, half to even, clipped to 0 .. 255.

   x is [h][w][c], y [h'][w'][c], weights [kh][kw][c], bias and scale [c]. zero and zero_out are the bytes of x and of y
   that represent 0. Taps outside the map add nothing. */
void GS(depthwise_u8)(const gs_conv *c, const uint8_t *x, int zero, const int8_t *weights, const int32_t *bias,
                      const float *scale, int zero_out, uint8_t *y) {
  gs_filter_u8(c, x, zero, weights, bias, scale, zero_out, y);
}

#else /* with GS_KIT: functions for a program that times kernels on a board */
#include "kit.h"

/* Prepare the call of a row of the kit; the row has the shape. */
static void prepare_depthwise(gs_call *k) {
  k->c = conv_of(k->row->shape);
  k->x = bytes(k->c.h * k->c.w * k->c.c_in);
  k->packed = bytes(k->c.kh * k->c.kw * k->c.c_out);
  k->start = reserve(k->c.c_out * sizeof(int32_t)), k->w = reals(k->c.c_out), k->y = reserve(outputs_of(&k->c));
}

/* Run a prepared call. */
GS_INLINE void run_depthwise(gs_call *k) {
  GS(depthwise_u8)(&k->c, k->x, 0, (const int8_t *)k->packed, k->start, k->w, 0, k->y);
}
#endif
