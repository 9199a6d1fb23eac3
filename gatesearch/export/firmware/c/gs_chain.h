/* The structures in which gs_plan.c describes a plan to gatesearch.c, which explains catching up and phases. */
#ifndef GS_CHAIN_H
#define GS_CHAIN_H

#define GS_SUFFIX firmware /* the end of the names of kernels */
#include "gs_plan.h"
#include "kernels.h"

/* The front end computes in fixed point or in float; its samples then are int16 or of full scale 1. */
#if GS_FIXED_POINT
typedef gs_fixed_mel gs_mel_tables;
typedef int16_t gs_mel_sample;
#else
typedef gs_mel gs_mel_tables;
typedef float gs_mel_sample;
#endif

/* How a gate decides: it is open if the mean of its last scores, at most smoothing of them, exceeds the threshold. It
   then stays open for hold further hops. */
typedef struct {
  double threshold;
  int32_t smoothing, hold;
  double *scores; /* [smoothing] */
} gs_gate;

/* The answer of a gate for a hop that it stops: a small program reads the window of the next stage.
     table   converts values of that window to the scale of the program, [256]; NULL: the scales are equal
     powers  as in gs_plan, for the outputs of the program */
typedef struct {
  const gs_hops *program;
  const int8_t *table;
  const float *powers;
} gs_exit;

/* A gate between stages. The stage before it writes an int8 logit; scale and zero are those of its quantisation. The
   score of the gate is center + (scale (logit - zero) - 3) half_width / 3. exit is NULL if a hop that the gate stops has
   no answer. */
typedef struct {
  gs_gate gate;
  float scale;
  int32_t zero;
  double center, half_width;
  const gs_exit *exit;
} gs_logit;

/* A stage. Its program for a hop is called step.
     catch_up  the program that computes a whole window: its outputs, and the state from which step goes on
     step      the program that computes the new frames of a hop; NULL: catch_up computes every hop
     window    frames of a whole window;  fresh: frames of a hop;  row: values of a frame
     table     converts values of the stage before to the scale of this stage, [256]; NULL: the scales are equal
     frames    the window of each phase, time first, [phases][window * row]
     saved     the state of each phase, [phases][n_state]; NULL: there is one phase, and the state stays in its place
     gate      the gate behind the stage; NULL: the stage is the last one */
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
  const gs_mel_tables *mel;
  int32_t frames, step; /* frames of a window; frames of a hop, 0: a hop is no whole number of frames */
  const int8_t *table;  /* as in gs_stage */
  int8_t *window;       /* [frames * features] */
  gs_mel_sample *samples; /* [mel->frame], behind the bytes of scratch */
  void *scratch;
  int32_t scratch_bytes; /* bytes that the front end may use while a backlog of samples lies behind them */
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

/* A range of the arena with constant values: length bytes from place on. If values is NULL, each byte is value. */
typedef struct {
  int32_t place, length, value;
  const uint8_t *values;
} gs_fill;

/* A plan. */
typedef struct {
  int32_t hop, window, ring_size, phases, n_stages; /* samples of a hop, of a window, of the ring buffer */
  int16_t *ring;
  int16_t *backlog;        /* [window], the newest samples while the gate on the signal is closed; in the memory of the
                              stages. NULL: the ring holds all that the front end needs */
  gs_level *level;         /* the statistic of the gate on the signal; NULL: there is none */
  const gs_gate *signal;   /* the gate on the signal, before the front end; NULL: there is none */
  const gs_frontend *frontend;
  const gs_stage *stages;
  const float *powers;     /* exp(-scale d) for a difference d of two outputs of the last stage, [256] */
  const gs_detector *detector;
  const char *const *labels;
  int8_t *passed;          /* the outputs of a stage */
  int8_t *leaving;         /* the window of an exit on the scale of its program; NULL: no exit has another scale */
  uint8_t *arena;
  const gs_fill *fills;
  int32_t n_fills, scratch_bytes;
} gs_plan;

extern const gs_plan gs_the_plan;

#endif
