/* Helpers that prepare a kernel's call for a kit, which times kernels on a board.

   A kit is a folder of C sources that a user compiles and runs on the board. A row of the kit is one call to time: a
   kernel, a shape, a variant and shares of work. The helpers allocate the memory of a row, fill it with random numbers
   and pack weights.

   With GS_KIT defined, a kernel's C file holds two functions instead of the kernel. prepare_NAME(gs_call *) allocates
   and fills the arrays of a call; run_NAME(gs_call *) runs the kernel. The kit's file rows.h includes these C files,
   numbers the kernels as GS_KERNEL_NAME, and calls the functions of a row's kernel.

   The build may define GS_ROOM, the bytes of memory for one row, and GS_ARENA, the address of that memory. Without
   GS_ARENA the memory is an array. */
#ifndef GS_KIT_H
#define GS_KIT_H

#include <stdlib.h>

#include "kernels.h"

#ifndef GS_ROOM
#define GS_ROOM (64u << 20) /* bytes of memory for one row */
#endif

typedef struct {
  int32_t kernel, shape[12], variant[3], share[3]; /* shares in thousandths */
} gs_row;

static uint32_t state = 1;
static uint32_t next(void) { return (state = state * 1664525u + 1013904223u) >> 8; }
static float real(void) { return (float)(next() % 2001) / 1000.0f - 1.0f; }

/* The memory of one row; the next row uses it again. */
#ifdef GS_ARENA
static char *const arena = (char *)GS_ARENA;
#else
static char arena[GS_ROOM] __attribute__((aligned(64)));
#endif
static size_t used;
static int too_little; /* whether a row needs more memory than there is; the row's later calls of reserve return NULL */
/* Reserve bytes of a row's memory, filled with zeros. */
static void *reserve(size_t bytes) {
  const size_t whole = (bytes + 127) & ~(size_t)63; /* kernels may read up to 64 bytes too far */
  if (too_little || whole > GS_ROOM - used) {
    too_little = 1;
    return NULL;
  }
  char *block = arena + used;
  used += whole;
  return memset(block, 0, whole);
}
/* Free the memory of a row. */
static void give_back(void) {
  used = 0;
  too_little = 0;
}
/* Return n random floats from -1 to 1. */
static float *reals(int n) {
  float *values = reserve((size_t)n * sizeof(float));
  for (int i = 0; values && i < n; i++) values[i] = real();
  return values;
}
/* Return n random bytes from -127 to 127. */
static void *bytes(int n) {
  int8_t *values = reserve(n);
  for (int i = 0; values && i < n; i++) values[i] = (int8_t)((int)(next() % 255) - 127);
  return values;
}
/* Return the indices 0 .. n - 1, of the first n blocks. */
static int32_t *first_blocks(int n) {
  int32_t *blocks = reserve((size_t)n * sizeof(int32_t));
  for (int i = 0; blocks && i < n; i++) blocks[i] = i;
  return blocks;
}

/* A prepared call: shapes, inputs, weights, outputs and scratch memory. */
typedef struct {
  const gs_row *row;
  gs_conv c;
  gs_fbs fbs;
  gs_pg pg;
  gs_split split;
  gs_matrix of_x, of_h;
  const int32_t *in, *out;
  int n_in, n_out, group_size;
  const void *x;
  const float *bias, *w;
  const int8_t *packed;
  const int32_t *sums, *start;
  void *y, *h, *state, *winners, *scratch;
  int32_t open;    /* outputs whose low bits a precision gate computes */
  int64_t outputs; /* all outputs of that gate; 0 where there is none */
  void *extra;     /* other data of the kernel */
} gs_call;

static void make(gs_call *k); /* runs a prepared call */

/* Return the shape of a row's twelve numbers. */
static gs_conv conv_of(const int32_t *s) {
  return (gs_conv){s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11]};
}

/* Return the number of blocks in a share of the channels, at least one; share is in thousandths. */
static int blocks_left(int channels, int share) {
  const int all = GS_BLOCKS(channels), left = (all * share + 500) / 1000;
  return GS_MIN(all, GS_MAX(1, left));
}

/* Set the active input and output blocks of a call by the shares of its row. */
static void pick_blocks(gs_call *k) {
  k->n_in = blocks_left(k->c.c_in, k->row->share[0]);
  k->n_out = blocks_left(k->c.c_out, k->row->share[1]);
  if (k->n_in < GS_BLOCKS(k->c.c_in)) k->in = first_blocks(k->n_in);
  if (k->n_out < GS_BLOCKS(k->c.c_out)) k->out = first_blocks(k->n_out);
}

/* Return the number of weights of a convolution, and the number of its outputs. */
static int weights_of(const gs_conv *c) { return c->c_out * c->c_in * c->kh * c->kw; }
static int outputs_of(const gs_conv *c) { return gs_height(c) * gs_width(c) * c->c_out; }

/* Make random int8 weights and pack them for conv_u8 into the call. Return them unpacked. */
static int8_t *pack_whole(gs_call *k) {
  int8_t *w = bytes(weights_of(&k->c)), *packed = reserve(GS(conv_u8_size)(&k->c));
  int32_t *sums = reserve((size_t)GS_BLOCKS(k->c.c_out) * GS_BLOCKS(k->c.c_in) * GS_BLOCK * sizeof(int32_t));
  if (!too_little) GS(conv_u8_pack)(&k->c, w, packed, sums);
  k->packed = packed;
  k->sums = sums;
  return w;
}

/* Return random float weights, packed for conv_f32. */
static float *pack_real(const gs_conv *c) {
  float *w = reals(weights_of(c)), *packed = reserve(GS(conv_f32_size)(c) * sizeof(float));
  if (!too_little) GS(conv_f32_pack)(c, w, packed);
  return packed;
}

/* Return the number of weights for the kernels that gather filters: [kh kw c_in operands][16 * blocks_out]. */
static int taps_of(const gs_call *k, int operands) {
  return k->c.kh * k->c.kw * k->c.c_in * operands * GS_BLOCKS(k->c.c_out) * GS_BLOCK;
}

/* Return n indices of channels or blocks, spread evenly over all, because the channels that FBS picks
   (its winners) are seldom neighbours. */
static int32_t *apart(int n, int all) {
  int32_t *indices = reserve((size_t)n * sizeof(int32_t));
  for (int i = 0; indices && i < n; i++) indices[i] = (int32_t)((int64_t)i * all / n);
  return indices;
}

/* Return a share of the number all, at least 1; share is in thousandths. */
static int left_of(int all, int share) { return GS_MIN(all, GS_MAX(1, (all * share + 500) / 1000)); }

/* Prepare the data that fbs_single and fbs_pg have in common. Channels win or lose in groups of block
   channels. */
static void prepare_winners(gs_call *k, int block) {
  const int wide = GS_BLOCKS(k->c.c_out) * GS_BLOCK;
  const int groups_in = (k->c.c_in + block - 1) / block, groups = (k->c.c_out + block - 1) / block;
  const gs_conv phi = {1, 1, k->c.c_in, k->c.c_out, 1, 1, 1, 1, 0, 0, 1, 1};
  k->group_size = block;
  k->n_in = left_of(groups_in, k->row->share[0]);
  k->n_out = left_of(groups, k->row->share[1]);
  if (k->n_in < groups_in) k->in = apart(k->n_in, groups_in);
  k->fbs = (gs_fbs){pack_real(&phi), reals(wide), reals(wide), reals(wide), reals(wide), k->n_out, block};
  k->x = reals(k->c.h * k->c.w * k->c.c_in);
  k->winners = reserve(groups * sizeof(int32_t));
  k->y = reserve((size_t)outputs_of(&k->c) * sizeof(float));
}

#endif
