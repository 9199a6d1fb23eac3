/* Convolution in float, of all channels or only of the active blocks of 16 channels.

     y = act(scale conv(x) + shift)        x [h][w][c_in], y [h'][w'][c_out]
   act is a ReLU or the identity. gatesearch/kernels/conv.py calls conv_f32, and so do the kernels of feature boosting
   and suppression. recurrent_weights.py packs the rows of matrices with conv_f32_pack. */
#include "image.h"
#include "kernels.h"
#include "tile.h"

GS_COPY(f32, float)
GS_UNFOLD(f32, float, 1)
GS_PAD(f32, float, 1)

/* Return the number of packed weights. */
size_t GS(conv_f32_size)(const gs_conv *c) { return gs_packed(c) * GS_BLOCKS(c->c_out); }

/* Pack weights [c_out][c_in][kh][kw] as [blocks_out][steps][16 in][16 out], with zeros where there is no channel. */
void GS(conv_f32_pack)(const gs_conv *c, const float *weights, float *packed) {
  const gs_geometry g = gs_geometry_of(c);
  const int taps = c->kh * c->kw;
  memset(packed, 0, GS(conv_f32_size)(c) * sizeof(float));
  for (int o = 0; o < c->c_out; o++) {
    for (int i = 0; i < c->c_in; i++) {
      for (int tap = 0; tap < taps; tap++) {
        const size_t row = (size_t)(o / GS_BLOCK) * g.steps * GS_BLOCK + gs_place(&g, c, tap, i);
        packed[row * GS_BLOCK + o % GS_BLOCK] = weights[((size_t)o * c->c_in + i) * taps + tap];
      }
    }
  }
}

/* Return the bytes of scratch memory that conv_f32 needs. */
size_t GS(conv_f32_scratch)(const gs_conv *c) {
  const gs_geometry g = gs_geometry_of(c);
  return g.size * sizeof(float) + g.pixels * sizeof(int32_t) + g.steps * sizeof(gs_step) + 256;
}

/* Write act(scale sums + shift) of one pixel and one block of channels to y. */
GS_INLINE void finish_f32(const gs_conv *c, const float *sums, int pixel, int block, const float *scale,
                          const float *shift, int relu, float *y) {
  const int first = block * GS_BLOCK, n_channels = c->c_out - first;
  float *to = y + (size_t)pixel * c->c_out + first, value[GS_BLOCK];
  float *out = n_channels >= GS_BLOCK ? to : value;
  const gs_vf least = gs_set_f(relu ? 0.0f : -__builtin_inff());
  GS_UNROLL for (int k = 0; k < GS_BLOCK; k += GS_LANES) {
    gs_vf v = gs_load_f(sums + k) * gs_load_f(scale + first + k) + gs_load_f(shift + first + k);
    gs_store_f(out + k, gs_max(v, least));
  }
  if (n_channels < GS_BLOCK) memcpy(to, value, n_channels * sizeof(float));
}

/* Convolve x [h][w][c_in] to y [h'][w'][c_out]. in and out list the active blocks of input and output channels; NULL
   means all blocks. Other blocks are neither read nor written. scale and shift hold 16 * blocks_out values, one for
   each channel. */
void GS(conv_f32)(const gs_conv *c, const float *x, const int32_t *in, int n_in, const float *packed,
                  const int32_t *out, int n_out, const float *scale, const float *shift, int relu, float *y,
                  void *scratch) {
  const gs_geometry g = gs_geometry_of(c);
  char *at = scratch;
  float *padded = gs_reserve(&at, g.size * sizeof(float));
  int32_t *offsets = gs_reserve(&at, g.pixels * sizeof(int32_t));
  gs_step *steps = gs_reserve(&at, g.steps * sizeof(gs_step));
  if (!in) n_in = g.blocks_in;
  if (!out) n_out = g.blocks_out;
  if (g.copied) {
    gs_pad_f32(c, &g, x, in, n_in, 0.0f, padded);
    x = padded;
  }
  const int n_steps = gs_list_steps(c, &g, in, n_in, steps);
  gs_list_pixels(c, &g, offsets);
  for (int o = 0, columns; o < n_out; o += columns) {
    columns = gs_columns(n_out - o);
    const float *w[GS_MOST_COLUMNS];
    for (int k = 0; k < columns; k++) w[k] = packed + gs_packed(c) * (out ? out[o + k] : o + k);
    for (int p = 0, rows; p < g.pixels; p += rows) {
      rows = gs_rows(g.pixels - p);
      const float *patch[GS_ROWS];
      float tile[GS_ROWS * GS_MOST_COLUMNS * GS_BLOCK];
      gs_patches(x, offsets + p, rows, g.pixels - p, patch);
      gs_sized_f32(rows, columns, patch, w, steps, n_steps, tile);
      for (int r = 0; r < GS_MIN(rows, g.pixels - p); r++) {
        for (int k = 0; k < columns; k++) {
          finish_f32(c, tile + (r * columns + k) * GS_BLOCK, p + r, out ? out[o + k] : o + k, scale, shift, relu, y);
        }
      }
    }
  }
}
