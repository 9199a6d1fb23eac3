/* The heads of gates: pooling over pixels, a linear layer, and the choice of winning blocks of channels.

   gatesearch/kernels/elementwise.py calls gate_f32, for gates at cuts. fbs.c and winners.h call the pooling and winners.
   With GS_KIT defined, the file instead holds prepare_gate and run_gate, for a program that times kernels on a board
   (kit.h). */
#ifndef GS_KIT
#include "kernels.h"
#include "simd.h"

/* Compute the mean of each channel over the pixels of x [pixels][channels] and, unless largest is NULL, the maximum.
   active lists n_active blocks, NULL means all; the results of other channels keep their values. */
void GS(pool_f32)(const float *x, int pixels, int channels, const int32_t *active, int n_active, float *mean,
                  float *largest) {
  const int blocks = GS_BLOCKS(channels);
  for (int i = 0; i < (active ? n_active : blocks); i++) {
    const int first = (active ? active[i] : i) * GS_BLOCK, n_channels = GS_MIN(GS_BLOCK, channels - first);
    float sum[GS_BLOCK] = {0}, maximum[GS_BLOCK];
    for (int k = 0; k < n_channels; k++) maximum[k] = x[first + k];
    if (n_channels == GS_BLOCK) {
      for (int p = 0; p < pixels; p++) {
        const float *value = x + (size_t)p * channels + first;
        GS_LOOP for (int k = 0; k < GS_BLOCK; k++) sum[k] += value[k];
        if (largest) {
          GS_LOOP for (int k = 0; k < GS_BLOCK; k++) maximum[k] = value[k] > maximum[k] ? value[k] : maximum[k];
        }
      }
    } else {
      for (int p = 0; p < pixels; p++) {
        for (int k = 0; k < n_channels; k++) {
          const float value = x[(size_t)p * channels + first + k];
          sum[k] += value;
          maximum[k] = value > maximum[k] ? value : maximum[k];
        }
      }
    }
    for (int k = 0; k < n_channels; k++) mean[first + k] = sum[k] / (float)pixels;
    for (int k = 0; largest && k < n_channels; k++) largest[first + k] = maximum[k];
  }
}

/* Compute the exact sum of each channel over the pixels of x, uint8 [pixels][channels], and, unless largest is NULL,
   the maximum. active lists n_active blocks, NULL means all. */
void GS(pool_u8)(const uint8_t *x, int pixels, int channels, const int32_t *active, int n_active, int32_t *total,
                 uint8_t *largest) {
  const int blocks = GS_BLOCKS(channels);
  for (int i = 0; i < (active ? n_active : blocks); i++) {
    const int first = (active ? active[i] : i) * GS_BLOCK, n_channels = GS_MIN(GS_BLOCK, channels - first);
    int32_t sum[GS_BLOCK] = {0};
    uint8_t maximum[GS_BLOCK] = {0};
    for (int p = 0; p < pixels; p++) {
      const uint8_t *value = x + (size_t)p * channels + first;
      if (n_channels == GS_BLOCK) {
        GS_LOOP for (int k = 0; k < GS_BLOCK; k++) sum[k] += value[k];
        if (largest) {
          GS_LOOP for (int k = 0; k < GS_BLOCK; k++) maximum[k] = value[k] > maximum[k] ? value[k] : maximum[k];
        }
      } else {
        for (int k = 0; k < n_channels; k++) {
          sum[k] += value[k];
          maximum[k] = value[k] > maximum[k] ? value[k] : maximum[k];
        }
      }
    }
    memcpy(total + first, sum, n_channels * sizeof(int32_t));
    if (largest) memcpy(largest + first, maximum, n_channels);
  }
}

/* Return the logit w_mean . mean(x) + w_max . max(x) + b, with mean and maximum over the pixels of x. w_max may be
   NULL. pooled is scratch memory for the means and, behind them, the maxima, [2 channels]. */
float GS(gate_f32)(const float *x, int pixels, int channels, const float *w_mean, const float *w_max, float b,
                   float *pooled) {
  float part[GS_BLOCK] = {0}, sum = b;
  GS(pool_f32)(x, pixels, channels, NULL, 0, pooled, w_max ? pooled + channels : NULL);
  for (int i = 0; i + GS_BLOCK <= channels; i += GS_BLOCK) {
    GS_LOOP for (int k = 0; k < GS_BLOCK; k++) part[k] += w_mean[i + k] * pooled[i + k];
    if (w_max) {
      GS_LOOP for (int k = 0; k < GS_BLOCK; k++) part[k] += w_max[i + k] * pooled[channels + i + k];
    }
  }
  for (int i = channels / GS_BLOCK * GS_BLOCK; i < channels; i++) {
    sum += w_mean[i] * pooled[i] + (w_max ? w_max[i] * pooled[channels + i] : 0);
  }
  for (int k = 0; k < GS_BLOCK; k++) sum += part[k];
  return sum;
}

/* List the count blocks with the largest mean of g [channels], ascending. Among blocks with equal means, the first win.
   No value of g is negative, and there are at most 1024 blocks. */
void GS(winners)(const float *g, int channels, int count, int32_t *out) {
  const int blocks = GS_BLOCKS(channels);
  float score[1024], best_score = 0;
  for (int b = 0; b < blocks; b++) {
    const int n_channels = GS_MIN(GS_BLOCK, channels - b * GS_BLOCK);
    float sum = 0;
    for (int k = 0; k < n_channels; k++) sum += g[b * GS_BLOCK + k];
    score[b] = sum / (float)n_channels;
  }
  for (int n = 0; n < count; n++) {
    int best = -1;
    for (int b = 0; b < blocks; b++) {
      if (score[b] >= 0 && (best < 0 || score[b] > best_score)) best_score = score[best = b];
    }
    score[best] = -1; /* below every score, so that the block does not win again */
    best_score = 0;
    out[n] = best;
  }
  for (int i = 1; i < count; i++) {
    for (int k = i; k > 0 && out[k - 1] > out[k]; k--) {
      const int32_t larger = out[k - 1];
      out[k - 1] = out[k];
      out[k] = larger;
    }
  }
}

#else /* with GS_KIT: functions for a program that times kernels on a board */
#include "kit.h"

/* Prepare the call of a row of the kit, for a feature map of the row's shape. */
static void prepare_gate(gs_call *k) {
  k->c = conv_of(k->row->shape);
  k->x = reals(k->c.h * k->c.w * k->c.c_in);
  k->w = reals(k->c.c_in), k->bias = reals(k->c.c_in), k->y = reserve(2 * k->c.c_in * sizeof(float));
}

/* Run a prepared call. */
GS_INLINE void run_gate(gs_call *k) {
  k->open = GS(gate_f32)(k->x, k->c.h * k->c.w, k->c.c_in, k->w, k->bias, 0, k->y) > 0;
}
#endif
