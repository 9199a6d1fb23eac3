/* Feature boosting and suppression (FBS) and precision gating (PG) in one layer (Huang et al. 2020).

   FBS picks the output channels that win; no other channel is computed. Phase one of PG multiplies the high bits of the
   input for all outputs of the winners. Phase two adds the low bits for open outputs alone. A group of channels is open
   at a pixel if the mean of its winners' results of phase one exceeds the group's threshold. fbs.c has the formulas of
   FBS, pg.c those of PG.

   x and y are float. Levels of x have at most 16 bits, weights 8 or 9 bits; products are int32. The filters of the
   winners are gathered for each sample, and a dense convolution of fewer channels follows; winners.h says why.

   gatesearch/kernels/fbs_pg.py calls fbs_pg. With GS_KIT defined, the file instead holds prepare_fbs_pg and run_fbs_pg,
   for a program that times kernels on a board (kit.h). */
#ifndef GS_KIT
#include "winners.h"
#include "tile.h"

/* The contents of scratch memory during a call. They describe a dense layer from the active inputs to the winners; its
   channels are numbered from 0 without gaps. A high product is a result of phase one, a low product of phase two. */
typedef struct {
  gs_conv c;                 /* the shape of the layer; its input channels are the operands of the active inputs */
  gs_geometry g;             /* derived from that shape */
  const uint8_t *high, *low; /* the high and the low part of the input, padded */
  const int8_t *packed;      /* the gathered weights, as tiles read them */
  int32_t *offsets, *start;  /* offsets: where the patch of each output pixel begins. start: for each output channel,
                                the number that is added to every sum to correct for GS_OFFSET */
  gs_step *steps;            /* the 16 input channels of each tap */
  int32_t n_steps;
  float *rows;               /* outputs, [pixels][16 * blocks_out] */
  int64_t *limit;            /* by group: a group is open if the sum of its winners' high products exceeds this */
  int32_t *single;           /* for groups of 1: the same limit by channel */
  int64_t *sums;             /* [groups][pixels]: sum of the high products of the winners of a group */
  int32_t *group;            /* by channel: index of its group among those that have winners; -1 behind the winners */
  int32_t groups;            /* number of groups that have winners */
  uint16_t *masks;           /* [blocks_out][pixels]: a bit for each open output of a block */
  int32_t *list;             /* pixels at which the current block has an open output */
} gs_hybrid;

/* Return the bytes of scratch memory that a call of fbs_pg needs, for any winners; operands is the number of operands
   of an input channel. */
size_t GS(fbs_pg_scratch)(const gs_conv *c, int operands) {
  const gs_conv wide = gs_fewer(c, c->c_in * operands, c->c_out);
  const gs_conv narrow = gs_fewer(c, GS_MIN(wide.c_in, GS_BLOCK - 1), c->c_out);
  const gs_geometry a = gs_geometry_of(&wide), b = gs_geometry_of(&narrow);
  const size_t size = GS_MAX(a.size, b.size), steps = GS_MAX(a.steps, b.steps), pixels = a.pixels;
  const size_t inputs = (size_t)c->h * c->w * c->c_in, outs = (size_t)a.blocks_out * GS_BLOCK;
  return gs_choose_scratch(c) + inputs * (sizeof(float) + 2 * operands) + 2 * size + steps * sizeof(gs_step) +
         steps * GS_BLOCK * (sizeof(void *) + outs) + (outs + GS_BLOCK) * (1 + sizeof(uint32_t)) +
         pixels * (2 * sizeof(int32_t) + outs * (sizeof(float) + sizeof(int64_t)) + a.blocks_out * sizeof(uint16_t)) +
         outs * (3 * sizeof(int32_t) + sizeof(int64_t)) + GS_BLOCK * sizeof(int32_t) + 2048;
}

/* Round x [pixels][n] to levels and write their high and their low bits, each [pixels][operands n].

   The operands of the n channels are the positive part of x and, if sign is set, the negative part. If wide is set,
   weights have 9 bits and are split as w = 2 (w >> 1) + (w & 1). Each operand then occurs twice: doubled for the weight
   w >> 1, and unchanged for w & 1. High and low bits are in separate bytes, so doubling cannot carry from one to the
   other. */
static void planes(const float *x, int pixels, int n, const gs_split *s, uint8_t *high, uint8_t *low) {
  const int wide = s->wide, operands = (1 + wide) * (1 + s->sign), mask = (1 << s->low_bits) - 1;
  for (int p = 0; p < pixels; p++, x += n, high += operands * n, low += operands * n) {
    for (int side = 0; side <= s->sign; side++) {
      uint8_t *to_high = high + side * (1 + wide) * n, *to_low = low + side * (1 + wide) * n;
      for (int i = 0; i < n; i++) {
        float level = (side ? -x[i] : x[i]) / s->step;
        level = level > s->top ? s->top : level;
        level = level > 0 ? level : 0;
        const int whole = (int)((level + 12582912.0f) - 12582912.0f); /* rounds half to even */
        to_high[i] = (uint8_t)(whole >> s->low_bits);
        to_low[i] = (uint8_t)(whole & mask);
      }
      for (int i = 0; wide && i < n; i++) {
        to_high[n + i] = to_high[i];
        to_low[n + i] = to_low[i];
        to_high[i] = (uint8_t)(2 * to_high[i]);
        to_low[i] = (uint8_t)(2 * to_low[i]);
      }
    }
  }
}

/* Gather the weights of the winners (out) for the active inputs (in) from taps [kh kw][operands c_in][16 * blocks_out],
   and pack them as conv_u8_pack does, block by block of winners. A place is an input channel at a tap; places without a
   channel get zeros. */
static void gather_u8(const gs_conv *c, int operands, const int8_t *taps, const gs_channels *in, const gs_channels *out,
                        const gs_geometry *g, char *at, int8_t *packed) {
  const int blocks = GS_BLOCKS(c->c_out), wide = blocks * GS_BLOCK, places = g->steps * GS_BLOCK, all = c->kh * c->kw;
  const int n_values = operands * in->n, each = g->patch ? n_values : g->blocks_in * GS_BLOCK;
  int8_t *nothing = gs_reserve(&at, wide + GS_BLOCK);
  uint32_t *row = gs_reserve(&at, (wide + GS_BLOCK) * sizeof(uint32_t));
  memset(nothing, 0, wide + GS_BLOCK);
  memset(row, 0, (wide + GS_BLOCK) * sizeof(uint32_t));
  for (int place = 0; place < places; place += 4) {
    const int8_t *rows[4];
    for (int r = 0; r < 4; r++) {
      const int tap = (place + r) / each, i = (place + r) % each;
      rows[r] = tap < all && i < n_values
                    ? taps + ((size_t)tap * operands * c->c_in + (size_t)(i / in->n) * c->c_in + in->channels[i % in->n]) * wide
                    : nothing;
    }
    gs_copy_quads(rows, out, blocks, row);
    for (int b = 0; b < g->blocks_out; b++) {
      gs_pack_quads(row + b * GS_BLOCK, place, packed + (size_t)b * places * GS_BLOCK);
    }
  }
}

/* Divide the scratch memory that starts at the address "at", split the input into high and low bits, and gather the
   weights. x [pixels][in->n] holds the active channels alone. */
static gs_hybrid hybrid_of(const gs_conv *c, const gs_split *s, const float *x, const gs_channels *in,
                           const gs_channels *out, char *at) {
  const int operands = (1 + s->wide) * (1 + s->sign), size = c->h * c->w * operands * in->n;
  gs_hybrid h = {.c = gs_fewer(c, operands * in->n, out->n)};
  const gs_geometry g = h.g = gs_geometry_of(&h.c);
  const int outs = g.blocks_out * GS_BLOCK;
  uint8_t *high = gs_reserve(&at, size), *low = gs_reserve(&at, size);
  planes(x, c->h * c->w, in->n, s, high, low);
  h.high = high, h.low = low;
  if (g.copied) {
    uint8_t *high_padded = gs_reserve(&at, g.size), *low_padded = gs_reserve(&at, g.size);
    gs_pad_u8(&h.c, &g, high, NULL, g.blocks_in, 0, high_padded);
    if (s->low_bits) gs_pad_u8(&h.c, &g, low, NULL, g.blocks_in, 0, low_padded);
    h.high = high_padded, h.low = low_padded;
  }
  h.offsets = gs_reserve(&at, g.pixels * sizeof(int32_t));
  h.steps = gs_reserve(&at, g.steps * sizeof(gs_step));
  h.start = gs_reserve(&at, outs * sizeof(int32_t));
  h.rows = gs_reserve(&at, (size_t)g.pixels * outs * sizeof(float));
  h.limit = gs_reserve(&at, outs * sizeof(int64_t));
  h.single = gs_reserve(&at, outs * sizeof(int32_t));
  h.sums = gs_reserve(&at, (size_t)outs * g.pixels * sizeof(int64_t));
  h.group = gs_reserve(&at, outs * sizeof(int32_t));
  h.masks = gs_reserve(&at, (size_t)g.blocks_out * g.pixels * sizeof(uint16_t));
  h.list = gs_reserve(&at, (g.pixels + GS_BLOCK) * sizeof(int32_t));
  int8_t *packed = gs_reserve(&at, gs_packed(&h.c) * g.blocks_out);
  gather_u8(c, operands, s->taps, in, out, &g, at, packed);
  h.packed = packed;
  gs_list_pixels(&h.c, &g, h.offsets);
  h.n_steps = gs_list_steps(&h.c, &g, NULL, g.blocks_in, h.steps);
  memset(h.start, 0, outs * sizeof(int32_t));
  for (int i = 0; GS_OFFSET && i < operands * in->n; i++) {
    const int32_t *sum = s->sums + ((size_t)(i / in->n) * c->c_in + in->channels[i % in->n]) * GS_BLOCKS(c->c_out) * GS_BLOCK;
    for (int k = 0; k < out->n; k++) h.start[k] += GS_OFFSET * sum[out->channels[k]];
  }
  return h;
}

/* Compute the limit of each group that has winners. Let n be the number of its winners, and sum the sum of their high
   products. Their mean exceeds the threshold if level 2^low_bits sum > threshold n. Sums are whole numbers, so this is
   the same as sum > floor(floor(threshold n / level) / 2^low_bits), and the right side is the limit. */
static void limits(gs_hybrid *h, const gs_split *s, const gs_channels *out) {
  const int outs = h->g.blocks_out * GS_BLOCK;
  for (int k = 0, next; k < out->n; k = next, h->groups++) {
    const int group = out->channels[k] / s->group;
    for (next = k; next < out->n && out->channels[next] / s->group == group; next++) h->group[next] = h->groups;
    const double real = (double)s->threshold[group] * (next - k) / (double)s->level;
    int64_t whole = real > 4e18 ? (int64_t)1 << 62 : real < -4e18 ? -((int64_t)1 << 62) : (int64_t)real;
    whole -= (double)whole > real; /* the conversion rounds towards 0, floor rounds down */
    h->limit[h->groups] = whole >> s->low_bits;
  }
  for (int k = 0; s->group == 1 && k < outs; k++) {
    h->single[k] = k < out->n ? (int32_t)GS_MAX(INT32_MIN, GS_MIN(INT32_MAX, h->limit[k])) : INT32_MAX;
  }
  for (int k = out->n; k < outs; k++) h->group[k] = -1;
}

/* Compute the products of a tile (some pixels by some blocks of winners) from patches of the high or the low part. */
GS_INLINE void hybrid_tile(const gs_hybrid *h, const uint8_t *const *patch, int rows, int block, int columns,
                           int32_t *tile) {
  const int8_t *w[GS_MOST_COLUMNS];
  for (int k = 0; k < columns; k++) w[k] = h->packed + gs_packed(&h->c) * (block + k);
  gs_sized_u8(rows, columns, patch, w, h->steps, h->n_steps, tile);
  for (int r = 0; GS_OFFSET && r < rows; r++) {
    for (int k = 0; k < columns * GS_BLOCK; k++) tile[r * columns * GS_BLOCK + k] += h->start[block * GS_BLOCK + k];
  }
}

/* Add the 16 high products of a block at a pixel to the sums of their groups. */
GS_INLINE void add_groups(const gs_hybrid *h, const int32_t *sums, int block, int pixel) {
  const int32_t *group = h->group + block * GS_BLOCK;
  for (int k = 0, next; k < GS_BLOCK && group[k] >= 0; k = next) {
    int32_t sum = 0;
    for (next = k; next < GS_BLOCK && group[next] == group[k]; next++) sum += sums[next];
    h->sums[(size_t)group[k] * h->g.pixels + pixel] += sum;
  }
}

/* Phase one: write the high products of all winners to rows, and store the data for decisions. These are masks for
   groups of 1, else the sums of groups. Without low bits there is nothing to decide. */
static void high_products(const gs_hybrid *h, const gs_split *s) {
  const int outs = h->g.blocks_out * GS_BLOCK, pixels = h->g.pixels;
  const float scale = s->level * (float)(1 << s->low_bits);
  if (s->group > 1) memset(h->sums, 0, (size_t)h->groups * pixels * sizeof(int64_t));
  for (int block = 0, columns; block < h->g.blocks_out; block += columns) {
    columns = gs_columns(h->g.blocks_out - block);
    for (int pixel = 0, rows; pixel < pixels; pixel += rows) {
      rows = gs_rows(pixels - pixel);
      const uint8_t *patch[GS_ROWS];
      int32_t tile[GS_ROWS * GS_MOST_COLUMNS * GS_BLOCK];
      gs_patches(h->high, h->offsets + pixel, rows, pixels - pixel, patch);
      hybrid_tile(h, patch, rows, block, columns, tile);
      rows = GS_MIN(rows, pixels - pixel);
      for (int r = 0; r < rows; r++) {
        for (int k = 0; k < columns; k++) {
          const int32_t *sums = tile + (r * columns + k) * GS_BLOCK;
          float *to = h->rows + (size_t)(pixel + r) * outs + (block + k) * GS_BLOCK;
          GS_UNROLL for (int v = 0; v < GS_BLOCK; v += GS_LANES) gs_store_f(to + v, gs_real(sums + v) * gs_set_f(scale));
          if (!s->low_bits) continue;
          if (s->group > 1) add_groups(h, sums, block + k, pixel + r);
          else h->masks[(size_t)(block + k) * pixels + pixel + r] = (uint16_t)gs_greater(sums, h->single + (block + k) * GS_BLOCK);
        }
      }
    }
  }
}

/* Set the masks of a block from the sums of groups, for groups of more than 1. */
static void decide_block(const gs_hybrid *h, int block) {
  const int32_t *group = h->group + block * GS_BLOCK;
  uint16_t *masks = h->masks + (size_t)block * h->g.pixels;
  memset(masks, 0, h->g.pixels * sizeof(uint16_t));
  for (int k = 0, next; k < GS_BLOCK && group[k] >= 0; k = next) {
    unsigned bits = 0;
    for (next = k; next < GS_BLOCK && group[next] == group[k]; next++) bits |= 1u << next;
    const int64_t *sums = h->sums + (size_t)group[k] * h->g.pixels, limit = h->limit[group[k]];
    for (int p = 0; p < h->g.pixels; p++) masks[p] |= (uint16_t)(sums[p] > limit ? bits : 0);
  }
}

/* Phase two: for each block, compute the low products of the pixels that have an open output, set the products of
   closed outputs to 0, and add the products to rows. Return the number of open outputs. */
static int32_t low_products(const gs_hybrid *h, const gs_split *s) {
  const int outs = h->g.blocks_out * GS_BLOCK, pixels = h->g.pixels;
  int32_t open = 0;
  for (int block = 0; block < h->g.blocks_out; block++) {
    if (s->group > 1) decide_block(h, block);
    const uint16_t *masks = h->masks + (size_t)block * pixels;
    int n = 0;
    for (int p = 0; p < pixels; p++) {
      h->list[n] = p; /* always written, but counted only if an output is open: so no branch can be mispredicted */
      n += masks[p] != 0;
      open += __builtin_popcount(masks[p]);
    }
    for (int i = 0, rows; i < n; i += rows) {
      rows = gs_rows(n - i);
      const uint8_t *patch[GS_ROWS];
      int32_t tile[GS_ROWS * GS_MOST_COLUMNS * GS_BLOCK];
      for (int r = 0; r < rows; r++) patch[r] = h->low + h->offsets[h->list[GS_MIN(i + r, n - 1)]];
      hybrid_tile(h, patch, rows, block, 1, tile);
      rows = GS_MIN(rows, n - i);
      for (int r = 0; r < rows; r++) {
        int32_t *sums = tile + r * GS_BLOCK;
        const unsigned bits = masks[h->list[i + r]];
        float *to = h->rows + (size_t)h->list[i + r] * outs + block * GS_BLOCK;
        if (bits != 0xffff) {
          GS_LOOP for (int b = 0; b < GS_BLOCK; b++) sums[b] = bits >> b & 1 ? sums[b] : 0;
        }
        GS_UNROLL for (int v = 0; v < GS_BLOCK; v += GS_LANES) {
          gs_store_f(to + v, gs_load_f(to + v) + gs_real(sums + v) * gs_set_f(s->level));
        }
      }
    }
  }
  return open;
}

/* Compute the layer, x [h][w][c_in] to y [h'][w'][c_out], and return the number of open outputs.

   in lists n_in groups of in_size channels of x that are active; NULL means all. out receives the winning groups,
   ascending. If relu is set, a ReLU follows. If whole is set, the losing channels of y become 0; else they keep their
   values. */
int32_t GS(fbs_pg)(const gs_conv *c, const gs_fbs *f, const gs_split *s, const float *x, const int32_t *in, int n_in,
                   int in_size, int relu, int whole, float *y, int32_t *out, void *scratch) {
  char *at = scratch;
  const gs_channels read = gs_list_channels(in, n_in, in_size, c->c_in, &at);
  x = gs_copy_pixels(x, c->h * c->w, c->c_in, &read, &at);
  float *scale, *shift;
  const gs_channels won = gs_choose(c, f, x, &read, out, &scale, &shift, &at);
  gs_hybrid h = hybrid_of(c, s, x, &read, &won, at);
  const int outs = h.g.blocks_out * GS_BLOCK;
  limits(&h, s, &won);
  high_products(&h, s);
  const int32_t open = s->low_bits ? low_products(&h, s) : 0;
  GS(affine_f32)(h.rows, h.g.pixels, outs, scale, shift, relu);
  gs_spread_rows(h.rows, outs, h.g.pixels, c->c_out, &won, f->block, whole, y);
  return open;
}

#else /* with GS_KIT: functions for a program that times kernels on a board */
#include "kit.h"

/* Prepare the call of a row of the kit, with a threshold that opens the row's share of the winners' outputs. Bisection
   computes the threshold, with a run of the kernel for each step. */
static void prepare_fbs_pg(gs_call *k) {
  k->c = conv_of(k->row->shape);
  const int32_t *v = k->row->variant;
  const int operands = v[2], group = v[1] == 1 ? 1 : GS_MIN(v[1], k->c.c_out), wide = GS_BLOCKS(k->c.c_out) * GS_BLOCK;
  prepare_winners(k, v[0]);
  float *threshold = reserve((size_t)k->c.c_out * sizeof(float));
  k->split = (gs_split){bytes(taps_of(k, operands)), reserve((size_t)operands * k->c.c_in * wide * sizeof(int32_t)),
                        threshold, 1.0f / 255, 255, 1, 4, group, operands > 1, operands > 2};
  k->scratch = reserve(GS(fbs_pg_scratch)(&k->c, operands));
  if (too_little) return;
  const int outputs = gs_height(&k->c) * gs_width(&k->c) * GS_MIN(k->n_out * v[0], k->c.c_out);
  k->outputs = outputs;
  const int share = k->row->share[2], sought = share > 0 && share < 1000;
  float low = -4e6f, high = 4e6f; /* every mean of products lies between these two numbers */
  for (int round = 0; round < (sought ? 15 : 1); round++) {
    const float middle = sought ? (low + high) / 2 : share ? low : high;
    for (int i = 0; i < k->c.c_out; i++) threshold[i] = middle;
    if (!sought) return;
    make(k);
    if ((int64_t)k->open * 1000 > (int64_t)outputs * share) low = middle;
    else high = middle;
  }
}

/* Run a prepared call. */
GS_INLINE void run_fbs_pg(gs_call *k) {
  k->open = GS(fbs_pg)(&k->c, &k->fbs, &k->split, k->x, k->in, k->n_in, k->group_size, 1, 0, k->y, k->winners,
                       k->scratch);
}
#endif
