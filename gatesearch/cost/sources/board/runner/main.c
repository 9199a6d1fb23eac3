/* Times every call that rows.h lists, on made-up numbers, and prints a line for each: `gatesearch measure import=FILE`
   reads what comes out. Lines are comma-separated; `row` lines hold the row's index, the least and the middle of
   GS_REPEATS turns in thousandths of GS_UNIT, and what a precision gate had open, in thousandths of its outputs. */
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "kernels.h"
#include "simd.h"

enum {
  NOTHING, CONV, FBS, PG, LSTM, GRU, GATE, DEPTHWISE, FBS_SINGLE, FBS_PG, LSTM_LMF, GRU_LMF, AVERAGE, LARGEST, SUM
};
typedef struct {
  int32_t kernel, shape[12], variant[3], share[3]; /* shares in thousandths */
} gs_row;
#include "rows.h"

#ifndef GS_UNIT
#define GS_UNIT "cycles"
#endif
#ifndef GS_REPEATS
#define GS_REPEATS 5
#endif
#ifndef GS_TURN
#define GS_TURN 0 /* ticks: shorter calls are repeated until a turn takes as long */
#endif
#ifndef GS_NUMERATOR /* of the clock's ticks to units */
#define GS_NUMERATOR 1
#define GS_DENOMINATOR 1
#endif
#ifndef GS_ROOM
#define GS_ROOM (64u << 20) /* bytes that a row may take */
#endif

static uint32_t state = 1;
static uint32_t next(void) { return (state = state * 1664525u + 1013904223u) >> 8; }
static float real(void) { return (float)(next() % 2001) / 1000.0f - 1.0f; }

/* Memory of one row, given back behind it: an array, or what lies at the address GS_ARENA. */
#ifdef GS_ARENA
static char *const arena = (char *)GS_ARENA;
#else
static char arena[GS_ROOM] __attribute__((aligned(64)));
#endif
static size_t used;
static int too_little;
static void *room(size_t bytes) {
  const size_t whole = (bytes + 127) & ~(size_t)63; /* kernels may read a little beyond */
  if (too_little || whole > GS_ROOM - used) {
    too_little = 1;
    return NULL;
  }
  char *made = arena + used;
  used += whole;
  return memset(made, 0, whole);
}
static void give_back(void) {
  used = 0;
  too_little = 0;
}
static float *reals(int n) {
  float *made = room((size_t)n * sizeof(float));
  for (int i = 0; made && i < n; i++) made[i] = real();
  return made;
}
static void *bytes(int n) {
  int8_t *made = room(n);
  for (int i = 0; made && i < n; i++) made[i] = (int8_t)((int)(next() % 255) - 127);
  return made;
}
static int32_t *first_blocks(int n) {
  int32_t *made = room((size_t)n * sizeof(int32_t));
  for (int i = 0; made && i < n; i++) made[i] = i;
  return made;
}

/* A call, ready to be made. */
typedef struct {
  const gs_row *row;
  gs_conv c;
  gs_fbs fbs;
  gs_pg pg;
  gs_split split;
  gs_matrix of_x, of_h;
  const int32_t *in, *out;
  int n_in, n_out, live_size;
  const void *x;
  const float *bias, *w;
  const int8_t *packed;
  const int32_t *sums, *start;
  void *y, *h, *state, *winners, *scratch;
  int32_t open;
} gs_call;

static void make(gs_call *k) {
  switch (k->row->kernel) {
    case CONV:
      GS(conv_u8)(&k->c, k->x, 0, k->in, k->n_in, k->packed, k->sums, k->out, k->n_out, k->start, k->w, k->bias,
                  GS_BYTES, 0, k->y, k->scratch);
      break;
    case FBS:
      GS(fbs_f32)(&k->c, &k->fbs, k->x, k->in, k->n_in, (const float *)k->packed, 1, k->y, k->winners, k->scratch);
      break;
    case PG: k->open = GS(pg)(&k->c, &k->pg, k->x, k->y, NULL, NULL, k->scratch); break;
    case FBS_SINGLE:
      GS(fbs_single)(&k->c, &k->fbs, k->x, k->in, k->n_in, k->live_size, (const float *)k->packed, 1, 0, k->y,
                     k->winners, k->scratch);
      break;
    case FBS_PG:
      k->open = GS(fbs_pg)(&k->c, &k->fbs, &k->split, k->x, k->in, k->n_in, k->live_size, 1, 0, k->y, k->winners,
                           k->scratch);
      break;
    case AVERAGE: case LARGEST: GS(pool_window_u8)(&k->c, k->x, k->row->kernel == LARGEST, k->y); break;
    case SUM: GS(sum_u8)(k->x, k->h, k->row->shape[0], 0.4f, 0.6f, 3.0f, k->y); break;
    case LSTM_LMF:
    case LSTM: GS(lstm_step)(&k->of_x, &k->of_h, k->bias, k->x, k->h, k->state, k->scratch); break;
    case GRU_LMF:
    case GRU: GS(gru_step)(&k->of_x, &k->of_h, k->bias, k->bias, k->x, k->h, k->scratch); break;
    case GATE:
      k->open = GS(gate_f32)(k->x, k->c.h * k->c.w, k->c.c_in, k->w, k->bias, 0, k->y) > 0;
      break;
#ifdef GS_HAS_DEPTHWISE
    case DEPTHWISE:
      GS(depthwise_u8)(&k->c, k->x, 0, (const int8_t *)k->packed, k->start, k->w, 0, k->y);
      break;
#endif
    default: break;
  }
}

static gs_conv conv_of(const int32_t *s) {
  return (gs_conv){s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11]};
}

static int blocks_left(int channels, int share) {
  const int all = GS_BLOCKS(channels), left = (all * share + 500) / 1000;
  return GS_MIN(all, GS_MAX(1, left));
}

static void live(gs_call *k) {
  k->n_in = blocks_left(k->c.c_in, k->row->share[0]);
  k->n_out = blocks_left(k->c.c_out, k->row->share[1]);
  if (k->n_in < GS_BLOCKS(k->c.c_in)) k->in = first_blocks(k->n_in);
  if (k->n_out < GS_BLOCKS(k->c.c_out)) k->out = first_blocks(k->n_out);
}

static int weights_of(const gs_conv *c) { return c->c_out * c->c_in * c->kh * c->kw; }
static int outputs_of(const gs_conv *c) { return gs_height(c) * gs_width(c) * c->c_out; }

static void pack_whole(gs_call *k) {
  int8_t *w = bytes(weights_of(&k->c)), *packed = room(GS(conv_u8_size)(&k->c));
  int32_t *sums = room((size_t)GS_BLOCKS(k->c.c_out) * GS_BLOCKS(k->c.c_in) * GS_BLOCK * sizeof(int32_t));
  if (!too_little) GS(conv_u8_pack)(&k->c, w, packed, sums);
  if (k->row->kernel == PG && k->row->variant[1] == 1 && !too_little) {
    int8_t *rows = room(GS(pg_rows_size)(&k->c));
    if (rows) GS(pg_rows)(&k->c, w, rows);
    k->pg.rows = rows;
  }
  k->packed = packed;
  k->sums = sums;
}

static float *pack_real(const gs_conv *c) {
  float *w = reals(weights_of(c)), *packed = room(GS(conv_f32_size)(c) * sizeof(float));
  if (!too_little) GS(conv_f32_pack)(c, w, packed);
  return packed;
}

static void prepare_conv(gs_call *k) {
  const int wide = GS_BLOCKS(k->c.c_out) * GS_BLOCK;
  live(k);
  pack_whole(k);
  k->x = bytes(k->c.h * k->c.w * k->c.c_in);
  k->start = room(wide * sizeof(int32_t));
  k->w = reals(wide);
  k->bias = reals(wide);
  k->y = room(outputs_of(&k->c));
  k->scratch = room(GS(conv_u8_scratch)(&k->c));
}

static void prepare_fbs(gs_call *k) {
  const int wide = GS_BLOCKS(k->c.c_out) * GS_BLOCK;
  const gs_conv phi = {1, 1, k->c.c_in, k->c.c_out, 1, 1, 1, 1, 0, 0, 1, 1};
  live(k);
  k->packed = (const int8_t *)pack_real(&k->c);
  k->fbs = (gs_fbs){pack_real(&phi), reals(wide), reals(wide), reals(wide), reals(wide), k->n_out, GS_BLOCK};
  k->x = reals(k->c.h * k->c.w * k->c.c_in);
  k->winners = room(GS_BLOCKS(k->c.c_out) * sizeof(int32_t));
  k->y = room((size_t)outputs_of(&k->c) * sizeof(float));
  k->scratch = room(GS(fbs_scratch)(&k->c));
}

/* Filters as gathering kernels read them: [kh kw c_in pieces][16 * blocks_out]. */
static int taps_of(const gs_call *k, int pieces) {
  return k->c.kh * k->c.kw * k->c.c_in * pieces * GS_BLOCKS(k->c.c_out) * GS_BLOCK;
}

/* Every other channel or block, as far as they go: what wins lies apart. */
static int32_t *apart(int n, int all) {
  int32_t *made = room((size_t)n * sizeof(int32_t));
  for (int i = 0; made && i < n; i++) made[i] = (int32_t)((int64_t)i * all / n);
  return made;
}

static int left_of(int all, int share) { return GS_MIN(all, GS_MAX(1, (all * share + 500) / 1000)); }

static void prepare_chosen(gs_call *k, int block) {
  const int wide = GS_BLOCKS(k->c.c_out) * GS_BLOCK;
  const int groups_in = (k->c.c_in + block - 1) / block, groups = (k->c.c_out + block - 1) / block;
  const gs_conv phi = {1, 1, k->c.c_in, k->c.c_out, 1, 1, 1, 1, 0, 0, 1, 1};
  k->live_size = block;
  k->n_in = left_of(groups_in, k->row->share[0]);
  k->n_out = left_of(groups, k->row->share[1]);
  if (k->n_in < groups_in) k->in = apart(k->n_in, groups_in);
  k->fbs = (gs_fbs){pack_real(&phi), reals(wide), reals(wide), reals(wide), reals(wide), k->n_out, block};
  k->x = reals(k->c.h * k->c.w * k->c.c_in);
  k->winners = room(groups * sizeof(int32_t));
  k->y = room((size_t)outputs_of(&k->c) * sizeof(float));
}

static void prepare_single(gs_call *k) {
  prepare_chosen(k, 1);
  k->packed = (const int8_t *)reals(taps_of(k, 1));
  k->scratch = room(GS(fbs_single_scratch)(&k->c));
}

/* The threshold that leaves the wanted share of the outputs open is looked for by halving. */
static void prepare_hybrid(gs_call *k) {
  const int32_t *v = k->row->variant;
  const int pieces = v[2], group = v[1] == 1 ? 1 : GS_MIN(v[1], k->c.c_out), wide = GS_BLOCKS(k->c.c_out) * GS_BLOCK;
  prepare_chosen(k, v[0]);
  float *threshold = room((size_t)k->c.c_out * sizeof(float));
  k->split = (gs_split){bytes(taps_of(k, pieces)), room((size_t)pieces * k->c.c_in * wide * sizeof(int32_t)), threshold,
                        1.0f / 255, 255, 1, 4, group, pieces > 1, pieces > 2};
  k->scratch = room(GS(fbs_pg_scratch)(&k->c, pieces));
  if (too_little) return;
  const int outputs = gs_height(&k->c) * gs_width(&k->c) * GS_MIN(k->n_out * v[0], k->c.c_out);
  const int share = k->row->share[2], sought = share > 0 && share < 1000;
  float low = -4e6f, high = 4e6f; /* sums are far below */
  for (int round = 0; round < (sought ? 15 : 1); round++) {
    const float middle = sought ? (low + high) / 2 : share ? low : high;
    for (int i = 0; i < k->c.c_out; i++) threshold[i] = middle;
    if (!sought) return;
    make(k);
    if ((int64_t)k->open * 1000 > (int64_t)outputs * share) low = middle;
    else high = middle;
  }
}

static int by_size(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* A limit that leaves the wanted share of all groups open. */
static void prepare_pg(gs_call *k) {
  const int wide = GS_BLOCKS(k->c.c_out) * GS_BLOCK, count = k->row->variant[0], outputs = outputs_of(&k->c);
  const int group = GS_MIN(k->row->variant[1], k->c.c_out), pixels = outputs / k->c.c_out;
  const int groups = (k->c.c_out + group - 1) / group;
  k->x = bytes(k->c.h * k->c.w * k->c.c_in * count);
  pack_whole(k);
  int64_t *limit = room(groups * sizeof(int64_t)), *sums = room((size_t)pixels * groups * sizeof(int64_t));
  int32_t *single = room(wide * sizeof(int32_t)), *high = room((size_t)outputs * sizeof(int32_t));
  const int8_t *rows = k->pg.rows;
  k->pg = (gs_pg){k->packed, k->sums, rows, limit, single, reals(wide), 0.001f, count, count == 2 ? 8 : 4, group,
                  count == 2 ? 8 : 4};
  k->y = room((size_t)outputs * sizeof(float));
  k->scratch = room(GS(pg_scratch)(&k->c));
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

/* Two factors of a matrix, as LMF has them: parts that lie over each other. */
static gs_matrix factors(int gates, int height, int columns, int kept) {
  const int rank = GS_MAX(1, (int)((int64_t)height * columns * kept / (1000 * (height + columns))));
  const gs_conv shape = {1, 1, columns, gates * rank, 1, 1, 1, 1, 0, 0, 1, 1};
  return (gs_matrix){GS_HMD, gates, height, columns, 0, rank, pack_real(&shape), reals(gates * rank * height), NULL, NULL, NULL};
}

static gs_matrix matrix(int gates, int height, int columns, int rich, int parts) {
  const int dense = rich >= height, rows = dense ? gates * height : gates * (rich + parts);
  const gs_conv shape = {1, 1, columns, rows, 1, 1, 1, 1, 0, 0, 1, 1};
  float *packed = pack_real(&shape), *down = dense ? NULL : reals(gates * parts * (height - rich));
  return (gs_matrix){dense ? GS_DENSE : GS_HMD, gates, height, columns, rich, parts, packed, down, NULL, NULL, NULL};
}

static void prepare_step(gs_call *k, int gates) {
  const int columns = k->row->shape[1], height = k->row->shape[2];
  const int rich = (height * k->row->share[0] + 500) / 1000, parts = k->row->variant[0];
  const int low = k->row->kernel == LSTM_LMF || k->row->kernel == GRU_LMF;
  k->of_x = low ? factors(gates, height, columns, k->row->share[0]) : matrix(gates, height, columns, rich, parts);
  k->of_h = low ? factors(gates, height, height, k->row->share[0]) : matrix(gates, height, height, rich, parts);
  k->bias = reals(gates * height);
  k->x = reals(columns);
  k->h = reals(height);
  k->state = reals(height);
  k->scratch = room(GS(step_scratch)(&k->of_x, &k->of_h));
}

static void prepare(gs_call *k) {
  const int32_t kernel = k->row->kernel;
  if (kernel == LSTM || kernel == GRU || kernel == LSTM_LMF || kernel == GRU_LMF) {
    prepare_step(k, kernel == LSTM || kernel == LSTM_LMF ? 4 : 3);
    return;
  }
  if (kernel == SUM) {
    const int n = k->row->shape[0];
    k->x = bytes(n), k->h = bytes(n), k->y = room(n);
    return;
  }
  k->c = conv_of(k->row->shape);
  if (kernel == CONV) prepare_conv(k);
  else if (kernel == FBS) prepare_fbs(k);
  else if (kernel == PG) prepare_pg(k);
  else if (kernel == FBS_SINGLE) prepare_single(k);
  else if (kernel == FBS_PG) prepare_hybrid(k);
  else if (kernel == GATE) {
    k->x = reals(k->c.h * k->c.w * k->c.c_in);
    k->w = reals(k->c.c_in), k->bias = reals(k->c.c_in), k->y = room(2 * k->c.c_in * sizeof(float));
  } else if (kernel == AVERAGE || kernel == LARGEST) {
    k->x = bytes(k->c.h * k->c.w * k->c.c_in);
    k->y = room(outputs_of(&k->c));
  } else if (kernel == DEPTHWISE) {
    k->x = bytes(k->c.h * k->c.w * k->c.c_in);
    k->packed = bytes(k->c.kh * k->c.kw * k->c.c_out);
    k->start = room(k->c.c_out * sizeof(int32_t)), k->w = reals(k->c.c_out), k->y = room(outputs_of(&k->c));
  }
}

static uint64_t turn(gs_call *k, uint32_t calls) {
  gs_start_clock(); /* so that what is counted does not hang on what was counted before */
  const uint64_t before = gs_now();
  for (uint32_t i = 0; i < calls; i++) make(k);
  return gs_now() - before;
}

static void print(uint64_t ticks, uint32_t calls) {
  const uint64_t thousandths = ticks * 1000u * GS_NUMERATOR / GS_DENOMINATOR / calls;
  if (thousandths >= 1000000000u) { /* the C library of small boards prints 32 bits */
    printf(",%lu%09lu", (unsigned long)(thousandths / 1000000000u), (unsigned long)(thousandths % 1000000000u));
  } else {
    printf(",%lu", (unsigned long)thousandths);
  }
}

int main(void) {
  printf("gatesearch,%d\nkit,%s\nunit,%s\ntile,%d\n", GS_KIT_FORMAT, GS_KIT, GS_UNIT, GS_ROWS);
  for (int i = 0; i < (int)(sizeof(rows) / sizeof(rows[0])); i++) {
    gs_call k = {.row = rows + i};
    prepare(&k);
    if (too_little) {
      printf("skipped,%d,memory\n", i);
      give_back();
      continue;
    }
    uint64_t turns[GS_REPEATS];
    uint32_t calls = 1;
    while ((int64_t)turn(&k, calls) < GS_TURN) calls *= 2;
    for (int r = 0; r < GS_REPEATS; r++) {
      int at = r;
      const uint64_t ticks = turn(&k, calls);
      for (; at && turns[at - 1] > ticks; at--) turns[at] = turns[at - 1];
      turns[at] = ticks;
    }
    printf("row,%d", i);
    print(turns[0], calls);
    print(turns[GS_REPEATS / 2], calls);
    const int64_t won = rows[i].kernel == FBS_PG ? GS_MIN(k.n_out * rows[i].variant[0], k.c.c_out) : k.c.c_out;
    const int64_t all = rows[i].kernel == PG || rows[i].kernel == FBS_PG ? gs_height(&k.c) * gs_width(&k.c) * won : 1;
    printf(",%d\n", (int)((1000 * (int64_t)k.open + all / 2) / all));
    fflush(stdout);
    give_back();
  }
  printf("end,%d\n", (int)(sizeof(rows) / sizeof(rows[0])));
  return 0;
}
