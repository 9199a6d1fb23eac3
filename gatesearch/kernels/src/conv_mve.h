/* Convolution to bytes on MVE (conv_u8.c). */
#ifndef GS_CONV_MVE_H
#define GS_CONV_MVE_H

#include "bytes_mve.h"

GS_SUM_STEPS(narrow, GS_NARROW)

/* Compute the bytes of a block of output channels at every pixel; w holds the weights of the block. */
GS_INLINE void gs_convolve_block(const int shifted, const gs_prepared *v, int first, const int8_t *w,
                                 const gs_factors *f) {
  uint8_t *y = (uint8_t *)v->y + first;
  const int n_channels = v->c->c_out - first;
  for (int p = 0; p < v->pixels; p++, y += v->c->c_out) {
    int32_t s[GS_BLOCK];
    gs_sum_narrow(v->x + v->offsets[p], w, v->steps, v->n_steps, f->start, s);
    gs_write_bytes(shifted, vldrwq_s32(s), vldrwq_s32(s + 4), vldrwq_s32(s + 8), vldrwq_s32(s + 12), f, v->zero_out,
                   n_channels, y);
  }
}

/* Compute a prepared convolution to bytes. */
static void gs_convolve_bytes(const gs_prepared *v) {
  for (int o = 0; o < v->n_out; o++) {
    const int block = v->out ? v->out[o] : o, first = block * GS_BLOCK;
    const int8_t *w = v->packed + v->size * block;
    gs_factors f;
    gs_load_factors(v->start + first, v->scale + first, v->shift + first, v->c->c_out - first, &f);
    if (f.shifted) gs_convolve_block(1, v, first, w, &f);
    else gs_convolve_block(0, v, first, w, &f);
  }
}

#endif
