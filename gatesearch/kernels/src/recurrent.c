/* One step of an LSTM or GRU in float at batch 1, with dense, pruned or hybrid weights.

   Pruned weights are stored by compressed sparse rows (CSR). Hybrid weights come from hybrid matrix decomposition (HMD,
   Thakker et al. 2019), which writes the matrix of each gate as
     W = [A; b_1 c_1 | ... | b_J c_J]     W x = [A x; sum over j of (c_j . x_j) b_j]
   A holds the dense rows. Below them are J parts, side by side. Part j is a column b_j times a row c_j, and x_j holds
   the inputs of the part's columns. The program first multiplies A and the rows c_j of all gates by x, as one dense
   matrix. It then adds a weighted sum of the J columns b_j for each gate. A step reads each weight once, and reading
   the weights takes most of its time.

   gatesearch/kernels/recurrent_step.py calls lstm_step and gru_step, recurrent.py calls recurrence. With GS_KIT defined, the file instead holds
   prepare_lstm, run_lstm, prepare_gru and run_gru, for a program that times kernels on a board (kit.h). */
#ifndef GS_KIT
#include "kernels.h"
#include "tile.h"

/* Return the number of rows of the dense product with x. */
GS_INLINE int product_rows(const gs_matrix *m) {
  return m->kind == GS_HMD ? m->gates * (m->dense_rows + m->parts) : m->gates * m->height;
}

/* Return the bytes of scratch memory that a step needs. */
size_t GS(step_scratch)(const gs_matrix *of_x, const gs_matrix *of_h) {
  const size_t wide = GS_MAX(GS_BLOCKS(of_x->columns), GS_BLOCKS(of_h->columns));
  const size_t tall = GS_BLOCKS(of_h->gates * of_h->height);
  const size_t product = GS_MAX(GS_BLOCKS(product_rows(of_x)), GS_BLOCKS(product_rows(of_h)));
  return wide * (GS_BLOCK * sizeof(float) + sizeof(gs_step)) + (2 * tall + product) * GS_BLOCK * sizeof(float) + 512;
}

/* Compute y = W x or, if add is set, y += W x, for packed rows of W; x and y hold whole blocks. */
static void packed_product(const float *packed, int blocks_out, int blocks_in, const float *x, const gs_step *steps,
                           int add, float *y) {
  const size_t size = (size_t)blocks_in * GS_BLOCK * GS_BLOCK;
  for (int block = 0, columns; block < blocks_out; block += columns) {
    columns = GS_MIN(blocks_out - block, GS_MOST_COLUMNS);
    const float *w[GS_MOST_COLUMNS];
    float tile[GS_MOST_COLUMNS * GS_BLOCK], *to = y + block * GS_BLOCK;
    for (int k = 0; k < columns; k++) w[k] = packed + size * (block + k);
    gs_sized_f32(1, columns, &x, w, steps, blocks_in, tile);
    if (add) {
      for (int k = 0; k < columns * GS_BLOCK; k++) to[k] += tile[k];
    } else {
      memcpy(to, tile, columns * GS_BLOCK * sizeof(float));
    }
  }
}

/* Return the sum of values[k] x[columns[k]]. The loop loads x one value at a time, which was faster than gather
   instructions on the processors that were measured. */
GS_INLINE float sparse_dot(const float *values, const uint16_t *columns, int n, const float *x) {
  float acc[4] = {0, 0, 0, 0}; /* four sums, so that an addition need not wait for the one before */
  int k = 0;
  for (; k + 4 <= n; k += 4) {
    for (int i = 0; i < 4; i++) acc[i] += values[k + i] * x[columns[k + i]];
  }
  for (; k < n; k++) acc[0] += values[k] * x[columns[k]];
  return (acc[0] + acc[1]) + (acc[2] + acc[3]);
}

/* Add W x to y for a matrix W of any form; y has gates * height values, padded to whole blocks. */
static void add_product(const gs_matrix *m, const float *x, float *y, char *at) {
  if (m->kind == GS_CSR) {
    for (int row = 0; row < m->gates * m->height; row++) {
      const int32_t first = m->starts[row];
      y[row] += sparse_dot(m->values + first, m->indices + first, m->starts[row + 1] - first, x);
    }
    return;
  }
  const int blocks_in = GS_BLOCKS(m->columns), blocks_out = GS_BLOCKS(product_rows(m));
  if (m->columns % GS_BLOCK) {
    float *whole = gs_reserve(&at, blocks_in * GS_BLOCK * sizeof(float));
    memcpy(whole, x, m->columns * sizeof(float));
    memset(whole + m->columns, 0, (blocks_in * GS_BLOCK - m->columns) * sizeof(float));
    x = whole;
  }
  gs_step *steps = gs_reserve(&at, blocks_in * sizeof(gs_step));
  for (int i = 0; i < blocks_in; i++) steps[i] = (gs_step){i * GS_BLOCK, i * GS_BLOCK * GS_BLOCK};
  if (m->kind == GS_DENSE) {
    packed_product(m->packed, blocks_out, blocks_in, x, steps, 1, y);
    return;
  }
  float *product = gs_reserve(&at, blocks_out * GS_BLOCK * sizeof(float));
  packed_product(m->packed, blocks_out, blocks_in, x, steps, 0, product);
  const float *parts = product + m->gates * m->dense_rows, *down = m->down;
  const int split_rows = m->height - m->dense_rows;
  for (int gate = 0; gate < m->gates; gate++, y += m->height) {
    for (int i = 0; i < m->dense_rows; i++) y[i] += product[gate * m->dense_rows + i];
    const float *factors = parts + gate * m->parts;
    float *restrict to = y + m->dense_rows;
    int part = 0;
    for (; part + 4 <= m->parts; part += 4, down += 4 * split_rows) { /* by fours, so that y is read and written less often */
      const float *f = factors + part;
      for (int i = 0; i < split_rows; i++) {
        to[i] += (f[0] * down[i] + f[1] * down[split_rows + i]) + (f[2] * down[2 * split_rows + i] + f[3] * down[3 * split_rows + i]);
      }
    }
    for (; part < m->parts; part++, down += split_rows) {
      for (int i = 0; i < split_rows; i++) to[i] += factors[part] * down[i];
    }
  }
}

/* Return e^x with a relative error of about 1e-7, by the method of the Cephes library; x is clipped to -87 .. 88.

   x = n log 2 + r with a whole number n, so e^x = 2^n e^r. A polynomial computes e^r; n goes into the exponent's
   bits. */
GS_INLINE float gs_exp(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float round = 12582912.0f, n = (x * 1.44269504f + round) - round;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t bits = ((int32_t)n + 127) << 23;
  float power;
  memcpy(&power, &bits, sizeof(power));
  return p * power;
}

/* Return 1 / (1 + e^-x). */
GS_INLINE float gs_sigmoid(float x) { return 1.0f / (1.0f + gs_exp(-x)); }

/* Return tanh x. For large |x| it is 1 - 2 / (e^2x + 1). For |x| < 0.625 this difference would lose its digits, so a
   polynomial of the Cephes library replaces it. */
GS_INLINE float gs_tanh(float x) {
  const float square = x * x;
  float p = -5.70498872745e-3f;
  p = p * square + 2.06390887954e-2f;
  p = p * square - 5.37397155531e-2f;
  p = p * square + 1.33314422036e-1f;
  p = p * square - 3.33332819422e-1f;
  const float small = p * square * x + x;
  const float large = 1.0f - 2.0f / (gs_exp(2.0f * x) + 1.0f);
  return square < 0.390625f ? small : large;
}

/* Replace the states h and c [height] of an LSTM by the next states, for an input x [columns].

     c = sigmoid(f) c + sigmoid(i) tanh(g)    h = sigmoid(o) tanh(c)
   For each gate, the function adds the products of its rows with x and with h, and bias; i, f, g and o are these sums.
   Rows of the gates are in torch's order, i f g o. bias is the sum of the biases of x and of h. */
void GS(lstm_step)(const gs_matrix *of_x, const gs_matrix *of_h, const float *bias, const float *x, float *restrict h,
                   float *restrict c, void *scratch) {
  const int n = of_h->height;
  char *at = scratch;
  float *restrict z = gs_reserve(&at, (size_t)GS_BLOCKS(4 * n) * GS_BLOCK * sizeof(float));
  memcpy(z, bias, 4 * n * sizeof(float));
  memset(z + 4 * n, 0, (GS_BLOCKS(4 * n) * GS_BLOCK - 4 * n) * sizeof(float));
  add_product(of_x, x, z, at);
  add_product(of_h, h, z, at);
  for (int k = 0; k < n; k++) {
    const float next = gs_sigmoid(z[n + k]) * c[k] + gs_sigmoid(z[k]) * gs_tanh(z[2 * n + k]);
    c[k] = next;
    h[k] = gs_sigmoid(z[3 * n + k]) * gs_tanh(next);
  }
}

/* Replace the state h [height] of a GRU by the next state, for an input x [columns].

     n = tanh(n_x + sigmoid(r) n_h)    h = (1 - sigmoid(z)) n + sigmoid(z) h
   For each gate, the function adds bias_x to the product of its rows with x, and bias_h to the product with h. r and z
   are the sums of both; n_x and n_h are the two results for gate n. Rows of the gates are in torch's order, r z n
   (reset, update and fresh below). */
void GS(gru_step)(const gs_matrix *of_x, const gs_matrix *of_h, const float *bias_x, const float *bias_h,
                  const float *x, float *restrict h, void *scratch) {
  const int n = of_h->height, whole = GS_BLOCKS(3 * n) * GS_BLOCK;
  char *at = scratch;
  float *restrict zx = gs_reserve(&at, whole * sizeof(float)), *restrict zh = gs_reserve(&at, whole * sizeof(float));
  memcpy(zx, bias_x, 3 * n * sizeof(float));
  memcpy(zh, bias_h, 3 * n * sizeof(float));
  memset(zx + 3 * n, 0, (whole - 3 * n) * sizeof(float));
  memset(zh + 3 * n, 0, (whole - 3 * n) * sizeof(float));
  add_product(of_x, x, zx, at);
  add_product(of_h, h, zh, at);
  for (int k = 0; k < n; k++) {
    const float reset = gs_sigmoid(zx[k] + zh[k]), update = gs_sigmoid(zx[n + k] + zh[n + k]);
    const float fresh = gs_tanh(zx[2 * n + k] + reset * zh[2 * n + k]);
    h[k] = (1.0f - update) * fresh + update * h[k];
  }
}

/* Run all steps of an LSTM or GRU in one direction, from a state of zero. x is [steps][columns]. The state h after step
   t is written to y + t stride. h and c hold the state; c is NULL for a GRU. */
void GS(recurrence)(const gs_matrix *of_x, const gs_matrix *of_h, const float *bias_x, const float *bias_h,
                    const float *x, int steps, int backwards, float *h, float *c, float *y, int stride,
                    void *scratch) {
  const int n = of_h->height;
  memset(h, 0, n * sizeof(float));
  if (c) memset(c, 0, n * sizeof(float));
  for (int i = 0; i < steps; i++) {
    const int t = backwards ? steps - 1 - i : i;
    if (c) {
      GS(lstm_step)(of_x, of_h, bias_x, x + (size_t)t * of_x->columns, h, c, scratch);
    } else {
      GS(gru_step)(of_x, of_h, bias_x, bias_h, x + (size_t)t * of_x->columns, h, scratch);
    }
    memcpy(y + (size_t)t * stride, h, n * sizeof(float));
  }
}

#else /* with GS_KIT: functions for a program that times kernels on a board */
#include "kit.h"

/* Return a random product U V of low-rank matrix factors (LMF), as a hybrid matrix without dense rows. The columns of U
   are the b_j; the rows of V are the c_j, each over all columns. share is the number of weights of U and V in
   thousandths of the dense matrix's weights. */
static gs_matrix factors(int gates, int height, int columns, int share) {
  const int rank = GS_MAX(1, (int)((int64_t)height * columns * share / (1000 * (height + columns))));
  const gs_conv shape = {1, 1, columns, gates * rank, 1, 1, 1, 1, 0, 0, 1, 1};
  return (gs_matrix){GS_HMD, gates, height, columns, 0, rank, pack_real(&shape), reals(gates * rank * height), NULL, NULL, NULL};
}

/* Return a random hybrid matrix with dense_rows rows for each gate; with dense_rows >= height, a dense matrix. */
static gs_matrix matrix(int gates, int height, int columns, int dense_rows, int parts) {
  const int dense = dense_rows >= height, rows = dense ? gates * height : gates * (dense_rows + parts);
  const gs_conv shape = {1, 1, columns, rows, 1, 1, 1, 1, 0, 0, 1, 1};
  float *packed = pack_real(&shape), *down = dense ? NULL : reals(gates * parts * (height - dense_rows));
  return (gs_matrix){dense ? GS_DENSE : GS_HMD, gates, height, columns, dense_rows, parts, packed, down, NULL, NULL, NULL};
}

/* Prepare a step of a cell that has the given number of gates. */
static void prepare_step(gs_call *k, int gates) {
  const int columns = k->row->shape[1], height = k->row->shape[2];
  const int dense_rows = (height * k->row->share[0] + 500) / 1000, parts = k->row->variant[0];
  const int low = k->row->kernel == GS_KERNEL_LSTM_LMF || k->row->kernel == GS_KERNEL_GRU_LMF;
  k->of_x = low ? factors(gates, height, columns, k->row->share[0]) : matrix(gates, height, columns, dense_rows, parts);
  k->of_h = low ? factors(gates, height, height, k->row->share[0]) : matrix(gates, height, height, dense_rows, parts);
  k->bias = reals(gates * height);
  k->x = reals(columns);
  k->h = reals(height);
  k->state = reals(height);
  k->scratch = reserve(GS(step_scratch)(&k->of_x, &k->of_h));
}

/* Prepare a step of an LSTM, and of a GRU. */
static void prepare_lstm(gs_call *k) { prepare_step(k, 4); }
static void prepare_gru(gs_call *k) { prepare_step(k, 3); }

/* Run a prepared step of an LSTM, and of a GRU. */
GS_INLINE void run_lstm(gs_call *k) {
  GS(lstm_step)(&k->of_x, &k->of_h, k->bias, k->x, k->h, k->state, k->scratch);
}
GS_INLINE void run_gru(gs_call *k) {
  GS(gru_step)(&k->of_x, &k->of_h, k->bias, k->bias, k->x, k->h, k->scratch);
}
#endif
