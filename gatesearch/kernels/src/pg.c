/* Precision gating (PG, Zhang et al. 2020): a convolution in two phases.

     x = 2^low_bits high + low     y = level (2^low_bits conv(high) + open conv(low)) + bias

   Phase one computes conv(high) for every output. Phase two adds conv(low) to the open outputs alone (open is 1 or 0).
   A group of outputs is open if the sum of its conv(high) exceeds the group's limit. A group is one output, some
   channels of a pixel, or all channels of a pixel (the masks 3d, M2 and M1 of gatesearch/gates/pg).

   x holds unsigned levels (uint8 or uint16), weights are int8, sums are int32, y is float. level is the real value of a
   step of the product.

   What phase two computes depends on the number of outputs in a group:
     16 or more, or all   the whole groups that are open, in tiles of some pixels by some blocks of 16 outputs
     8                    the whole blocks of 16 outputs in which an output is open; closed outputs are discarded
     1                    single outputs, each a dot product of its own; without p->rows, whole blocks as for 8

   gatesearch/kernels/pg_conv.py calls pg and pg_dense. With GS_KIT defined, the file instead holds prepare_pg and
   run_pg, for a program that times kernels on a board (kit.h). */
#ifndef GS_KIT
#include "image.h"
#include "kernels.h"
#include "tile.h"

/* Return the number of weights that pg_rows writes. */
size_t GS(pg_rows_size)(const gs_conv *c) { return (size_t)c->c_out * gs_geometry_of(c).steps * GS_BLOCK; }

/* Arrange weights [c_out][c_in][kh][kw] for dot products of single outputs: rows [c_out][steps][16 in]. */
void GS(pg_rows)(const gs_conv *c, const int8_t *weights, int8_t *rows) {
  const gs_geometry g = gs_geometry_of(c);
  const int taps = c->kh * c->kw;
  memset(rows, 0, GS(pg_rows_size)(c));
  for (int o = 0; o < c->c_out; o++) {
    for (int i = 0; i < c->c_in; i++) {
      for (int tap = 0; tap < taps; tap++) {
        rows[(size_t)o * g.steps * GS_BLOCK + gs_place(&g, c, tap, i)] = weights[((size_t)o * c->c_in + i) * taps + tap];
      }
    }
  }
}

/* The contents of scratch memory during a call. A high product is a result of phase one, a low product of phase two. */
typedef struct {
  uint8_t *high, *low;   /* the high and the low part of x, padded */
  int32_t *offsets;      /* where the patch of each output pixel begins */
  gs_step *steps;        /* the 16 input channels of each tap */
  int32_t *start;        /* by output channel: added to every sum, to correct for GS_OFFSET */
  int32_t *sums;         /* [blocks_out][pixels]: sum of the 16 high products of a block */
  uint16_t *masks;       /* [blocks_out][pixels], for groups of 1 or 8: a bit for each open output of a block. The
                            function list_open_pixels removes empty masks; mask i then belongs to pixel i of the block's list */
  int32_t *list, *count; /* the open pixels of each group, and their number */
  int n_steps;
} gs_pg_work;

/* Return the bytes of scratch memory that a call of pg or pg_dense needs. */
size_t GS(pg_scratch)(const gs_conv *c) {
  const gs_geometry g = gs_geometry_of(c);
  const size_t pixels = g.pixels, blocks = g.blocks_out;
  return 2 * (size_t)g.size + (g.patch ? 2 * (size_t)c->h * c->w * c->c_in : 0) + pixels * sizeof(int32_t) + g.steps * sizeof(gs_step) +
         blocks * GS_BLOCK * sizeof(int32_t) +
         blocks * (pixels * (2 * sizeof(int32_t) + sizeof(uint16_t)) + sizeof(int32_t)) + GS_BLOCK * sizeof(int32_t) + 1024;
}

/* Defines functions that split values of a type. NAME_run splits n values into high and low parts. NAME splits an image
   and pads both parts with zeros, around the image and up to whole blocks of channels. */
#define GS_SPLIT(name, value_t)                                                                                  \
  GS_INLINE void name##_by(const value_t *restrict from, int n, const int low_bits, uint8_t *restrict high,      \
                           uint8_t *restrict low) {                                                              \
    const value_t mask = (value_t)((1 << low_bits) - 1);                                                         \
    for (int k = 0; k < n; k++) {                                                                                \
      high[k] = (uint8_t)(from[k] >> low_bits);                                                                  \
      low[k] = (uint8_t)(from[k] & mask);                                                                        \
    }                                                                                                            \
  }                                                                                                              \
  /* A shift by a constant keeps the values in narrow vectors, which is faster. */                               \
  static void name##_run(const value_t *from, int n, int low_bits, uint8_t *high, uint8_t *low) {                \
    if (low_bits == 8) name##_by(from, n, 8, high, low);                                                         \
    else if (low_bits == 4) name##_by(from, n, 4, high, low);                                                    \
    else name##_by(from, n, low_bits, high, low);                                                                \
  }                                                                                                              \
  static void name(const gs_conv *c, const gs_geometry *g, const value_t *x, int low_bits, uint8_t *high,        \
                   uint8_t *low) {                                                                               \
    const int channels = g->blocks_in * GS_BLOCK, row = g->width * channels, side = c->pad_w * channels;         \
    const int whole = channels == c->c_in;                                                                       \
    for (int y = -c->pad_h; y < c->h + c->pad_h; y++, high += row, low += row) {                                 \
      const int inside = y >= 0 && y < c->h, filled = inside && whole ? side : row;                              \
      memset(high, 0, filled);                                                                                   \
      memset(low, 0, filled);                                                                                    \
      if (!inside) continue;                                                                                     \
      if (whole) {                                                                                               \
        memset(high + row - side, 0, side);                                                                      \
        memset(low + row - side, 0, side);                                                                       \
        name##_run(x, c->w * channels, low_bits, high + side, low + side);                                       \
      } else {                                                                                                   \
        for (int k = 0; k < c->w; k++) {                                                                         \
          name##_run(x + k * c->c_in, c->c_in, low_bits, high + side + k * channels, low + side + k * channels); \
        }                                                                                                        \
      }                                                                                                          \
      x += c->w * c->c_in;                                                                                       \
    }                                                                                                            \
  }
GS_SPLIT(split_1, uint8_t)
GS_SPLIT(split_2, uint16_t)

/* Divide the scratch memory of a call, split x into high and low parts, and list pixels and steps. */
static gs_pg_work prepare_call(const gs_conv *c, const gs_geometry *g, const gs_pg *p, const void *x, void *scratch) {
  char *at = scratch;
  const size_t pixels = g->pixels, blocks = g->blocks_out;
  gs_pg_work w;
  w.high = gs_reserve(&at, g->size);
  w.low = gs_reserve(&at, g->size);
  w.offsets = gs_reserve(&at, pixels * sizeof(int32_t));
  w.steps = gs_reserve(&at, g->steps * sizeof(gs_step));
  w.start = gs_reserve(&at, blocks * GS_BLOCK * sizeof(int32_t));
  w.sums = gs_reserve(&at, blocks * pixels * sizeof(int32_t));
  w.masks = gs_reserve(&at, blocks * pixels * sizeof(uint16_t));
  w.list = gs_reserve(&at, (blocks * pixels + GS_BLOCK) * sizeof(int32_t));
  w.count = gs_reserve(&at, blocks * sizeof(int32_t));
  if (g->patch) {
    const int size = c->h * c->w * c->c_in;
    uint8_t *high = gs_reserve(&at, size), *low = gs_reserve(&at, size);
    if (p->bytes == 1) split_1_run(x, size, p->split, high, low);
    else split_2_run(x, size, p->split, high, low);
    gs_unfold_u8(c, g, high, 0, w.high);
    gs_unfold_u8(c, g, low, 0, w.low);
  } else if (p->bytes == 1) {
    split_1(c, g, x, p->split, w.high, w.low);
  } else {
    split_2(c, g, x, p->split, w.high, w.low);
  }
  gs_list_pixels(c, g, w.offsets);
  w.n_steps = gs_list_steps(c, g, NULL, g->blocks_in, w.steps);
  memset(w.start, 0, blocks * GS_BLOCK * sizeof(int32_t));
  for (size_t i = 0; GS_OFFSET && i < blocks * g->blocks_in; i++) {
    for (int k = 0; k < GS_BLOCK; k++) {
      w.start[i / g->blocks_in * GS_BLOCK + k] += GS_OFFSET * p->sums[i * GS_BLOCK + k];
    }
  }
  return w;
}

/* Return whether a block of 16 channels holds several groups, each with a decision of its own. */
GS_INLINE int small_groups(const gs_conv *c, const gs_pg *p) { return p->group < GS_BLOCK && p->group < c->c_out; }

/* Return 16 bits, of which bit k is 1 if output k of a block is open. sums holds the high products of the block; groups
   have 1 or 8 outputs. first is the index of the block's first channel. */
GS_INLINE unsigned open_bits(const gs_conv *c, const gs_pg *p, const int32_t *sums, int first) {
  if (p->group == 1) return gs_greater(sums, p->single + first);
  unsigned bits = 0;
  for (int k = 0; k < GS_BLOCK; k += 8) {
    int64_t sum = 0;
    for (int i = k; i < k + 8; i++) sum += sums[i];
    if (first + k < c->c_out && sum > p->limit[(first + k) / 8]) bits |= 0xffu << k;
  }
  return c->c_out - first < GS_BLOCK ? bits & ((1u << (c->c_out - first)) - 1) : bits;
}

/* Write scale * sums + bias to y; if bias is NULL, add scale * sums to y. Each row has the sums of 16 channels, of
   which the first n_channels exist; rows of sums lie stride apart. Row r goes to pixel at[r] of y, or to pixel r if at
   is NULL. */
GS_INLINE void write_rows(const int32_t *sums, int stride, int rows, float scale, const float *bias, int n_channels,
                          int c_out, const int32_t *at, float *y) {
  const gs_vf factor = gs_set_f(scale);
  gs_vf begin[GS_VECTORS];
  GS_UNROLL for (int v = 0; v < GS_VECTORS; v++) begin[v] = bias ? gs_load_f(bias + v * GS_LANES) : gs_zero_f();
  for (int r = 0; r < rows; r++, sums += stride) {
    float *to = y + (size_t)(at ? at[r] : r) * c_out, value[GS_BLOCK], *out = to;
    if (n_channels < GS_BLOCK) {
      out = value;
      memcpy(value, to, n_channels * sizeof(float));
    }
    GS_UNROLL for (int v = 0; v < GS_VECTORS; v++) {
      if (!bias) begin[v] = gs_load_f(out + v * GS_LANES);
      gs_store_f(out + v * GS_LANES, gs_real(sums + v * GS_LANES) * factor + begin[v]);
    }
    if (n_channels < GS_BLOCK) memcpy(to, value, n_channels * sizeof(float));
  }
}

/* Copy the sums of a pixel and a block, as far as their channels exist, to the array "to" [h'][w'][c_out]. */
GS_INLINE void write_sums(const gs_conv *c, const int32_t *sums, int pixel, int block, int32_t *to) {
  const int first = block * GS_BLOCK;
  memcpy(to + (size_t)pixel * c->c_out + first, sums, GS_MIN(GS_BLOCK, c->c_out - first) * sizeof(int32_t));
}

/* Compute the products of a tile (some pixels by some blocks of outputs) from patches of the high or the low part.
   The instruction set may subtract GS_OFFSET from the inputs; adding w->start corrects the sums. */
GS_INLINE void products(const gs_conv *c, const gs_pg *p, const gs_pg_work *w, const uint8_t *const *patch, int rows,
                        int block, int columns, int32_t *tile) {
  const int8_t *weights[GS_MOST_COLUMNS] = {0};
  for (int k = 0; k < columns; k++) weights[k] = p->packed + gs_packed(c) * (block + k);
  gs_sized_u8(rows, columns, patch, weights, w->steps, w->n_steps, tile);
  for (int r = 0; GS_OFFSET && r < rows; r++) {
    for (int k = 0; k < columns * GS_BLOCK; k++) tile[r * columns * GS_BLOCK + k] += w->start[block * GS_BLOCK + k];
  }
}

/* Phase one: write 2^low_bits level conv(high) + bias to y, and store the data for decisions. These are masks for
   groups of 1 or 8, else the sum of each block. high, unless NULL, receives conv(high). */
static void first_phase(const gs_conv *c, const gs_geometry *g, const gs_pg *p, const gs_pg_work *w, float *y,
                        int32_t *high) {
  const float scale = p->level * (float)(1 << p->low_bits);
  for (int block = 0, columns; block < g->blocks_out; block += columns) {
    columns = gs_columns(g->blocks_out - block);
    for (int pixel = 0, rows; pixel < g->pixels; pixel += rows) {
      rows = gs_rows(g->pixels - pixel);
      const uint8_t *patch[GS_ROWS];
      int32_t tile[GS_ROWS * GS_MOST_COLUMNS * GS_BLOCK];
      gs_patches(w->high, w->offsets + pixel, rows, g->pixels - pixel, patch);
      products(c, p, w, patch, rows, block, columns, tile);
      rows = GS_MIN(rows, g->pixels - pixel);
      for (int k = 0; k < columns; k++) {
        const int32_t *sums = tile + k * GS_BLOCK;
        const int first = (block + k) * GS_BLOCK;
        write_rows(sums, columns * GS_BLOCK, rows, scale, p->bias + first, c->c_out - first, c->c_out, NULL,
                   y + (size_t)pixel * c->c_out + first);
        for (int r = 0; high && r < rows; r++) {
          write_sums(c, sums + r * columns * GS_BLOCK, pixel + r, block + k, high);
        }
        if (small_groups(c, p)) {
          uint16_t *masks = w->masks + (size_t)(block + k) * g->pixels + pixel;
          for (int r = 0; r < rows; r++) {
            masks[r] = (uint16_t)open_bits(c, p, sums + r * columns * GS_BLOCK, (block + k) * GS_BLOCK);
          }
        } else {
          gs_block_sums(sums, columns * GS_BLOCK, rows, w->sums + (size_t)(block + k) * g->pixels + pixel);
        }
      }
    }
  }
}

/* Decide which outputs are open, and list the pixels that have open outputs. Return the number of open outputs. span is
   the number of blocks that share a list; it is 1 for groups of 16 or fewer channels.

   The loops always write a pixel, but count it only if it is open. So no branch can be mispredicted. */
static int32_t list_open_pixels(const gs_conv *c, const gs_geometry *g, const gs_pg *p, const gs_pg_work *w, int span) {
  int32_t open = 0;
  for (int i = 0; i * span < g->blocks_out; i++) {
    int32_t *list = w->list + (size_t)i * g->pixels;
    int n = 0;
    if (small_groups(c, p)) {
      uint16_t *masks = w->masks + (size_t)i * g->pixels;
      for (int pixel = 0; pixel < g->pixels; pixel++) {
        const unsigned bits = masks[pixel];
        list[n] = pixel;
        masks[n] = (uint16_t)bits;
        n += bits != 0;
        open += __builtin_popcount(bits);
      }
    } else if (span == 1) {
      const int64_t limit = GS_MAX(INT32_MIN, GS_MIN(INT32_MAX, p->limit[i]));
      n = gs_list_greater(w->sums + (size_t)i * g->pixels, g->pixels, (int32_t)limit, list);
      open += n * GS_MIN(GS_BLOCK, c->c_out - i * GS_BLOCK);
    } else {
      const int32_t *sums = w->sums + (size_t)i * span * g->pixels;
      const int blocks = GS_MIN(span, g->blocks_out - i * span);
      const int64_t limit = p->limit[i];
      for (int pixel = 0; pixel < g->pixels; pixel++) {
        int64_t sum = sums[pixel];
        for (int b = 1; b < blocks; b++) sum += sums[(size_t)b * g->pixels + pixel];
        list[n] = pixel;
        n += sum > limit;
      }
      open += n * GS_MIN(span * GS_BLOCK, c->c_out - i * span * GS_BLOCK);
    }
    w->count[i] = n;
  }
  return open;
}

/* Phase two by whole blocks: compute conv(low) of the listed pixels, set the products of closed outputs to 0, and add
   level * conv(low) to y. low, unless NULL, receives conv(low). */
static void second_phase(const gs_conv *c, const gs_geometry *g, const gs_pg *p, const gs_pg_work *w, int span,
                         float *y, int32_t *low) {
  for (int block = 0, columns; block < g->blocks_out; block += columns) {
    const int group = block / span, n = w->count[group];
    const int32_t *list = w->list + (size_t)group * g->pixels;
    columns = gs_columns(GS_MIN((group + 1) * span, g->blocks_out) - block);
    for (int i = 0, rows; i < n; i += rows) {
      rows = gs_rows(n - i);
      const uint8_t *patch[GS_ROWS];
      int32_t tile[GS_ROWS * GS_MOST_COLUMNS * GS_BLOCK];
      for (int r = 0; r < rows; r++) patch[r] = w->low + w->offsets[list[GS_MIN(i + r, n - 1)]];
      products(c, p, w, patch, rows, block, columns, tile);
      rows = GS_MIN(rows, n - i);
      for (int k = 0; k < columns; k++) {
        int32_t *sums = tile + k * GS_BLOCK;
        const int first = (block + k) * GS_BLOCK;
        for (int r = 0; small_groups(c, p) && r < rows; r++) {
          const unsigned bits = w->masks[(size_t)group * g->pixels + i + r];
          GS_LOOP for (int b = 0; b < GS_BLOCK; b++) sums[r * GS_BLOCK + b] = bits >> b & 1 ? sums[r * GS_BLOCK + b] : 0;
        }
        write_rows(sums, columns * GS_BLOCK, rows, p->level, NULL, c->c_out - first, c->c_out, list + i, y + first);
        for (int r = 0; low && r < rows; r++) {
          write_sums(c, sums + r * columns * GS_BLOCK, list[i + r], block + k, low);
        }
      }
    }
  }
}

/* elements_N computes the low products of N outputs of one pixel. A patch consists of runs of length values; runs lie
   stride apart. A weight row holds the weights of all runs, one run after the other. */
#define GS_ELEMENTS(n)                                                                            \
  static __attribute__((noinline)) void elements_##n(const uint8_t *patch, const int8_t *const *w, \
                                                     int runs, int length, int stride, int32_t *out) { \
    gs_runs acc = {0};                                                                            \
    for (int run = 0; run < runs; run++, patch += stride) {                                       \
      gs_run(n, &acc, patch, w, (ptrdiff_t)run * length, length);                                 \
    }                                                                                             \
    gs_run_sums(&acc, out);                                                                       \
  }
GS_ELEMENTS(1)
GS_ELEMENTS(2)
GS_ELEMENTS(3)
GS_ELEMENTS(4)

/* Phase two by single outputs: add conv(low) to each open output of y, as dot products of up to four outputs at a
   time. */
static void single_outputs(const gs_conv *c, const gs_geometry *g, const gs_pg *p, const gs_pg_work *w, float *y,
                           int32_t *low) {
  const int channels = g->blocks_in * GS_BLOCK, size = g->steps * GS_BLOCK;
  /* The taps of one row of the kernel are neighbours in memory, and so form one run, unless the kernel is dilated. A
     patch of an unfolded image is a single run. */
  const int joined = g->patch || c->dilation_w == 1;
  const int runs = g->patch ? 1 : c->kh, length = g->patch ? g->patch : c->kw * channels;
  for (int block = 0; block < g->blocks_out; block++) {
    for (int i = 0; i < w->count[block]; i++) {
      const int pixel = w->list[(size_t)block * g->pixels + i];
      const uint8_t *patch = w->low + w->offsets[pixel];
      unsigned bits = w->masks[(size_t)block * g->pixels + i];
      while (bits) {
        const int8_t *rows[4];
        int channel[4], n = 0;
        int32_t sums[4];
        for (; bits && n < 4; bits &= bits - 1, n++) {
          channel[n] = block * GS_BLOCK + __builtin_ctz(bits);
          rows[n] = p->rows + (size_t)channel[n] * size;
        }
        if (joined) {
          const int stride = c->dilation_h * g->width * channels;
          if (n == 4) elements_4(patch, rows, runs, length, stride, sums);
          else if (n == 3) elements_3(patch, rows, runs, length, stride, sums);
          else if (n == 2) elements_2(patch, rows, runs, length, stride, sums);
          else elements_1(patch, rows, runs, length, stride, sums);
        } else {
          for (int k = 0; k < n; k++) {
            sums[k] = 0;
            for (int run = 0; run < c->kh * c->kw; run++) {
              int32_t sum[4];
              const int8_t *row = rows[k] + (ptrdiff_t)run * channels;
              elements_1(patch + w->steps[run * g->blocks_in].x, &row, 1, channels, 0, sum);
              sums[k] += sum[0];
            }
          }
        }
        for (int k = 0; k < n; k++) {
          const size_t at = (size_t)pixel * c->c_out + channel[k];
          y[at] += (float)sums[k] * p->level;
          if (low) low[at] = sums[k];
        }
      }
    }
  }
}

/* Convolve x [h][w][c_in], of p->bytes a value, in two phases to y [h'][w'][c_out]. Return the number of open outputs.
   high and low, unless NULL, receive conv(high) and conv(low), [h'][w'][c_out]; low is 0 for closed outputs. */
int32_t GS(pg)(const gs_conv *c, const gs_pg *p, const void *x, float *y, int32_t *high, int32_t *low, void *scratch) {
  const gs_geometry g = gs_geometry_of(c);
  const gs_pg_work w = prepare_call(c, &g, p, x, scratch);
  const int span = p->group >= c->c_out ? g.blocks_out : GS_MAX(p->group / GS_BLOCK, 1);
  if (low) memset(low, 0, (size_t)g.pixels * c->c_out * sizeof(int32_t));
  first_phase(c, &g, p, &w, y, high);
  const int32_t open = list_open_pixels(c, &g, p, &w, span);
  if (p->rows && p->group == 1 && small_groups(c, p)) single_outputs(c, &g, p, &w, y, low);
  else second_phase(c, &g, p, &w, span, y, low);
  return open;
}

/* Convolve with both phases for every output and no decision, for comparison with gating. */
void GS(pg_dense)(const gs_conv *c, const gs_pg *p, const void *x, float *y, void *scratch) {
  const gs_geometry g = gs_geometry_of(c);
  const gs_pg_work w = prepare_call(c, &g, p, x, scratch);
  const float scale = p->level * (float)(1 << p->low_bits);
  for (int block = 0, columns; block < g.blocks_out; block += columns) {
    columns = gs_columns(g.blocks_out - block);
    for (int pixel = 0, rows; pixel < g.pixels; pixel += rows) {
      rows = gs_rows(g.pixels - pixel);
      const uint8_t *patch[GS_ROWS];
      int32_t high[GS_ROWS * GS_MOST_COLUMNS * GS_BLOCK], low[GS_ROWS * GS_MOST_COLUMNS * GS_BLOCK];
      gs_patches(w.high, w.offsets + pixel, rows, g.pixels - pixel, patch);
      products(c, p, &w, patch, rows, block, columns, high);
      gs_patches(w.low, w.offsets + pixel, rows, g.pixels - pixel, patch);
      products(c, p, &w, patch, rows, block, columns, low);
      rows = GS_MIN(rows, g.pixels - pixel);
      for (int k = 0; k < columns; k++) {
        const int first = (block + k) * GS_BLOCK, n_channels = c->c_out - first, stride = columns * GS_BLOCK;
        float *to = y + (size_t)pixel * c->c_out + first;
        write_rows(high + k * GS_BLOCK, stride, rows, scale, p->bias + first, n_channels, c->c_out, NULL, to);
        write_rows(low + k * GS_BLOCK, stride, rows, p->level, NULL, n_channels, c->c_out, NULL, to);
      }
    }
  }
}

#else /* with GS_KIT: functions for a program that times kernels on a board */
#include "kit.h"

/* Compare two int64 for qsort, smaller first. */
static int by_size(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Prepare the call of a row of the kit, with a limit that opens the row's share of all groups. A first run, with a
   limit that no sum exceeds, returns the high products. The limit is then a quantile of their sums by group. */
static void prepare_pg(gs_call *k) {
  k->c = conv_of(k->row->shape);
  const int wide = GS_BLOCKS(k->c.c_out) * GS_BLOCK, count = k->row->variant[0], outputs = outputs_of(&k->c);
  const int group = GS_MIN(k->row->variant[1], k->c.c_out), pixels = outputs / k->c.c_out;
  const int groups = (k->c.c_out + group - 1) / group;
  k->x = bytes(k->c.h * k->c.w * k->c.c_in * count);
  const int8_t *w = pack_whole(k);
  int8_t *rows = NULL;
  if (k->row->variant[1] == 1 && !too_little) {
    rows = reserve(GS(pg_rows_size)(&k->c));
    if (rows) GS(pg_rows)(&k->c, w, rows);
  }
  int64_t *limit = reserve(groups * sizeof(int64_t)), *sums = reserve((size_t)pixels * groups * sizeof(int64_t));
  int32_t *single = reserve(wide * sizeof(int32_t)), *high = reserve((size_t)outputs * sizeof(int32_t));
  k->pg = (gs_pg){k->packed, k->sums, rows, limit, single, reals(wide), 0.001f, count, count == 2 ? 8 : 4, group,
                  count == 2 ? 8 : 4};
  k->outputs = outputs;
  k->y = reserve((size_t)outputs * sizeof(float));
  k->scratch = reserve(GS(pg_scratch)(&k->c));
  if (too_little) return;
  for (int i = 0; i < wide; i++) single[i] = INT32_MAX;
  for (int i = 0; i < groups; i++) limit[i] = INT32_MAX;
  GS(pg)(&k->c, &k->pg, k->x, k->y, high, NULL, k->scratch);
  for (int p = 0; p < pixels; p++) {
    for (int i = 0; i < k->c.c_out; i++) sums[p * groups + i / group] += high[p * k->c.c_out + i];
  }
  qsort(sums, (size_t)pixels * groups, sizeof(int64_t), by_size);
  const int closed = (int)((int64_t)pixels * groups * (1000 - k->row->share[0]) / 1000);
  const int64_t at = closed ? sums[closed - 1] : INT32_MIN;
  for (int i = 0; i < groups; i++) limit[i] = at;
  for (int i = 0; i < k->c.c_out; i++) single[i] = (int32_t)GS_MAX(INT32_MIN, at);
}

/* Run a prepared call. */
GS_INLINE void run_pg(gs_call *k) {
  k->open = GS(pg)(&k->c, &k->pg, k->x, k->y, NULL, NULL, k->scratch);
}
#endif
