/* Feature boosting and suppression (Gao et al. 2019): a layer that computes only the blocks of channels that win.

     u = mean of x     g = relu(phi u + rho)     y = act(g norm(conv(x)) + beta) for the blocks of the largest g
   norm is z -> slope z + offset, a value a channel. Only live input blocks are read. */
#ifndef GS_KIT
#include "kernels.h"

size_t GS(fbs_scratch)(const gs_conv *c) {
  const size_t in = GS_BLOCKS(c->c_in) * GS_BLOCK, out = GS_BLOCKS(c->c_out) * GS_BLOCK;
  return GS_MAX(GS(conv_f32_scratch)(c), GS(conv_u8_scratch)(c)) + (2 * in + 4 * out) * sizeof(float) + 1024 +
         GS(conv_f32_scratch)(&(gs_conv){1, 1, c->c_in, c->c_out, 1, 1, 1, 1, 0, 0, 1, 1});
}

/* What both forms share: from u to the winners, listed in out, and their scale and shift. */
static void decide(const gs_conv *c, const gs_fbs *f, const float *u, const int32_t *in, int n_in, int32_t *out,
                   float *scale, float *shift, char **at) {
  const int wide = GS_BLOCKS(c->c_out) * GS_BLOCK;
  const gs_conv linear = {1, 1, c->c_in, c->c_out, 1, 1, 1, 1, 0, 0, 1, 1};
  float *g = gs_take(at, wide * sizeof(float)), *one = gs_take(at, wide * sizeof(float));
  for (int k = 0; k < wide; k++) one[k] = 1;
  GS(conv_f32)(&linear, u, in, n_in, f->phi, NULL, 0, one, f->rho, 1, g, *at);
  GS(winners)(g, c->c_out, f->winners, out);
  for (int i = 0; i < f->winners; i++) {
    for (int k = out[i] * GS_BLOCK; k < GS_MIN((out[i] + 1) * GS_BLOCK, c->c_out); k++) {
      scale[k] = g[k] * f->slope[k];
      shift[k] = g[k] * f->offset[k] + f->beta[k];
    }
  }
}

void GS(fbs_f32)(const gs_conv *c, const gs_fbs *f, const float *x, const int32_t *in, int n_in, const float *packed,
                 int relu, float *y, int32_t *out, void *scratch) {
  const int wide = GS_BLOCKS(c->c_out) * GS_BLOCK;
  char *at = scratch;
  float *u = gs_take(&at, c->c_in * sizeof(float));
  float *scale = gs_take(&at, wide * sizeof(float)), *shift = gs_take(&at, wide * sizeof(float));
  GS(pool_f32)(x, c->h * c->w, c->c_in, in, n_in, u, NULL);
  decide(c, f, u, in, n_in, out, scale, shift, &at);
  GS(conv_f32)(c, x, in, n_in, packed, out, f->winners, scale, shift, relu, y, at);
}

/* uint8 in and out, zero for 0 (so that a ReLU is in it); a step of x is worth level_in, one of y level_out. */
void GS(fbs_u8)(const gs_conv *c, const gs_fbs *f, const uint8_t *x, float level_in, const int32_t *in, int n_in,
                const int8_t *packed, const int32_t *sums, float level_weight, const int32_t *no_bias,
                float level_out, uint8_t *y, int32_t *out, void *scratch) {
  const int wide = GS_BLOCKS(c->c_out) * GS_BLOCK, pixels = c->h * c->w;
  char *at = scratch;
  float *u = gs_take(&at, c->c_in * sizeof(float));
  int32_t *total = gs_take(&at, c->c_in * sizeof(int32_t));
  float *scale = gs_take(&at, wide * sizeof(float)), *shift = gs_take(&at, wide * sizeof(float));
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

#else /* how a kit prepares a call and makes it */
#include "kit.h"

static void prepare_fbs(gs_call *k) {
  k->c = conv_of(k->row->shape);
  const int wide = GS_BLOCKS(k->c.c_out) * GS_BLOCK;
  const gs_conv phi = {1, 1, k->c.c_in, k->c.c_out, 1, 1, 1, 1, 0, 0, 1, 1};
  pick_blocks(k);
  k->packed = (const int8_t *)pack_real(&k->c);
  k->fbs = (gs_fbs){pack_real(&phi), reals(wide), reals(wide), reals(wide), reals(wide), k->n_out, GS_BLOCK};
  k->x = reals(k->c.h * k->c.w * k->c.c_in);
  k->winners = room(GS_BLOCKS(k->c.c_out) * sizeof(int32_t));
  k->y = room((size_t)outputs_of(&k->c) * sizeof(float));
  k->scratch = room(GS(fbs_scratch)(&k->c));
}

GS_INLINE void run_fbs(gs_call *k) {
  GS(fbs_f32)(&k->c, &k->fbs, k->x, k->in, k->n_in, (const float *)k->packed, 1, k->y, k->winners, k->scratch);
}
#endif
