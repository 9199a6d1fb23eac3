/* A small stage whose operators follow each other, and the loop over a stream in which it always runs: windows come as
   int8, as front ends give them, and those whose logit is above the threshold are listed. */
#include "kernels.h"

static void run_op(const gs_op *op) {
  switch (op->kind) {
    case GS_CONV:
      GS(conv_u8)(&op->shape, op->x, op->zero, NULL, 0, op->weights, op->sums, NULL, 0, op->bias, op->scale, op->shift,
                  GS_BYTES, op->zero_out, op->y, op->scratch);
      break;
    case GS_DEPTHWISE:
      GS(depthwise_u8)(&op->shape, op->x, op->zero, op->weights, op->bias, op->scale, op->zero_out, op->y);
      break;
    case GS_LARGEST: /* of each count values; of one, a copy in another order */
      for (int i = 0; i < op->outputs; i++) {
        const int32_t *index = op->index + (ptrdiff_t)i * op->count;
        uint8_t most = op->x[index[0]];
        for (int k = 1; k < op->count; k++) most = GS_MAX(most, op->x[index[k]]);
        op->y[i] = most;
      }
      break;
    case GS_TABLE:
      for (int i = 0; i < op->outputs; i++) op->y[i] = op->table[op->x[op->index[i]]];
      break;
  }
}

/* A function of its own, so that the room is known not to hold the stage's own description. */
static void take_window(const int8_t *restrict window, int size, uint8_t *restrict room) {
  for (int k = 0; k < size; k++) room[k] = (uint8_t)window[k] ^ 0x80;
}

/* Whether a window's logit is above the threshold. */
int GS(hear)(const gs_stream *s, const int8_t *window) {
  take_window(window, s->size, s->room);
  for (const gs_op *op = s->ops; op < s->ops + s->n_ops; op++) run_op(op);
  return *s->logit - 128 > s->threshold;
}

/* Returns how many windows passed. */
int GS(stream)(const gs_stream *s) {
  int count = 0;
  for (int i = 0; i < s->n; i++) {
    if (GS(hear)(s, s->windows + (ptrdiff_t)i * s->size)) s->passed[count++] = i;
  }
  return count;
}
