/* Convolution with SMLAD: the bytes of two channels are written as soon as their sums are complete.

   A tile has three pixels and all active blocks of channels, so that its inputs are widened only once (tile_dsp.h).
   Outputs other than bytes do not use this file: conv_u8.c stores their sums, and finishes them block by block. */
#ifndef GS_CONV_DSP_H
#define GS_CONV_DSP_H

#include "tile.h"

/* Two channels: what is added to their sums, and the factors that convert the sums to bytes. */
typedef struct {
  int32_t start[2];
  float scale[2], shift[2];
} gs_two_channels;

/* Compute the active blocks of channels of the pixels of a tile. */
static inline __attribute__((always_inline)) void gs_convolve_rows(const int rows, const gs_prepared *v,
                                                                   const uint8_t *const *patch,
                                                                   gs_run_of_steps *runs, uint32_t *wide,
                                                                   const gs_two_channels *two, uint8_t *y) {
  const int channels = v->c->c_out, zero_out = v->zero_out;
  gs_list_runs(rows, v->steps, v->n_steps, wide, runs);
  gs_widen(rows, patch, v->steps, v->n_steps, wide);
  for (int o = 0; o < v->n_out; o++) {
    const int block = v->out ? v->out[o] : o, n = GS_MIN(GS_BLOCK, channels - block * GS_BLOCK);
    const int8_t *w = v->packed + v->size * block + v->steps->w;
    uint8_t *to = y + block * GS_BLOCK;
    for (int k = 0; k < n; k += 2, w += 8, to += 2, two++) {
      int32_t sums[3][2];
      GS_UNROLL for (int r = 0; r < rows; r++) sums[r][0] = two->start[0], sums[r][1] = two->start[1];
      gs_multiply(rows, wide, runs, w, sums);
      const float scale0 = two->scale[0], scale1 = two->scale[1], shift0 = two->shift[0], shift1 = two->shift[1];
      if (k < n - 1) {
        GS_UNROLL for (int r = 0; r < rows; r++) {
          const uint16_t bytes = (uint16_t)gs_two_bytes(sums[r][0], sums[r][1], scale0, scale1, shift0, shift1, zero_out);
          memcpy(to + r * channels, &bytes, 2);
        }
      } else {
        GS_UNROLL for (int r = 0; r < rows; r++) {
          to[r * channels] = (uint8_t)gs_two_bytes(sums[r][0], 0, scale0, 0, shift0, 0, zero_out);
        }
      }
    }
  }
}

static __attribute__((noinline)) void gs_convolve_3(const gs_prepared *v, const uint8_t *const *patch,
                                                    gs_run_of_steps *runs, uint32_t *wide, const gs_two_channels *two,
                                                    uint8_t *y) {
  gs_convolve_rows(3, v, patch, runs, wide, two, y);
}
static __attribute__((noinline)) void gs_convolve_2(const gs_prepared *v, const uint8_t *const *patch,
                                                    gs_run_of_steps *runs, uint32_t *wide, const gs_two_channels *two,
                                                    uint8_t *y) {
  gs_convolve_rows(2, v, patch, runs, wide, two, y);
}
static __attribute__((noinline)) void gs_convolve_1(const gs_prepared *v, const uint8_t *const *patch,
                                                    gs_run_of_steps *runs, uint32_t *wide, const gs_two_channels *two,
                                                    uint8_t *y) {
  gs_convolve_rows(1, v, patch, runs, wide, two, y);
}

/* Write the start, scale and shift of each active pair of channels to to, and return the number of pairs. */
static int gs_pair_channels(const gs_prepared *v, gs_two_channels *to) {
  int n = 0;
  for (int o = 0; o < v->n_out; o++) {
    const int first = (v->out ? v->out[o] : o) * GS_BLOCK, end = GS_MIN(first + GS_BLOCK, v->c->c_out);
    for (int k = first; k < end; k += 2, to++, n++) {
      memcpy(to->start, v->start + k, 8);
      memcpy(to->scale, v->scale + k, 8);
      memcpy(to->shift, v->shift + k, 8);
    }
  }
  return n;
}

/* Compute a prepared convolution to bytes. */
static void gs_convolve_bytes(const gs_prepared *v) {
  if (!v->n_steps) {
    gs_convolve_u8(v);
    return;
  }
  gs_two_channels *two = v->room;
  gs_run_of_steps *runs = (gs_run_of_steps *)(two + gs_pair_channels(v, two));
  uint32_t *wide = (uint32_t *)(runs + v->n_steps + 1);
  uint8_t *y = v->y;
  for (int p = 0; p < v->pixels; p += 3, y += 3 * v->c->c_out) {
    const uint8_t *patch[3];
    const int rows = GS_MIN(3, v->pixels - p);
    for (int r = 0; r < rows; r++) patch[r] = v->x + v->offsets[p + r];
    if (rows == 3) gs_convolve_3(v, patch, runs, wide, two, y);
    else if (rows == 2) gs_convolve_2(v, patch, runs, wide, two, y);
    else gs_convolve_1(v, patch, runs, wide, two, y);
  }
}

#endif
