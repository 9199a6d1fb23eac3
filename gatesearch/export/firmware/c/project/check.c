/* Plays the golden vectors and compares every hop with the Python runtime: the last stage that ran, the stages that
   caught up, and the detection. Prints PASS or the first difference.

   With GS_COUNT defined, it also prints the mean instructions of hops by the last stage that ran. The emulator's timer
   counts them (clock.h); one of its ticks is GS_NUMERATOR / GS_DENOMINATOR instructions. The emulator has no pipeline and no caches, so the counts are instructions, not cycles. */
#include <stdio.h>
#include "gatesearch.h"
#include "gs_plan.h"
#include "vectors.h"
#ifdef GS_COUNT
#include "clock.h"

#define STACK_BYTES 32768 /* bytes of the stack that used_stack can measure */
#define PAINT 0xA5

/* Fill the unused stack with a pattern. */
static __attribute__((noinline)) void paint_stack(void) {
  volatile uint8_t *low = (volatile uint8_t *)__builtin_frame_address(0) - STACK_BYTES;
  for (int i = 0; i < STACK_BYTES - 256; i++) low[i] = PAINT;
}

/* Return the number of bytes of the stack that were used since paint_stack. */
static __attribute__((noinline)) int used_stack(void) {
  const volatile uint8_t *low = (volatile uint8_t *)__builtin_frame_address(0) - STACK_BYTES;
  int i = 0;
  while (i < STACK_BYTES && low[i] == PAINT) i++;
  return STACK_BYTES - i;
}
#endif

int main(void) {
  gs_detection detection;
  int detections = 0;
#ifdef GS_COUNT
  static uint64_t spent[GS_STAGES + 2];
  static uint32_t hops[GS_STAGES + 2], caught;
  paint_stack();
  gs_start_clock();
#endif
  if (gatesearch_init()) {
    printf("FAIL the kernels need more memory than the plan reserves\n");
    return 1;
  }
  for (int hop = 0; hop < GS_VECTORS; hop++) {
    const gs_vector *v = gs_vectors + hop;
#ifdef GS_COUNT
    const uint64_t before = gs_now();
#endif
    const int found = gatesearch_process(gs_vector_samples + hop * GS_HOP, &detection) > 0;
    const gs_activity activity = gatesearch_activity();
#ifdef GS_COUNT
    if (!activity.caught_up) spent[activity.last_stage + 2] += gs_now() - before, hops[activity.last_stage + 2]++;
    else if (gs_now() - before > caught) caught = (uint32_t)(gs_now() - before);
#endif
    const int label = (int)detection.label;
    if (activity.last_stage != v->last_stage || activity.caught_up != v->caught_up || label != v->label ||
        (found && detection.confidence != v->confidence)) {
      printf("FAIL hop %d: last stage %d (%d), caught up %u (%u), class %d (%d)\n", hop, (int)activity.last_stage,
             v->last_stage, (unsigned)activity.caught_up, (unsigned)v->caught_up, label, v->label);
      return 1;
    }
    detections += found;
  }
#ifdef GS_COUNT
  const int stack = used_stack();
  for (int k = 0; k < GS_STAGES + 2; k++) {
    if (!hops[k]) continue;
    const unsigned mean = (unsigned)(spent[k] / hops[k] * GS_NUMERATOR / GS_DENOMINATOR);
    if (k == 0) printf("before the first window: ");
    else if (k == 1) printf("stopped by the gate on the signal: ");
    else printf("up to stage %d: ", k - 2);
    printf("%u instructions a hop, %u hops\n", mean, (unsigned)hops[k]);
  }
  printf("stack: %d bytes\n", stack);
  if (caught) printf("longest hop with a catch-up: %u instructions\n", (unsigned)((uint64_t)caught * GS_NUMERATOR / GS_DENOMINATOR));
#endif
  printf("PASS %d hops, %d detections\n", GS_VECTORS, detections);
  return 0;
}
