/* The structures in which gs_plan.c describes a plan to gatesearch.c. */
#ifndef GS_CHAIN_H
#define GS_CHAIN_H

#define GS_SUFFIX firmware /* the end of the names of kernels */
#include "kernels.h"

/* How a gate decides: the mean of its last scores is compared with a threshold, and the gate then stays open for some
   hops. scores has room for the last scores. */
typedef struct {
  double threshold;
  int32_t smoothing, hold;
  double *scores; /* [smoothing] */
} gs_gate;

/* A gate between stages: its score is center + (scale (logit - zero) - 3) half_width / 3. */
typedef struct {
  gs_gate gate;
  float scale;
  int32_t zero;
  double center, half_width;
} gs_logit;

/* A stage.
     catch_up  computes a whole window: the step's state, and the outputs
     step      computes the new frames of a hop; NULL: catch_up computes every hop
     window    frames of a whole window;  fresh: frames of a hop;  row: values of a frame
     table     changes a value of the stage before to the scale of this one, [256]; NULL: both scales are the same
     frames    the window of each phase, time first, [phases][window * row]
     saved     the state of each phase, [phases][n_state]; NULL: there is one phase, and the state stays in its place
     gate      NULL: there is no gate behind the stage, which is the last one */
typedef struct {
  const gs_hops *catch_up, *step;
  int32_t window, fresh, row;
  const int8_t *table;
  int8_t *frames;
  uint8_t *saved;
  const gs_logit *gate;
} gs_stage;

/* The front end: how many frames a hop adds, and the buffer of the newest samples. */
typedef struct {
  const gs_mel *mel;
  int32_t frames, step; /* frames of a window; frames of a hop, 0: a hop is no whole number of frames */
  const int8_t *table;  /* as in gs_stage */
  int8_t *window;       /* [frames * features] */
  float *samples;       /* [mel->frame] */
  void *scratch;
} gs_frontend;

/* The detector: smoothing, threshold, hits in a row, refractory time. */
typedef struct {
  int32_t classes, positives;
  const int32_t *columns;   /* the classes that are positives, [positives] */
  const double *thresholds; /* [positives] */
  int32_t smoothing, hits, refractory;
  double *outputs;          /* [smoothing][positives] */
  double *smoothed;         /* [hits][positives] */
} gs_detector;

/* A place of the arena with constant values: values [length], or, without them, one value for all. */
typedef struct {
  int32_t place, length, value;
  const uint8_t *values;
} gs_fill;

/* A plan. */
typedef struct {
  int32_t hop, window, ring_size, phases, n_stages; /* samples of a hop, of a window, of the ring buffer */
  int16_t *ring;
  gs_level *level;         /* the statistic of the gate on the signal; NULL: there is none */
  const gs_gate *signal;
  const gs_frontend *frontend;
  const gs_stage *stages;
  const float *powers;     /* exp(-scale d) for a difference d of two outputs of the last stage, [256] */
  const gs_detector *detector;
  const char *const *labels;
  int8_t *passed;          /* the outputs of a stage */
  uint8_t *arena;
  const gs_fill *fills;
  int32_t n_fills, scratch_bytes;
} gs_plan;

extern const gs_plan gs_the_plan;

#endif
