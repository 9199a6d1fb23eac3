/* LSTMs and GRUs in int8, with weights that are dense or in hybrid matrix decomposition (HMD).

   recurrent.c computes the same in float and explains HMD. The number formats are:
     x, h                       uint8; a value h of the state represents (h - 128) / 128
     products                   int32, then scaled in float to steps of 2^-12
     inputs of the activations  int16 in steps of 2^-12, from -8 to 8; so is the state c of an LSTM
     state of a GRU             int16 in steps of 2^-15. Its bytes h multiply weights, but the next state is computed
                                from all 16 bits: a state that moves by less than a byte's step still moves
     sigmoid, tanh              tables of int16 in steps of 2^-15, so that every processor computes the same bytes
   gatesearch/kernels/recurrent_u8.py calls recurrence_u8, and so does stage.c. */
#include "kernels.h"
#include "tile.h"

/* Return the number of rows that are multiplied with x. A dense matrix has all its rows; an HMD matrix has its dense
   rows and one row for each part. */
GS_INLINE int product_rows_u8(const gs_matrix_u8 *m) {
  return m->kind == GS_HMD ? m->gates * (m->dense_rows + m->parts) : m->gates * m->height;
}

/* Return the bytes of scratch memory that a step needs. */
size_t GS(step_u8_scratch)(const gs_matrix_u8 *of_x, const gs_matrix_u8 *of_h) {
  const size_t wide = GS_MAX(GS_BLOCKS(of_x->columns), GS_BLOCKS(of_h->columns));
  const size_t product = GS_MAX(GS_BLOCKS(product_rows_u8(of_x)), GS_BLOCKS(product_rows_u8(of_h)));
  return wide * (GS_BLOCK + sizeof(gs_step)) + product * GS_BLOCK * sizeof(int32_t) +
         2 * (size_t)of_h->gates * of_h->height * sizeof(float) + of_h->height * sizeof(int32_t) + 512;
}

/* Return x rounded to an int16, half to even, and clipped to its range. */
GS_INLINE int32_t nearest(float x) {
  x = x < -32768.0f ? -32768.0f : x > 32767.0f ? 32767.0f : x;
  return (int32_t)((x + 12582912.0f) - 12582912.0f); /* adding 1.5 * 2^23 leaves no bits for fractions */
}

/* Compute z += scale W (x - zero), z [gates * height], in steps of 2^-12.

   Tiles compute W (x - GS_OFFSET); adding (GS_OFFSET - zero) times the sum of a row's weights corrects the zero. For
   HMD, the product with each part's row c_j is first scaled to int16. It then multiplies the part's column b_j. The sum
   over all parts is added to the rows below the dense rows. */
static void add_product_u8(const gs_matrix_u8 *m, const uint8_t *x, float *restrict z, char *at) {
  const int blocks_in = GS_BLOCKS(m->columns), rows = product_rows_u8(m), blocks_out = GS_BLOCKS(rows);
  const size_t size = (size_t)blocks_in * GS_BLOCK * GS_BLOCK;
  uint8_t *whole = gs_reserve(&at, blocks_in * GS_BLOCK);
  gs_step *steps = gs_reserve(&at, blocks_in * sizeof(gs_step));
  int32_t *sums = gs_reserve(&at, blocks_out * GS_BLOCK * sizeof(int32_t));
  memcpy(whole, x, m->columns);
  memset(whole + m->columns, 0, blocks_in * GS_BLOCK - m->columns);
  for (int i = 0; i < blocks_in; i++) steps[i] = (gs_step){i * GS_BLOCK, i * GS_BLOCK * GS_BLOCK};
  for (int block = 0, columns; block < blocks_out; block += columns) {
    columns = GS_MIN(blocks_out - block, GS_MOST_COLUMNS);
    const int8_t *w[GS_MOST_COLUMNS];
    const uint8_t *row = whole;
    for (int k = 0; k < columns; k++) w[k] = m->packed + size * (block + k);
    gs_sized_u8(1, columns, &row, w, steps, blocks_in, sums + block * GS_BLOCK);
  }
  for (int i = 0; i < rows; i++) sums[i] += (GS_OFFSET - m->zero) * m->sums[i];
  if (m->kind == GS_DENSE) {
    for (int i = 0; i < rows; i++) z[i] += m->scale[i] * (float)sums[i];
    return;
  }
  const int32_t *parts = sums + m->gates * m->dense_rows;
  const int8_t *down = m->down;
  const int split_rows = m->height - m->dense_rows;
  for (int gate = 0; gate < m->gates; gate++) {
    const float *scale = m->scale + gate * m->height;
    float *to = z + gate * m->height;
    for (int i = 0; i < m->dense_rows; i++) to[i] += scale[i] * (float)sums[gate * m->dense_rows + i];
    for (int i = 0; i < split_rows; i++) {
      int32_t sum = 0;
      for (int part = 0; part < m->parts; part++) {
        const int place = gate * m->parts + part;
        sum += nearest(m->middle[place] * (float)parts[place]) * down[part * split_rows + i];
      }
      to[m->dense_rows + i] += scale[m->dense_rows + i] * (float)sum;
    }
    down += m->parts * split_rows;
  }
}

/* Return a table's entry for an int16. The table has 2049 entries, for arguments 32 apart; value is rounded to the
   nearest argument. */
GS_INLINE int32_t table_entry(const int16_t *table, int32_t value) { return table[(value + 32768 + 16) >> 5]; }

/* Return a product in steps of 2^-30 as the byte of a state, in steps of 2^-7; the byte 128 represents 0. */
GS_INLINE uint8_t as_byte(int32_t product) {
  const int32_t value = ((product + (1 << 22)) >> 23) + 128;
  return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* Replace the states h and c [height] of an LSTM by the next states, for an input x [columns].

     c = f c + i g    h = o tanh(c)
   For each gate, the function adds the products of its rows with x and with h, and bias. i, f and o are the sigmoids of
   these sums, g is the tanh. Rows of the gates are in torch's order, i f g o. bias is the sum of the biases of x and of
   h, in steps of 2^-12. */
void GS(lstm_step_u8)(const gs_matrix_u8 *of_x, const gs_matrix_u8 *of_h, const gs_tables *tables, const float *bias,
                      const uint8_t *x, uint8_t *restrict h, int16_t *restrict c, void *scratch) {
  const int n = of_h->height;
  char *at = scratch;
  float *restrict z = gs_reserve(&at, (size_t)4 * n * sizeof(float));
  memcpy(z, bias, (size_t)4 * n * sizeof(float));
  add_product_u8(of_x, x, z, at);
  add_product_u8(of_h, h, z, at);
  for (int k = 0; k < n; k++) {
    const int32_t i = table_entry(tables->sigmoid, nearest(z[k])), f = table_entry(tables->sigmoid, nearest(z[n + k]));
    const int32_t g = table_entry(tables->tanh, nearest(z[2 * n + k]));
    const int32_t o = table_entry(tables->sigmoid, nearest(z[3 * n + k]));
    const int32_t next = (f * c[k] + ((i * g + 4) >> 3) + (1 << 14)) >> 15;
    c[k] = (int16_t)(next < -32768 ? -32768 : next > 32767 ? 32767 : next);
    h[k] = as_byte(o * table_entry(tables->tanh, c[k]));
  }
}

/* Replace the state of a GRU, of which state [height] has 16 bits and h [height] the upper 8, by the next state, for an
   input x [columns].

     n = tanh(n_x + r n_h)    h = (1 - z) n + z h
   For each gate, the function adds bias_x to the product of its rows with x, and bias_h to the product with h. r and z
   are the sigmoids of the sums of both; n_x and n_h are the two results for gate n. Rows of the gates are in torch's
   order, r z n (reset, update and fresh below). Biases are in steps of 2^-12. */
void GS(gru_step_u8)(const gs_matrix_u8 *of_x, const gs_matrix_u8 *of_h, const gs_tables *tables, const float *bias_x,
                     const float *bias_h, const uint8_t *x, uint8_t *restrict h, int16_t *restrict state,
                     void *scratch) {
  const int n = of_h->height;
  char *at = scratch;
  float *restrict zx = gs_reserve(&at, (size_t)3 * n * sizeof(float));
  float *restrict zh = gs_reserve(&at, (size_t)3 * n * sizeof(float));
  memcpy(zx, bias_x, (size_t)3 * n * sizeof(float));
  memcpy(zh, bias_h, (size_t)3 * n * sizeof(float));
  add_product_u8(of_x, x, zx, at);
  add_product_u8(of_h, h, zh, at);
  for (int k = 0; k < n; k++) {
    const int32_t reset = table_entry(tables->sigmoid, nearest(zx[k] + zh[k]));
    const int32_t update = table_entry(tables->sigmoid, nearest(zx[n + k] + zh[n + k]));
    const int32_t inner = nearest(zx[2 * n + k]) + ((reset * nearest(zh[2 * n + k]) + (1 << 14)) >> 15);
    const int32_t fresh = table_entry(tables->tanh, inner < -32768 ? -32768 : inner > 32767 ? 32767 : inner);
    const int32_t next = (32768 - update) * fresh + update * state[k];
    state[k] = (int16_t)((next + (1 << 14)) >> 15);
    h[k] = as_byte((int32_t)state[k] * 32768);
  }
}

/* Return the number of units of a cell. */
GS_INLINE int units_of(const gs_recurrence_u8 *r) { return r->cells->of_h.height; }

/* Return the bytes of scratch memory that recurrence_u8 needs. */
size_t GS(recurrence_u8_scratch)(const gs_recurrence_u8 *r) {
  size_t step = 0;
  for (int i = 0; i < r->depth * r->directions; i++) {
    step = GS_MAX(step, GS(step_u8_scratch)(&r->cells[i].of_x, &r->cells[i].of_h));
  }
  const size_t sequence = (size_t)r->steps * r->directions * units_of(r);
  return step + units_of(r) * (1 + sizeof(int16_t)) + (r->depth > 1 ? 2 * sequence : 0) + 256;
}

/* Run all steps of a recurrent layer from a state of zero, x [steps][columns] to y [steps][directions * units]. Cells of
   the second direction read the steps backwards. */
void GS(recurrence_u8)(const gs_recurrence_u8 *r, const uint8_t *x, uint8_t *y, void *scratch) {
  const int n = units_of(r), wide = r->directions * n;
  const size_t sequence = (size_t)r->steps * wide;
  char *at = scratch;
  uint8_t *h = gs_reserve(&at, n), *between[2] = {NULL, NULL};
  int16_t *state = gs_reserve(&at, n * sizeof(int16_t));
  for (int i = 0; i < 2 && r->depth > 1; i++) between[i] = gs_reserve(&at, sequence);
  for (int layer = 0; layer < r->depth; layer++) {
    uint8_t *to = layer + 1 == r->depth ? y : between[layer % 2];
    for (int direction = 0; direction < r->directions; direction++) {
      const gs_cell_u8 *cell = r->cells + layer * r->directions + direction;
      memset(h, 128, n);
      memset(state, 0, n * sizeof(int16_t));
      for (int i = 0; i < r->steps; i++) {
        const int t = direction ? r->steps - 1 - i : i;
        const uint8_t *now = x + (size_t)t * cell->of_x.columns;
        if (r->lstm) GS(lstm_step_u8)(&cell->of_x, &cell->of_h, &r->tables, cell->bias_x, now, h, state, at);
        else GS(gru_step_u8)(&cell->of_x, &cell->of_h, &r->tables, cell->bias_x, cell->bias_h, now, h, state, at);
        memcpy(to + (size_t)t * wide + direction * n, h, n);
      }
    }
    x = to;
  }
}
