/* Calls the library in wrong orders and with wrong arguments, and far into a stream; prints PASS or the failed line. */
#include <stdio.h>

#include "gatesearch.h"

#include "gs_plan.h"
#include "vectors.h"

#define EXPECT(condition)                                 \
  do {                                                    \
    if (!(condition)) {                                   \
      printf("FAIL line %d: %s\n", __LINE__, #condition); \
      return 1;                                           \
    }                                                     \
  } while (0)

extern int64_t age_stream(int turns); /* aged_library.c */

static int open_stages, closings;
void gatesearch_on_stage(int stage, int opens) {
  open_stages += stage < 0 ? 99 : opens ? 1 : -1;
  closings += !opens;
}

/* Run golden hops from first to end - 1; return the number of answers that differ from the vectors. */
static int play(int first, int end, int64_t shift, int64_t *hop) {
  int differences = 0;
  for (int k = first; k < end; k++) {
    gs_detection detection;
    const int found = gatesearch_process(gs_vector_samples + k * GS_HOP, &detection) > 0;
    const gs_activity activity = gatesearch_activity();
    differences += detection.label != gs_vectors[k].label || found != (gs_vectors[k].label >= 0) ||
                   (found && detection.confidence != gs_vectors[k].confidence) ||
                   activity.last_stage != gs_vectors[k].last_stage || activity.caught_up != gs_vectors[k].caught_up;
    if (found) *hop = detection.hop - shift;
  }
  return differences;
}

int main(void) {
  gs_detection detection = {7, 0.5f, 9};
  int64_t hop = -1, later = -1;
  gatesearch_reset();
  EXPECT(gatesearch_process(gs_vector_samples, &detection) == -1);
  EXPECT(detection.label == -1 && detection.hop == -1 && detection.confidence == 0.0f);
  EXPECT(gatesearch_init() == 0 && gatesearch_init() == 0);
  EXPECT(gatesearch_process(NULL, &detection) == -1 && detection.label == -1);
  EXPECT(gatesearch_process(NULL, NULL) == -1);
  EXPECT(play(0, GS_VECTORS, 0, &hop) == 0);
  for (int k = 0; k < GS_VECTORS; k += 7) { /* a reset, or another init, forgets the stream at any hop */
    EXPECT(play(0, 0, 0, &hop) == 0);
    gatesearch_reset();
    (void)play(0, k, 0, &hop);
    const int open = open_stages;
    closings = 0;
    if (k % 2) gatesearch_reset();
    else EXPECT(gatesearch_init() == 0);
    EXPECT(open == closings && open_stages == 0);
  }
  EXPECT(play(0, GS_VECTORS, 0, &hop) == 0);
  gatesearch_reset();
  for (int k = 0; k < GS_VECTORS; k++) EXPECT(gatesearch_process(gs_vector_samples + k * GS_HOP, NULL) == (gs_vectors[k].label >= 0));
  for (int turns = 1 << 10; turns < 1 << 25; turns *= 2) { /* passes 2^31 and 2^32 hops and samples */
    gatesearch_reset();
    EXPECT(play(0, GS_VECTORS / 2, 0, &later) == 0);
    const int64_t hops = age_stream(turns);
    EXPECT(play(GS_VECTORS / 2, GS_VECTORS, hops, &later) == 0);
    EXPECT(later == hop);
  }
  EXPECT(gatesearch_label(-1)[0] == 0 && gatesearch_label(GS_CLASSES)[0] == 0 && gatesearch_label(INT32_MIN)[0] == 0);
  EXPECT(gatesearch_label(GS_CLASSES - 1)[0] != 0);
  printf("PASS\n");
  return 0;
}
