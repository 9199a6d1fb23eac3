/* Runs a whole stage of a cascade in int8; of the first stage, the operators up to the logit of its gate.

   hear runs the first stage on one window, stream on several. hops runs any stage hop by hop, and keeps its state.
   Windows are int8, as front ends return them; the stage computes in uint8. gatesearch/runtime/stage.py and
   hop_kernel.py build the operators and call the functions. */
#include "kernels.h"

/* Copy runs of values of x, one after the other, to y. A run is where it begins in x, and its length. */
static void move_runs(const uint8_t *restrict x, const int32_t *runs, int n, uint8_t *restrict y) {
  for (int i = 0; i < n; i++, runs += 2) {
    memcpy(y, x + runs[0], (size_t)runs[1]);
    y += runs[1];
  }
}

/* Set y[i] to the largest of x[first[k] + i] over count rows k. */
static void largest_of_runs(const uint8_t *restrict x, const int32_t *first, int count, int n, uint8_t *restrict y) {
  memcpy(y, x + first[0], (size_t)n);
  for (int k = 1; k < count; k++) {
    const uint8_t *restrict row = x + first[k];
    for (int i = 0; i < n; i++) y[i] = GS_MAX(y[i], row[i]);
  }
}

/* Return a value rounded (half to even) and clipped to low .. high. Adding and subtracting 1.5 * 2^23 rounds. */
GS_INLINE uint8_t to_byte(float value, int zero_out, int low, int high) {
  const float least = (float)(low - zero_out), most = (float)(high - zero_out);
  value = value < least ? least : value > most ? most : value;
  return (uint8_t)((int32_t)((value + 12582912.0f) - 12582912.0f) + zero_out);
}

/* Compute y = x factor + z factor_z on the scale of y, in fixed point, as XNNPACK does. */
static void add_weighted(const gs_op *op, const uint8_t *restrict x, const uint8_t *restrict z, uint8_t *restrict y) {
  for (int i = 0; i < op->outputs; i++) {
    const int32_t value = ((x[i] * op->factor + z[i] * op->factor_z + op->start) >> op->bits) + op->zero_out;
    y[i] = (uint8_t)GS_MIN(GS_MAX(value, op->low), op->high);
  }
}

/* Compute the product of x and z on the scale of y. */
static void multiply(const gs_op *op, const uint8_t *restrict x, const uint8_t *restrict z, uint8_t *restrict y) {
  for (int i = 0; i < op->outputs; i++) {
    const int32_t value = (x[i] - op->zero) * (z[i] - op->zero_z);
    y[i] = to_byte((float)value * op->ratio, op->zero_out, op->low, op->high);
  }
}

/* Set sums[i] to the sum of the count values of x that belong to output i, minus start. */
static void add_up(const gs_op *op, int32_t *restrict sums) {
  for (int i = 0; i < op->outputs; i++) sums[i] = -op->start;
  if (op->of_runs) {
    for (int k = 0; k < op->count; k++) {
      const uint8_t *restrict row = op->x + op->index[k];
      for (int i = 0; i < op->outputs; i++) sums[i] += row[i];
    }
    return;
  }
  const int32_t *index = op->index;
  for (int i = 0; i < op->outputs; i++) {
    for (int k = 0; k < op->count; k++) sums[i] += op->x[*index++];
  }
}

/* Run one operator of a stage. */
static void run_op(const gs_op *op) {
  switch (op->kind) {
    case GS_CONV:
      GS(conv_u8)(&op->shape, op->x, op->zero, NULL, 0, op->weights, op->sums, NULL, 0, op->bias, op->scale, op->shift,
                  GS_BYTES, op->zero_out, op->y, op->scratch);
      break;
    case GS_DEPTHWISE:
      GS(depthwise_u8)(&op->shape, op->x, op->zero, op->weights, op->bias, op->scale, op->zero_out, op->y);
      break;
    case GS_LARGEST: /* the largest of count values; with a count of 1, it copies values in another order */
      for (int i = 0; i < op->outputs; i++) {
        const int32_t *index = op->index + (ptrdiff_t)i * op->count;
        uint8_t maximum = op->x[index[0]];
        for (int k = 1; k < op->count; k++) maximum = GS_MAX(maximum, op->x[index[k]]);
        op->y[i] = maximum;
      }
      break;
    case GS_TABLE:
      for (int i = 0; i < op->outputs; i++) op->y[i] = op->table[op->x[op->index[i]]];
      break;
    case GS_MOVE:
      move_runs(op->x, op->index, op->count, op->y);
      break;
    case GS_LARGEST_OF_RUNS:
      largest_of_runs(op->x, op->index, op->count, op->outputs, op->y);
      break;
    case GS_GATED:
      GS(gated_u8)(&op->shape, op->gated, op->x, op->y, op->scratch);
      break;
    case GS_RECURRENCE:
      GS(recurrence_u8)(op->recurrence, op->x, op->y, op->scratch);
      break;
    case GS_SUM:
      add_weighted(op, op->x, op->z, op->y);
      break;
    case GS_PRODUCT:
      multiply(op, op->x, op->z, op->y);
      break;
    case GS_MEAN: {
      const int32_t *sums = op->scratch;
      add_up(op, op->scratch);
      for (int i = 0; i < op->outputs; i++) {
        op->y[i] = to_byte((float)sums[i] * op->ratio + op->offset, op->zero_out, op->low, op->high);
      }
      break;
    }
    case GS_AVERAGE: {
      const int32_t *sums = op->scratch, half = op->count / 2;
      add_up(op, op->scratch);
      for (int i = 0; i < op->outputs; i++) {
        const int32_t value = (sums[i] + (sums[i] < 0 ? -half : half)) / op->count + op->zero_out;
        op->y[i] = (uint8_t)GS_MIN(GS_MAX(value, op->low), op->high);
      }
      break;
    }
  }
}

/* Run n operators, one after the other. */
void GS(run_ops)(const gs_op *ops, int n) {
  for (int i = 0; i < n; i++) run_op(ops + i);
}

/* Copy a window to the input of the first operator, int8 to uint8. It is a separate function, so that its
   parameters can be restrict: the compiler then knows that writing the input changes no other data. */
static void take_window(const int8_t *restrict window, int size, uint8_t *restrict input) {
  for (int k = 0; k < size; k++) input[k] = (uint8_t)window[k] ^ 0x80;
}

/* Return whether a window's logit is above the threshold. */
int GS(hear)(const gs_stream *s, const int8_t *window) {
  take_window(window, s->size, s->input);
  for (const gs_op *op = s->ops; op < s->ops + s->n_ops; op++) run_op(op);
  return *s->logit - 128 > s->threshold;
}

/* List in s->passed the windows whose logit is above the threshold, and return their number. */
int GS(stream)(const gs_stream *s) {
  int count = 0;
  for (int i = 0; i < s->n; i++) {
    if (GS(hear)(s, s->windows + (ptrdiff_t)i * s->size)) s->passed[count++] = i;
  }
  return count;
}

/* Run n hops, whose frames begin stride bytes apart, and write the outputs of each to out [n][n_out].

   The state's new values may lie where its old ones do, so all of them are read before one is written. */
void GS(hops)(const gs_hops *h, const int8_t *frames, int stride, int n, int8_t *restrict out) {
  for (int i = 0; i < n; i++, frames += stride, out += h->n_out) {
    take_window(frames, h->size, h->input);
    for (const gs_op *op = h->ops; op < h->ops + h->n_ops; op++) run_op(op);
    move_runs(h->memory, h->out_runs, h->n_out_runs, (uint8_t *)out);
    for (int k = 0; k < h->n_out; k++) out[k] = (int8_t)((uint8_t)out[k] ^ 0x80);
    if (!h->n_state) continue;
    move_runs(h->memory, h->state_runs, h->n_state_runs, h->next_state);
    memcpy(h->state, h->next_state, (size_t)h->n_state);
  }
}
