/* A gated detector on a stream of sound: init once, then process hop after hop.

   The code is C99. It allocates no memory and needs no library beyond the compiler's own. All state is static, so there
   is one stream in a program. GS_HOP, the classes and all sizes are in gs_plan.h, which was generated for one trained
   plan. */
#ifndef GATESEARCH_H
#define GATESEARCH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A detection: the class (GS_CLASS_...), its confidence from 0 to 1, and the hop whose window ends with the newest
   sample that was read; the first decision has hop 0. */
typedef struct {
  int32_t label;
  float confidence;
  int32_t hop;
} gs_detection;

/* What happened at the last hop: how far it came, and whether parts had to catch up.
     GS_WAITING  there is no whole window yet
     GS_SIGNAL   the gate on the signal stopped it; the front end did not run
     k >= 0      the last stage that ran */
enum { GS_WAITING = -2, GS_SIGNAL = -1 };
typedef struct {
  int32_t last_stage;
  uint32_t caught_up; /* bit k: stage k computed a whole window, because its gate opened */
} gs_activity;

/* Prepare the detector; call it before the first hop.

   Returns 0, or -1 if the kernels of this build need more memory than the plan reserves. */
int gatesearch_init(void);

/* Forget the stream: the next hop is the first one of a new stream. */
void gatesearch_reset(void);

/* Read the next GS_HOP samples. Returns 1 and fills *detection if a word was detected, else 0. */
int gatesearch_process(const int16_t *samples, gs_detection *detection);

/* Return what happened at the last hop. */
gs_activity gatesearch_activity(void);

/* Called when a stage starts to run after it was closed (opens = 1), and when its gate closes it (opens = 0): the place
   to wake a core or a power domain. The library defines an empty one, which a function of the same name replaces. */
void gatesearch_on_stage(int stage, int opens);

/* Name of a class. */
const char *gatesearch_label(int32_t label);

#ifdef __cplusplus
}
#endif
#endif
