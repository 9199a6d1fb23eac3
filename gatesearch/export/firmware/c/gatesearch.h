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

/* A detection: the class (GS_CLASS_...), its confidence from 0 to 1, and the number of the hop. The hop of the first
   decision is number 0. Without a detection, class and hop are -1. */
typedef struct {
  int32_t label;
  float confidence;
  int64_t hop;
} gs_detection;

/* What happened at the last hop: the last stage that ran, and the stages that caught up. last_stage is
     GS_WAITING  if there is no whole window of samples yet
     GS_SIGNAL   if the gate on the signal stopped the hop; the front end did not run
     k >= 0      if stage k was the last one that ran */
enum { GS_WAITING = -2, GS_SIGNAL = -1 };
typedef struct {
  int32_t last_stage;
  uint32_t caught_up; /* bit k: stage k computed a whole window, because its gate opened */
} gs_activity;

/* Prepare the detector; call it before the first hop. A second call also forgets the stream.

   Returns 0, or -1 if the kernels of this build need more memory than the plan reserves. */
int gatesearch_init(void);

/* Forget the stream: the next hop is the first one of a new stream. */
void gatesearch_reset(void);

/* Read the next GS_HOP samples, and fill *detection, unless detection is NULL.

   Returns 1 if a word was detected, else 0. Returns -1, and reads nothing, if samples is NULL or if gatesearch_init has
   not succeeded. */
int gatesearch_process(const int16_t *samples, gs_detection *detection);

/* Return what happened at the last hop. */
gs_activity gatesearch_activity(void);

/* Called with opens = 1 when a stage starts to run after it was closed, and with opens = 0 when its gate closes it.
   Define a function of this name to wake a core or a power domain; it replaces the library's empty one. */
void gatesearch_on_stage(int stage, int opens);

/* Called for each stage of a hop, to let another core or another engine compute it. Define a function of this name; it
   replaces the library's own, which returns 0.
     phase    which of the stage's states the call goes on with, from 0
     begins   1: the stage reads a whole window, and has no state; 0: it reads the new frames of a hop
     input    these frames, int8, time first
     outputs  receives the int8 outputs: frames for the next stage or the logits of the classes, then the gate's logit
   Returns 1 if it wrote the outputs. Returns 0 if this core's kernels have to compute the stage.

   -DGS_OWN_STAGES=n leaves out the weights of stage n and of all later ones. If the function returns 0 for such a stage,
   nothing computes it: the hop ends as if a gate without an exit had stopped it. */
int gatesearch_run_stage(int stage, int phase, int begins, const int8_t *input, int8_t *outputs);

/* Return the name of a class; an empty text for a number that is no class. */
const char *gatesearch_label(int32_t label);

#ifdef __cplusplus
}
#endif
#endif
