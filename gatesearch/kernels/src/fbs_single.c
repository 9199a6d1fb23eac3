/* Feature boosting and suppression (FBS, Gao et al. 2019) where channels win one by one, in float.

   A convolution computes only the channels that win; fbs.c has the formulas. The winners need not be neighbours. So
   their filters are gathered for each sample, and a dense convolution of fewer channels follows; winners.h says why.

   gatesearch/kernels/fbs_single.py calls fbs_single. With GS_KIT defined, the file instead holds prepare_fbs_single and
   run_fbs_single, for a program that times kernels on a board (kit.h). */
#ifndef GS_KIT
#include "winners.h"

/* Gather the weights of the winners (out) for the active inputs (in) from taps [kh kw][c_in][16 * blocks_out], and pack
   them as conv_f32_pack does: [blocks of winners][steps][16 in][16 out]. A tap is a position in the filter, and a place
   is an input channel at a tap. Places without a channel get zeros. row is scratch memory for a place's weights. */
static void gather_f32(const gs_conv *c, const float *taps, const gs_channels *in, const gs_channels *out, float *row,
                         float *packed) {
  const gs_conv few = gs_fewer(c, in->n, out->n);
  const gs_geometry g = gs_geometry_of(&few);
  const int blocks = GS_BLOCKS(c->c_out), places = g.steps * GS_BLOCK, all = c->kh * c->kw;
  const int each = g.patch ? in->n : g.blocks_in * GS_BLOCK;
  for (int place = 0; place < places; place++) {
    const int tap = place / each, i = place % each, is_active = tap < all && i < in->n;
    if (is_active) {
      gs_copy_words((const uint32_t *)taps + ((size_t)tap * c->c_in + in->channels[i]) * blocks * GS_BLOCK, out, blocks,
                    (uint32_t *)row);
    }
    for (int b = 0; b < g.blocks_out; b++) {
      float *to = packed + ((size_t)b * places + place) * GS_BLOCK;
      if (is_active) memcpy(to, row + b * GS_BLOCK, GS_BLOCK * sizeof(float));
      else memset(to, 0, GS_BLOCK * sizeof(float));
    }
  }
}

/* Return the bytes of scratch memory that a call of fbs_single needs, for any winners. */
size_t GS(fbs_single_scratch)(const gs_conv *c) {
  const gs_conv narrow = gs_fewer(c, GS_MIN(c->c_in, GS_BLOCK - 1), c->c_out);
  const size_t conv = GS_MAX(GS(conv_f32_scratch)(c), GS(conv_f32_scratch)(&narrow));
  const size_t outputs = (size_t)gs_height(c) * gs_width(c) * c->c_out, inputs = (size_t)c->h * c->w * c->c_in;
  return gs_choose_scratch(c) + conv + 1024 +
         (inputs + outputs + GS(conv_f32_size)(c) + (GS_BLOCKS(c->c_out) + 1) * GS_BLOCK) * sizeof(float);
}

/* Compute the layer, x [h][w][c_in] to y [h'][w'][c_out].

   The array "in" has the indices of the n_in active groups of x, each of in_size channels; NULL means all. out receives
   the indices of the winning groups of f->block channels, ascending. If relu is set, a ReLU follows. If whole is set,
   the losing channels of y become 0; else they keep their values. */
void GS(fbs_single)(const gs_conv *c, const gs_fbs *f, const float *x, const int32_t *in, int n_in, int in_size,
                    const float *taps, int relu, int whole, float *y, int32_t *out, void *scratch) {
  char *at = scratch;
  const int pixels = gs_height(c) * gs_width(c);
  const gs_channels read = gs_list_channels(in, n_in, in_size, c->c_in, &at);
  x = gs_copy_pixels(x, c->h * c->w, c->c_in, &read, &at);
  float *scale, *shift;
  const gs_channels won = gs_choose(c, f, x, &read, out, &scale, &shift, &at);
  const gs_conv few = gs_fewer(c, read.n, won.n);
  float *row = gs_reserve(&at, (GS_BLOCKS(c->c_out) + 1) * GS_BLOCK * sizeof(float));
  float *packed = gs_reserve(&at, GS(conv_f32_size)(&few) * sizeof(float));
  float *output = gs_reserve(&at, (size_t)pixels * won.n * sizeof(float));
  memset(row, 0, (GS_BLOCKS(c->c_out) + 1) * GS_BLOCK * sizeof(float));
  gather_f32(c, taps, &read, &won, row, packed);
  GS(conv_f32)(&few, x, NULL, 0, packed, NULL, 0, scale, shift, relu, output, at);
  gs_spread_rows(output, won.n, pixels, c->c_out, &won, f->block, whole, y);
}

#else /* with GS_KIT: functions for a program that times kernels on a board */
#include "kit.h"

/* Prepare the call of a row of the kit. The row says which share of the input channels is active, and which share of
   the output channels wins. */
static void prepare_fbs_single(gs_call *k) {
  k->c = conv_of(k->row->shape);
  prepare_winners(k, 1);
  k->packed = (const int8_t *)reals(taps_of(k, 1));
  k->scratch = reserve(GS(fbs_single_scratch)(&k->c));
}

/* Run a prepared call. */
GS_INLINE void run_fbs_single(gs_call *k) {
  GS(fbs_single)(&k->c, &k->fbs, k->x, k->in, k->n_in, k->group_size, (const float *)k->packed, 1, 0, k->y,
                 k->winners, k->scratch);
}
#endif
