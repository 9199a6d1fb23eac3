/* Convolution in int8, of all channels or only of the active blocks of 16 channels.

   Activations are uint8, weights int8 and sums int32. gatesearch/kernels/conv.py calls conv_u8, and so do fbs.c and
   stage.c. With GS_KIT defined, the file instead holds prepare_conv and run_conv, for a program that times kernels on a
   board (kit.h). */
#ifndef GS_KIT
#include "image.h"
#include "kernels.h"
#include "tile.h"

GS_COPY(u8, uint8_t)
#ifdef GS_UNFOLD_FILE
#include GS_UNFOLD_FILE
#else
GS_UNFOLD(u8, uint8_t, 0)
#endif
GS_PAD(u8, uint8_t, 0)

/* Return the number of packed weights. */
size_t GS(conv_u8_size)(const gs_conv *c) { return gs_packed(c) * GS_BLOCKS(c->c_out); }

/* Pack weights [c_out][c_in][kh][kw] as [blocks_out][steps][16 in / 4][16 out][4 in], with zeros where there is no
   channel. Also write to sums [blocks_out][blocks_in][16 out] their sums over the taps and 16 input channels. */
void GS(conv_u8_pack)(const gs_conv *c, const int8_t *weights, int8_t *packed, int32_t *sums) {
  const gs_geometry g = gs_geometry_of(c);
  const int taps = c->kh * c->kw, blocks_in = g.blocks_in;
  memset(packed, 0, GS(conv_u8_size)(c));
  memset(sums, 0, (size_t)GS_BLOCKS(c->c_out) * blocks_in * GS_BLOCK * sizeof(int32_t));
  for (int o = 0; o < c->c_out; o++) {
    for (int i = 0; i < c->c_in; i++) {
      for (int tap = 0; tap < taps; tap++) {
        const int8_t weight = weights[((size_t)o * c->c_in + i) * taps + tap];
        const size_t place = (size_t)(o / GS_BLOCK) * g.steps * GS_BLOCK + gs_place(&g, c, tap, i);
        packed[gs_weight_at(place, o % GS_BLOCK)] = weight;
        sums[((size_t)(o / GS_BLOCK) * blocks_in + i / GS_BLOCK) * GS_BLOCK + o % GS_BLOCK] += weight;
      }
    }
  }
}

/* Return the bytes of scratch memory that conv_u8 needs. */
size_t GS(conv_u8_scratch)(const gs_conv *c) {
  const gs_geometry g = gs_geometry_of(c);
  return g.size + g.pixels * sizeof(int32_t) + g.steps * (sizeof(gs_step) + GS_STEP_ROOM) +
         g.blocks_out * (GS_BLOCK * sizeof(int32_t) + GS_BLOCK_ROOM) + 448;
}

#ifdef GS_OUTPUT_FILE
#include GS_OUTPUT_FILE
#else
/* Write y = round(scale totals + shift) + zero_out, clipped to 0 .. 255, of one pixel and one block of channels. Only the
   first n_channels channels are written. */
GS_INLINE void gs_finish_bytes(const int32_t *totals, int n_channels, const float *scale, const float *shift,
                               int zero_out, uint8_t *y) {
  /* Each width of value has its own loop. The compiler would translate one loop over several widths to narrow
     vectors. */
  float real[GS_BLOCK];
  int32_t whole[GS_BLOCK];
  uint8_t value[GS_BLOCK];
  const gs_vf low = gs_set_f(-(float)zero_out), high = gs_set_f(255.0f - (float)zero_out);
  const gs_vf round = gs_set_f(12582912.0f); /* 1.5 * 2^23: adding it rounds numbers below 2^22, half to even */
  GS_UNROLL for (int k = 0; k < GS_BLOCK; k += GS_LANES) {
    gs_vf v = gs_real(totals + k) * gs_load_f(scale + k) + gs_load_f(shift + k);
    v = gs_min(gs_max(v, low), high);
    gs_store_f(real + k, (v + round) - round);
  }
  GS_LOOP for (int k = 0; k < GS_BLOCK; k++) whole[k] = (int32_t)real[k] + zero_out;
  GS_LOOP for (int k = 0; k < GS_BLOCK; k++) value[k] = (uint8_t)whole[k];
  if (n_channels >= GS_BLOCK) memcpy(y, value, sizeof(value));
  else memcpy(y, value, n_channels);
}
#endif

/* Write the outputs of one pixel and one block of channels to y; the first one goes to y[at]. The outputs are
   sums + start, converted as kind says. n_channels is the number of channels from the block's first to the last of the
   layer. */
GS_INLINE void finish_u8(const int kind, const int32_t *sums, int n_channels, const int32_t *start, const float *scale,
                         const float *shift, int zero_out, void *y, size_t at) {
  int32_t totals[GS_BLOCK];
  GS_LOOP for (int k = 0; k < GS_BLOCK; k++) totals[k] = sums[k] + start[k];
  if (kind == GS_SUMS) {
    if (n_channels >= GS_BLOCK) memcpy((int32_t *)y + at, totals, sizeof(totals));
    else memcpy((int32_t *)y + at, totals, n_channels * sizeof(int32_t));
  } else if (kind == GS_BYTES) {
    gs_finish_bytes(totals, n_channels, scale, shift, zero_out, (uint8_t *)y + at);
  } else {
    float value[GS_BLOCK], *to = (float *)y + at, *out = n_channels >= GS_BLOCK ? to : value;
    GS_UNROLL for (int k = 0; k < GS_BLOCK; k += GS_LANES) {
      gs_store_f(out + k, gs_real(totals + k) * gs_load_f(scale + k) + gs_load_f(shift + k));
    }
    if (n_channels < GS_BLOCK) memcpy(to, value, n_channels * sizeof(float));
  }
}

/* A convolution whose image is prepared: its arguments, and lists of its steps and of its pixels. */
typedef struct {
  const gs_conv *c;
  const uint8_t *x;         /* the image; padded or unfolded where image.h says so */
  const int32_t *offsets;   /* of each pixel: where its patch begins in x */
  int32_t pixels;
  const gs_step *steps;     /* the active steps of a patch */
  int32_t n_steps;
  const int8_t *packed;     /* weights of all blocks of output channels */
  size_t size;              /* weights of one block */
  const int32_t *out;       /* the active blocks of output channels; NULL means all */
  int32_t n_out;
  const int32_t *start;     /* of each channel: what is added to its sum */
  const float *scale, *shift;
  int32_t kind, zero_out;
  void *y;
  void *room;               /* GS_STEP_ROOM bytes for each step, and GS_BLOCK_ROOM for each block (simd.h) */
} gs_prepared;

/* One case of the switch over kinds, with a loop over the rows of a tile: the kind is then a constant inside the
   loop. */
#define GS_FINISH(kind)                                                                                                \
  case kind:                                                                                                           \
    for (int r = 0; r < rows; r++) {                                                                                   \
      finish_u8(kind, from + r * columns * GS_BLOCK, n_channels, v->start + first, v->scale + first, v->shift + first, \
                v->zero_out, v->y, at + (size_t)r * v->c->c_out);                                                      \
    }                                                                                                                  \
    break;

/* Compute the tiles of a prepared convolution, and write their outputs. */
GS_INLINE void gs_convolve_u8(const gs_prepared *v) {
  for (int o = 0, columns; o < v->n_out; o += columns) {
    columns = gs_columns(v->n_out - o);
    const int8_t *w[GS_MOST_COLUMNS];
    for (int k = 0; k < columns; k++) w[k] = v->packed + v->size * (v->out ? v->out[o + k] : o + k);
    for (int p = 0, rows; p < v->pixels; p += rows) {
      rows = gs_rows(v->pixels - p);
      const uint8_t *patch[GS_ROWS];
      int32_t tile[GS_ROWS * GS_MOST_COLUMNS * GS_BLOCK];
      gs_patches(v->x, v->offsets + p, rows, v->pixels - p, patch);
      gs_sized_u8(rows, columns, patch, w, v->steps, v->n_steps, tile);
      rows = GS_MIN(rows, v->pixels - p);
      for (int k = 0; k < columns; k++) {
        const int first = (v->out ? v->out[o + k] : o + k) * GS_BLOCK, n_channels = v->c->c_out - first;
        const int32_t *from = tile + k * GS_BLOCK;
        const size_t at = (size_t)p * v->c->c_out + first;
        switch (v->kind) {
          GS_FINISH(GS_SUMS)
          GS_FINISH(GS_BYTES)
          GS_FINISH(GS_FLOATS)
        }
      }
    }
  }
}

#ifdef GS_CONV_FILE
#include GS_CONV_FILE
#endif

/* Convolve x [h][w][c_in], in which the byte zero represents 0, to y [h'][w'][c_out]. in and out list the active blocks
   of input and output channels; NULL means all blocks. Other blocks are neither read nor written. bias, scale and shift
   hold 16 * blocks_out values, one for each channel. y holds, by kind:
     GS_SUMS    int32   s = conv(x - zero) + bias
     GS_BYTES   uint8   round(scale s + shift) + zero_out, clipped to 0 .. 255
     GS_FLOATS  float   scale s + shift
   Tiles compute conv(x - GS_OFFSET), where the instruction set decides whether GS_OFFSET is 0 or 128. start corrects
   the difference: it is the bias plus (GS_OFFSET - zero) times the sum of the weights of the active input blocks. */
void GS(conv_u8)(const gs_conv *shape, const uint8_t *x, int zero, const int32_t *in, int n_in, const int8_t *packed,
                 const int32_t *sums, const int32_t *out, int n_out, const int32_t *bias, const float *scale,
                 const float *shift, int kind, int zero_out, void *y, void *scratch) {
  const gs_conv copied = *shape, *c = &copied; /* a local copy, which no write to y can change, as compilers see */
  const gs_geometry g = gs_geometry_of(c);
  const size_t size = gs_packed(c);
  char *at = scratch;
  uint8_t *padded = gs_reserve(&at, g.size);
  int32_t *offsets = gs_reserve(&at, g.pixels * sizeof(int32_t));
  gs_step *steps = gs_reserve(&at, g.steps * sizeof(gs_step));
  int32_t *start = gs_reserve(&at, g.blocks_out * GS_BLOCK * sizeof(int32_t));
  void *room = gs_reserve(&at, g.steps * GS_STEP_ROOM + g.blocks_out * GS_BLOCK_ROOM + 8);
  if (!in) n_in = g.blocks_in;
  if (!out) n_out = g.blocks_out;
  if (g.copied) {
    gs_pad_u8(c, &g, x, in, n_in, (uint8_t)zero, padded);
    x = padded;
  }
  const int n_steps = gs_list_steps(c, &g, in, n_in, steps);
  gs_list_pixels(c, &g, offsets);
  memcpy(start, bias, g.blocks_out * GS_BLOCK * sizeof(int32_t));
  for (int o = 0; o < n_out && zero != GS_OFFSET; o++) {
    const int block = out ? out[o] : o;
    for (int i = 0; i < n_in; i++) {
      const int32_t *sum = sums + ((size_t)block * g.blocks_in + (in ? in[i] : i)) * GS_BLOCK;
      GS_LOOP for (int k = 0; k < GS_BLOCK; k++) start[block * GS_BLOCK + k] += (GS_OFFSET - zero) * sum[k];
    }
  }
  const gs_prepared prepared = {
      .c = c, .x = x, .offsets = offsets, .pixels = g.pixels, .steps = steps, .n_steps = n_steps, .packed = packed,
      .size = size, .out = out, .n_out = n_out, .start = start, .scale = scale, .shift = shift, .kind = kind,
      .zero_out = zero_out, .y = y, .room = room};
#ifdef GS_CONV_FILE
  if (kind == GS_BYTES) {
    gs_convolve_bytes(&prepared);
    return;
  }
#endif
  gs_convolve_u8(&prepared);
}

#else /* with GS_KIT: functions for a program that times kernels on a board */
#include "kit.h"

/* Prepare the call of a row of the kit. The row says which shares of the input and output blocks are active. */
static void prepare_conv(gs_call *k) {
  k->c = conv_of(k->row->shape);
  const int wide = GS_BLOCKS(k->c.c_out) * GS_BLOCK;
  pick_blocks(k);
  pack_whole(k);
  k->x = bytes(k->c.h * k->c.w * k->c.c_in);
  k->start = reserve(wide * sizeof(int32_t));
  k->w = reals(wide);
  k->bias = reals(wide);
  k->y = reserve(outputs_of(&k->c));
  k->scratch = reserve(GS(conv_u8_scratch)(&k->c));
}

/* Run a prepared call. */
GS_INLINE void run_conv(gs_call *k) {
  GS(conv_u8)(&k->c, k->x, 0, k->in, k->n_in, k->packed, k->sums, k->out, k->n_out, k->start, k->w, k->bias,
              GS_BYTES, 0, k->y, k->scratch);
}
#endif
