/* Feature boosting and suppression (FBS, Gao et al. 2019) of blocks of 16 channels.

   A convolution computes only the blocks that win:
     u = mean of x over its pixels, for each input channel
     g = relu(phi u + rho)                              predicts how much each output channel matters
     y = act(g (slope conv(x) + offset) + beta)         for the blocks of 16 channels with the largest mean of g
   slope and offset are the batch normalisation, one value for each channel; act is a ReLU or the identity. Inactive
   input blocks are not read.

   gatesearch/kernels/fbs.py calls fbs_f32 and fbs_u8. With GS_KIT defined, the file instead holds prepare_fbs and
   run_fbs, for a program that times kernels on a board (kit.h). */
#ifndef GS_KIT
#include "predict.h"

/* Return the bytes of scratch memory that fbs_f32 or fbs_u8 needs. */
size_t GS(fbs_scratch)(const gs_conv *c) {
  const size_t in = GS_BLOCKS(c->c_in) * GS_BLOCK, out = GS_BLOCKS(c->c_out) * GS_BLOCK;
  return GS_MAX(GS(conv_f32_scratch)(c), GS(conv_u8_scratch)(c)) + (2 * in + 3 * out) * sizeof(float) + 1024;
}

/* Pick the winning blocks from the means u, list them in out, and compute for each of their channels the scale and
   shift of its convolution: y = act(scale conv(x) + shift). */
static void decide(const gs_conv *c, const gs_fbs *f, const float *u, const int32_t *in, int n_in, int32_t *out,
                   float *scale, float *shift, char **at) {
  const int wide = GS_BLOCKS(c->c_out) * GS_BLOCK;
  float *g = gs_reserve(at, wide * sizeof(float));
  gs_predict(c, f, u, in, n_in, g);
  GS(winners)(g, c->c_out, f->winners, out);
  for (int i = 0; i < f->winners; i++) {
    for (int k = out[i] * GS_BLOCK; k < GS_MIN((out[i] + 1) * GS_BLOCK, c->c_out); k++) {
      scale[k] = g[k] * f->slope[k];
      shift[k] = g[k] * f->offset[k] + f->beta[k];
    }
  }
}

/* Compute the layer in float, x [h][w][c_in] to y [h'][w'][c_out]; losing blocks of y keep their values. in lists the
   active input blocks, NULL means all; out receives the indices of the winning blocks, ascending. */
void GS(fbs_f32)(const gs_conv *c, const gs_fbs *f, const float *x, const int32_t *in, int n_in, const float *packed,
                 int relu, float *y, int32_t *out, void *scratch) {
  const int wide = GS_BLOCKS(c->c_out) * GS_BLOCK;
  char *at = scratch;
  float *u = gs_reserve(&at, c->c_in * sizeof(float));
  float *scale = gs_reserve(&at, wide * sizeof(float)), *shift = gs_reserve(&at, wide * sizeof(float));
  GS(pool_f32)(x, c->h * c->w, c->c_in, in, n_in, u, NULL);
  decide(c, f, u, in, n_in, out, scale, shift, &at);
  GS(conv_f32)(c, x, in, n_in, packed, out, f->winners, scale, shift, relu, y, at);
}

/* Compute the layer for x and y in uint8. In both, the byte 0 represents 0, so clipping to bytes is also a ReLU.
   level_in, level_weight and level_out are the real values of one quantisation step of x, of the weights and of y.
   no_bias holds zeros. */
void GS(fbs_u8)(const gs_conv *c, const gs_fbs *f, const uint8_t *x, float level_in, const int32_t *in, int n_in,
                const int8_t *packed, const int32_t *sums, float level_weight, const int32_t *no_bias,
                float level_out, uint8_t *y, int32_t *out, void *scratch) {
  const int wide = GS_BLOCKS(c->c_out) * GS_BLOCK, pixels = c->h * c->w;
  char *at = scratch;
  float *u = gs_reserve(&at, c->c_in * sizeof(float));
  int32_t *total = gs_reserve(&at, c->c_in * sizeof(int32_t));
  float *scale = gs_reserve(&at, wide * sizeof(float)), *shift = gs_reserve(&at, wide * sizeof(float));
  GS(pool_u8)(x, pixels, c->c_in, in, n_in, total, NULL);
  for (int i = 0; i < (in ? n_in : GS_BLOCKS(c->c_in)); i++) {
    const int first = (in ? in[i] : i) * GS_BLOCK;
    for (int k = first; k < GS_MIN(first + GS_BLOCK, c->c_in); k++) u[k] = (float)total[k] * (level_in / (float)pixels);
  }
  decide(c, f, u, in, n_in, out, scale, shift, &at);
  for (int i = 0; i < f->winners; i++) {
    for (int k = out[i] * GS_BLOCK; k < GS_MIN((out[i] + 1) * GS_BLOCK, c->c_out); k++) {
      scale[k] = scale[k] * (level_in * level_weight / level_out);
      shift[k] = shift[k] / level_out;
    }
  }
  GS(conv_u8)(c, x, 0, in, n_in, packed, sums, out, f->winners, no_bias, scale, shift, GS_BYTES, 0, y, at);
}

#else /* with GS_KIT: functions for a program that times kernels on a board */
#include "kit.h"

/* Prepare the call of a row of the kit. The row says which share of the input blocks is active, and which share of the
   output blocks wins. */
static void prepare_fbs(gs_call *k) {
  k->c = conv_of(k->row->shape);
  const int wide = GS_BLOCKS(k->c.c_out) * GS_BLOCK;
  const gs_conv phi = {1, 1, k->c.c_in, k->c.c_out, 1, 1, 1, 1, 0, 0, 1, 1};
  pick_blocks(k);
  k->packed = (const int8_t *)pack_real(&k->c);
  k->fbs = (gs_fbs){pack_real(&phi), reals(wide), reals(wide), reals(wide), reals(wide), k->n_out, GS_BLOCK};
  k->x = reals(k->c.h * k->c.w * k->c.c_in);
  k->winners = reserve(GS_BLOCKS(k->c.c_out) * sizeof(int32_t));
  k->y = reserve((size_t)outputs_of(&k->c) * sizeof(float));
  k->scratch = reserve(GS(fbs_scratch)(&k->c));
}

/* Run a prepared call. */
GS_INLINE void run_fbs(gs_call *k) {
  GS(fbs_f32)(&k->c, &k->fbs, k->x, k->in, k->n_in, (const float *)k->packed, 1, k->y, k->winners, k->scratch);
}
#endif
