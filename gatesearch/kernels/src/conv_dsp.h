/* Convolution with SMLAD: the bytes of two channels are written as soon as their sums are complete.

   A tile has three pixels and all active blocks of channels, so that its inputs are widened once (tile_dsp.h). Sums
   that are not requantised to bytes take the same way, but are stored and finished block by block. */
#ifndef GS_CONV_DSP_H
#define GS_CONV_DSP_H

#include "tile.h"

/* Requantise the sums of two channels of some pixels, of which n channels exist, and write them to y. */
GS_INLINE void gs_finish_two(const int rows, int32_t sums[3][2], int n, const float *scale, const float *shift,
                             int zero_out, int stride, uint8_t *y) {
  GS_UNROLL for (int r = 0; r < rows; r++) {
    const int32_t low = gs_byte((float)sums[r][0] * scale[0] + shift[0], zero_out);
    if (n > 1) {
      const uint16_t two = (uint16_t)(low | gs_byte((float)sums[r][1] * scale[1] + shift[1], zero_out) << 8);
      memcpy(y + r * stride, &two, 2);
    } else {
      y[r * stride] = (uint8_t)low;
    }
  }
}

/* Compute the active blocks of channels of a tile of bytes; wide holds the tile's widened inputs. */
GS_INLINE void gs_convolve_rows(const int rows, const gs_prepared *v, const gs_run_of_steps *runs, int n_runs,
                                const uint32_t *wide, uint8_t *y) {
  const int channels = v->c->c_out;
  for (int o = 0; o < v->n_out; o++) {
    const int block = v->out ? v->out[o] : o;
    const int8_t *w = v->packed + v->size * block;
    for (int k = block * GS_BLOCK; k < GS_MIN(channels, (block + 1) * GS_BLOCK); k += 2, w += 8) {
      int32_t sums[3][2];
      GS_UNROLL for (int r = 0; r < rows; r++) memcpy(sums[r], v->start + k, 8);
      gs_multiply_runs(rows, wide, runs, n_runs, w, sums);
      gs_finish_two(rows, sums, channels - k, v->scale + k, v->shift + k, v->zero_out, channels, y + k);
    }
  }
}

/* Compute a prepared convolution to bytes. */
static void gs_convolve_bytes(const gs_prepared *v) {
  gs_run_of_steps *runs = v->room;
  uint32_t *wide = (uint32_t *)(runs + v->n_steps);
  const int n_runs = gs_list_runs(v->steps, v->n_steps, runs);
  uint8_t *y = v->y;
  for (int p = 0; p < v->pixels; p += 3, y += 3 * v->c->c_out) {
    const uint8_t *patch[3];
    const int rows = GS_MIN(3, v->pixels - p);
    for (int r = 0; r < rows; r++) patch[r] = v->x + v->offsets[p + r];
    if (rows == 3) {
      gs_widen(3, patch, v->steps, v->n_steps, wide);
      gs_convolve_rows(3, v, runs, n_runs, wide, y);
    } else if (rows == 2) {
      gs_widen(2, patch, v->steps, v->n_steps, wide);
      gs_convolve_rows(2, v, runs, n_runs, wide, y);
    } else {
      gs_widen(1, patch, v->steps, v->n_steps, wide);
      gs_convolve_rows(1, v, runs, n_runs, wide, y);
    }
  }
}

#endif
