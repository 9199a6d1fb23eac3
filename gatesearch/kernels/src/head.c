/* The head of a gate: pooling over pixels, a linear layer, and the choice of winners.

   gatesearch/kernels/elementwise.py calls gate_f32, for gates at cuts. fbs.c and chosen.h call the pooling and winners.
   A kit's runner calls prepare_gate and run_gate. */
#ifndef GS_KIT
#include "kernels.h"
#include "simd.h"

/* Compute the mean of each channel over the pixels of x [pixels][channels] and, unless largest is NULL, the maximum.
   live lists n_live active blocks, NULL means all; other channels keep their values. */
void GS(pool_f32)(const float *x, int pixels, int channels, const int32_t *live, int n_live, float *mean,
                  float *largest) {
  const int blocks = GS_BLOCKS(channels);
  for (int i = 0; i < (live ? n_live : blocks); i++) {
    const int first = (live ? live[i] : i) * GS_BLOCK, there = GS_MIN(GS_BLOCK, channels - first);
    float sum[GS_BLOCK] = {0}, most[GS_BLOCK];
    for (int k = 0; k < there; k++) most[k] = x[first + k];
    if (there == GS_BLOCK) {
      for (int p = 0; p < pixels; p++) {
        const float *value = x + (size_t)p * channels + first;
        GS_LOOP for (int k = 0; k < GS_BLOCK; k++) sum[k] += value[k];
        if (largest) {
          GS_LOOP for (int k = 0; k < GS_BLOCK; k++) most[k] = value[k] > most[k] ? value[k] : most[k];
        }
      }
    } else {
      for (int p = 0; p < pixels; p++) {
        for (int k = 0; k < there; k++) {
          const float value = x[(size_t)p * channels + first + k];
          sum[k] += value;
          most[k] = value > most[k] ? value : most[k];
        }
      }
    }
    for (int k = 0; k < there; k++) mean[first + k] = sum[k] / (float)pixels;
    for (int k = 0; largest && k < there; k++) largest[first + k] = most[k];
  }
}

/* Do the same for bytes, with the exact sum instead of the mean. */
void GS(pool_u8)(const uint8_t *x, int pixels, int channels, const int32_t *live, int n_live, int32_t *total,
                 uint8_t *largest) {
  const int blocks = GS_BLOCKS(channels);
  for (int i = 0; i < (live ? n_live : blocks); i++) {
    const int first = (live ? live[i] : i) * GS_BLOCK, there = GS_MIN(GS_BLOCK, channels - first);
    int32_t sum[GS_BLOCK] = {0};
    uint8_t most[GS_BLOCK] = {0};
    for (int p = 0; p < pixels; p++) {
      const uint8_t *value = x + (size_t)p * channels + first;
      if (there == GS_BLOCK) {
        GS_LOOP for (int k = 0; k < GS_BLOCK; k++) sum[k] += value[k];
        if (largest) {
          GS_LOOP for (int k = 0; k < GS_BLOCK; k++) most[k] = value[k] > most[k] ? value[k] : most[k];
        }
      } else {
        for (int k = 0; k < there; k++) {
          sum[k] += value[k];
          most[k] = value[k] > most[k] ? value[k] : most[k];
        }
      }
    }
    memcpy(total + first, sum, there * sizeof(int32_t));
    if (largest) memcpy(largest + first, most, there);
  }
}

/* Return the logit w_mean . mean(x) + w_most . max(x) + b, with mean and maximum over the pixels of x. w_most may be
   NULL. pooled is scratch memory for the means and, behind them, the maxima, [2 channels]. */
float GS(gate_f32)(const float *x, int pixels, int channels, const float *w_mean, const float *w_most, float b,
                   float *pooled) {
  float part[GS_BLOCK] = {0}, sum = b;
  GS(pool_f32)(x, pixels, channels, NULL, 0, pooled, w_most ? pooled + channels : NULL);
  for (int i = 0; i + GS_BLOCK <= channels; i += GS_BLOCK) {
    GS_LOOP for (int k = 0; k < GS_BLOCK; k++) part[k] += w_mean[i + k] * pooled[i + k];
    if (w_most) {
      GS_LOOP for (int k = 0; k < GS_BLOCK; k++) part[k] += w_most[i + k] * pooled[channels + i + k];
    }
  }
  for (int i = channels / GS_BLOCK * GS_BLOCK; i < channels; i++) {
    sum += w_mean[i] * pooled[i] + (w_most ? w_most[i] * pooled[channels + i] : 0);
  }
  for (int k = 0; k < GS_BLOCK; k++) sum += part[k];
  return sum;
}

/* List the count blocks with the largest mean of g [channels], ascending; of equal blocks the first win. No g is
   negative, and there are at most 1024 blocks. */
void GS(winners)(const float *g, int channels, int count, int32_t *out) {
  const int blocks = GS_BLOCKS(channels);
  float score[1024], least = 0;
  for (int b = 0; b < blocks; b++) {
    const int there = GS_MIN(GS_BLOCK, channels - b * GS_BLOCK);
    float sum = 0;
    for (int k = 0; k < there; k++) sum += g[b * GS_BLOCK + k];
    score[b] = sum / (float)there;
  }
  for (int n = 0; n < count; n++) {
    int best = -1;
    for (int b = 0; b < blocks; b++) {
      if (score[b] >= 0 && (best < 0 || score[b] > least)) least = score[best = b];
    }
    score[best] = -1; /* below every score, so that the block does not win again */
    least = 0;
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

#else /* with GS_KIT: how a kit prepares a call and makes it */
#include "kit.h"

/* Prepare a call for a map of a row's shape. */
static void prepare_gate(gs_call *k) {
  k->c = conv_of(k->row->shape);
  k->x = reals(k->c.h * k->c.w * k->c.c_in);
  k->w = reals(k->c.c_in), k->bias = reals(k->c.c_in), k->y = room(2 * k->c.c_in * sizeof(float));
}

/* Run a prepared call. */
GS_INLINE void run_gate(gs_call *k) {
  k->open = GS(gate_f32)(k->x, k->c.h * k->c.w, k->c.c_in, k->w, k->bias, 0, k->y) > 0;
}
#endif
