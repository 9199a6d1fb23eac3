/* Runs the first, always-on stage of a cascade: int8 operators that end in a gate's logit.

   hear runs the stage on one window, stream on several. Windows are int8, as front ends return them; the stage computes
   in uint8. gatesearch/runtime/stage.py builds the operators and calls both functions. */
#include "kernels.h"

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
  }
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
