/* The predictor of feature boosting and suppression (FBS), which decides the winners.

   A last bit of g can decide which channels win. So every instruction set adds the products in the order of the
   channels, and rounds each product before it is added: no fused multiply-add. */
#ifndef GS_PREDICT_H
#define GS_PREDICT_H

#include "kernels.h"
#include "simd.h"

/* Compute g = relu(phi u + rho) for all output channels, g [16 * blocks_out], from the means u of the input channels.
   in lists the n_in active blocks of input channels; NULL means all. phi is packed as a 1 x 1 convolution. */
GS_INLINE void gs_predict(const gs_conv *c, const gs_fbs *f, const float *u, const int32_t *in, int n_in, float *g) {
  const int blocks_in = GS_BLOCKS(c->c_in);
  if (!in) n_in = blocks_in;
  for (int o = 0; o < GS_BLOCKS(c->c_out); o++) {
    const float *phi = f->phi + (size_t)o * blocks_in * GS_BLOCK * GS_BLOCK;
    gs_vf acc[GS_VECTORS];
    GS_UNROLL for (int v = 0; v < GS_VECTORS; v++) acc[v] = gs_zero_f();
    for (int i = 0; i < n_in; i++) {
      const int first = (in ? in[i] : i) * GS_BLOCK;
      for (int k = first; k < GS_MIN(first + GS_BLOCK, c->c_in); k++) {
        GS_UNROLL for (int v = 0; v < GS_VECTORS; v++) {
          acc[v] = acc[v] + gs_set_f(u[k]) * gs_load_f(phi + (size_t)k * GS_BLOCK + v * GS_LANES);
        }
      }
    }
    GS_UNROLL for (int v = 0; v < GS_VECTORS; v++) {
      const int at = o * GS_BLOCK + v * GS_LANES;
      gs_store_f(g + at, gs_max(acc[v] + gs_load_f(f->rho + at), gs_set_f(0.0f)));
    }
  }
}

#endif
