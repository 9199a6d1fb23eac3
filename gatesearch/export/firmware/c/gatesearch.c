/* Runs a plan on a stream, hop by hop: gate on the signal, front end, stages with gates between them, detector.

   A stage that runs at every hop computes the new frames only, from a state that it keeps. A stage whose gate was
   closed has no state. When the gate opens, the stage catches up: it computes a whole window. If a stride in time does
   not divide the hop, a stage has several phases with a state each, and the hops take the phases in turn.

   gatesearch's Python runtime makes the same decisions bit for bit. It runs the same kernels, and does all other
   arithmetic in the same order and precision. Neither uses fused multiply-adds. */
#include "no_fused.h"
#include "gatesearch.h"
#include "gs_chain.h"
#include "gs_plan.h"
#include "simd.h"

#ifdef __FAST_MATH__
#error "-ffast-math rounds differently from the golden vectors: compile with -ffp-contract=off -fno-math-errno alone"
#endif

#if GS_OWN_STAGES < 1 || GS_OWN_STAGES > GS_STAGES
#error "GS_OWN_STAGES: wanted: 1 .. GS_STAGES (gs_plan.h)"
#endif

#define PLAN (&gs_the_plan)
#define MAX_STAGES 32 /* a stage is a bit of gs_activity.caught_up */

/* The state of a gate: how many scores it holds, and for how many hops it stays open. */
typedef struct {
  int32_t count, hold;
} gate_state;

static struct {
  int64_t read;             /* samples so far */
  int64_t hop, next_hop;    /* decisions so far; the first hop at which the next detection is allowed */
  int64_t frames_hop;       /* the hop at which the front end ran last; -1: never */
  int32_t at;               /* place in the ring of the next sample */
  int32_t ready;            /* whether gatesearch_init has succeeded */
  int32_t waiting;          /* 1: the gate on the signal is closed, and the newest samples are in PLAN->backlog */
  gate_state signal, gates[MAX_STAGES];
  uint32_t alive[MAX_STAGES];    /* bit p: the stage has the state of phase p */
  uint32_t elsewhere[MAX_STAGES]; /* bit p: gatesearch_run_stage has this state, not this library */
  uint32_t open;                  /* bit k: stage k ran at the last hop */
  gs_activity activity;
} now;

__attribute__((weak)) void gatesearch_on_stage(int stage, int opens) {
  (void)stage;
  (void)opens;
}

__attribute__((weak)) int gatesearch_run_stage(int stage, int phase, int begins, const int8_t *input, int8_t *outputs) {
  (void)stage;
  (void)phase;
  (void)begins;
  (void)input;
  (void)outputs;
  return 0;
}

const char *gatesearch_label(int32_t label) {
  return label >= 0 && label < PLAN->detector->classes ? PLAN->labels[label] : "";
}

gs_activity gatesearch_activity(void) { return now.activity; }

/* Add a score to a gate, and return whether the gate is open: the mean of its last scores exceeds the threshold, or did
   so at one of the last gate->hold hops. As in Python, the sum starts with the oldest score. */
static int push_score(const gs_gate *gate, gate_state *state, double score) {
  double total = 0.0;
  if (state->count == gate->smoothing) {
    memmove(gate->scores, gate->scores + 1, (size_t)(gate->smoothing - 1) * sizeof(double));
    state->count--;
  }
  gate->scores[state->count++] = score;
  for (int32_t i = 0; i < state->count; i++) total += gate->scores[i];
  if (total / (double)state->count > gate->threshold) {
    state->hold = gate->hold;
    return 1;
  }
  if (state->hold == 0) return 0;
  state->hold--;
  return 1;
}

/* Close stage k and all later stages: they forget their states. */
static void close_stages(int32_t k) {
  for (; k < PLAN->n_stages; k++) {
    if (now.open >> k & 1) gatesearch_on_stage(k, 0);
    now.open &= ~((uint32_t)1 << k);
    now.alive[k] = 0;
    now.gates[k].count = now.gates[k].hold = 0;
  }
}

void gatesearch_reset(void) {
  const gs_detector *d = PLAN->detector;
  gs_level *level = PLAN->level;
  const int32_t ready = now.ready;
  close_stages(0);
  memset(&now, 0, sizeof(now));
  now.ready = ready;
  now.frames_hop = -1;
  now.waiting = PLAN->backlog != NULL;
  now.activity.last_stage = GS_WAITING;
  memset(d->outputs, 0, (size_t)(d->smoothing * d->positives) * sizeof(double));
  memset(d->smoothed, 0, (size_t)(d->hits * d->positives) * sizeof(double));
  if (level) {
    level->filled = level->place = 0;
    level->magnitude = 0, level->total = 0, level->squares = 0;
    memset(level->numbers, 0, (size_t)level->frames * sizeof(int32_t));
  }
}

/* Write the constant values of the arena. */
static void fill_arena(void) {
  for (const gs_fill *fill = PLAN->fills; fill < PLAN->fills + PLAN->n_fills; fill++) {
    if (fill->values) memcpy(PLAN->arena + fill->place, fill->values, (size_t)fill->length);
    else memset(PLAN->arena + fill->place, fill->value, (size_t)fill->length);
  }
}

/* Return the bytes of scratch memory that the front end needs. */
static size_t frontend_scratch(void) {
#if GS_FIXED_POINT
  return GS(fixed_mel_scratch)(PLAN->frontend->mel);
#else
  return GS(mel_scratch)(PLAN->frontend->mel);
#endif
}

/* Return the bytes of scratch memory that an operator needs on this core, as far as they depend on the core. */
static size_t find_scratch(const gs_op *op) {
  if (op->kind == GS_CONV) return GS(conv_u8_scratch)(&op->shape);
#ifdef GS_HAS_GATED
  if (op->kind == GS_GATED) {
    const gs_split *split = op->gated->split;
    return GS(gated_u8_scratch)(&op->shape, op->gated->kind, split ? (1 + split->wide) * (1 + split->sign) : 1);
  }
#endif
#ifdef GS_HAS_RECURRENCE
  if (op->kind == GS_RECURRENCE) return GS(recurrence_u8_scratch)(op->recurrence);
#endif
  return 0;
}

int gatesearch_init(void) {
  now.ready = 0;
#ifdef GS_HAS_WEIGHT_AT
  /* gs_plan.c holds the weights in this order: [places / 16][16 channels][16 places]. One place shows whether the
     kernels read the same order. */
  if (gs_weight_at(37, 3) != (37 / GS_BLOCK * GS_BLOCK + 3) * GS_BLOCK + 37 % GS_BLOCK) return -1;
#endif
  fill_arena();
  gatesearch_reset();
  for (int32_t k = 0; k < PLAN->n_stages; k++) {
    const gs_hops *programs[2] = {PLAN->stages[k].catch_up, PLAN->stages[k].step};
    for (int i = 0; i < 2; i++) {
      for (int32_t o = 0; programs[i] && o < programs[i]->n_ops; o++) {
        if (find_scratch(programs[i]->ops + o) > (size_t)PLAN->scratch_bytes) return -1;
      }
    }
  }
  if (frontend_scratch() > (size_t)PLAN->frontend->scratch_bytes) return -1;
  now.ready = 1;
  return 0;
}

/* Compute the features of the frame in PLAN->frontend->samples. */
static void compute_frame(int8_t *row) {
  const gs_frontend *f = PLAN->frontend;
#if GS_FIXED_POINT
  GS(fixed_mel)(f->mel, f->samples, row, f->scratch);
#else
  GS(mel)(f->mel, f->samples, 1, row, f->scratch);
#endif
}

/* Copy the frame that begins with sample number first to PLAN->frontend->samples. */
static void copy_samples(int64_t first) {
  const gs_frontend *f = PLAN->frontend;
  const int16_t *ring = now.waiting ? PLAN->backlog : PLAN->ring;
  const int32_t size = now.waiting ? PLAN->window : PLAN->ring_size, at = (int32_t)(first % size);
#if GS_FIXED_POINT
  const int32_t before = GS_MIN(f->mel->frame, size - at);
  memcpy(f->samples, ring + at, (size_t)before * sizeof(int16_t));
  memcpy(f->samples + before, ring, (size_t)(f->mel->frame - before) * sizeof(int16_t));
#else
  for (int32_t k = 0, i = at; k < f->mel->frame; k++) {
    f->samples[k] = (float)ring[i] * (1.0f / 32768.0f);
    if (++i == size) i = 0;
  }
#endif
}

/* Compute n frames, the first of which begins with sample number first. They become the last rows of the front end's
   window. */
static void compute_frames(int64_t first, int32_t n) {
  const gs_frontend *f = PLAN->frontend;
  const gs_mel_tables *mel = f->mel;
  int8_t *row = f->window + (ptrdiff_t)(f->frames - n) * mel->features;
  memmove(f->window, f->window + (ptrdiff_t)n * mel->features, (size_t)(f->frames - n) * (size_t)mel->features);
  for (int32_t i = 0; i < n; i++, first += mel->stride, row += mel->features) {
    copy_samples(first);
    compute_frame(row);
    for (int32_t k = 0; f->table && k < mel->features; k++) row[k] = f->table[row[k] + 128];
  }
}

/* Move the window of features on to a hop. Frames that an earlier hop computed are kept.

   Without a gate on the signal, the front end runs at every hop, so that the ring need not hold a whole window. It also
   runs at the hops before the first whole window; their numbers are negative. */
static void run_frontend(int64_t hop) {
  const gs_frontend *f = PLAN->frontend;
  int32_t n = f->frames;
  if (f->step && !PLAN->signal) {
    n = (int32_t)GS_MIN(f->step, hop * f->step + f->frames);
  } else if (f->step && now.frames_hop >= 0 && hop - now.frames_hop <= f->frames / f->step) {
    n = (int32_t)GS_MIN(n, (hop - now.frames_hop) * f->step);
  }
  if (n <= 0) return;
  compute_frames(hop * PLAN->hop + (int64_t)(f->frames - n) * f->mel->stride, n);
  now.frames_hop = hop;
}

/* Offer stage k to another core; return whether it has computed the stage. */
static int run_elsewhere(int32_t k, int32_t phase, const int8_t *window) {
  const gs_stage *s = PLAN->stages + k;
  const uint32_t bit = (uint32_t)1 << phase;
  const int begins = !s->step || !(now.alive[k] & bit);
  const int8_t *input = begins ? window : window + (ptrdiff_t)(s->window - s->fresh) * s->row;
  if (gatesearch_run_stage(k, phase, begins, input, PLAN->passed)) {
    now.elsewhere[k] |= bit;
    return 1;
  }
  if (now.elsewhere[k] & bit) now.alive[k] &= ~bit; /* the state is lost: this core catches up */
  now.elsewhere[k] &= ~bit;
  return 0;
}

/* Run stage k of a phase on its window; write its outputs to PLAN->passed, and return whether it caught up. Return -1 if
   nothing computes the stage, because its weights are left out. */
static int run_program(int32_t k, int32_t phase, const int8_t *window) {
  const gs_stage *s = PLAN->stages + k;
  if (run_elsewhere(k, phase, window)) {
    const int caught_up = s->step && !(now.alive[k] >> phase & 1);
    now.alive[k] |= (uint32_t)1 << phase;
    return caught_up;
  }
  if (k >= GS_OWN_STAGES) return -1;
  const int alive = (int)(now.alive[k] >> phase & 1);
  const gs_hops *h = alive && s->step ? s->step : s->catch_up;
  if (!s->step) {
    GS(hops)(h, window, 0, 1, PLAN->passed);
    return 0;
  }
  uint8_t *saved = s->saved ? s->saved + (ptrdiff_t)phase * s->step->n_state : NULL;
  if (!alive) {
    /* The outputs of a catch-up are the stage's own, then the state of the next hop. */
    const int32_t own = h->n_out - s->step->n_state;
    GS(hops)(h, window, 0, 1, PLAN->passed);
    uint8_t *state = saved ? saved : s->step->state;
    for (int32_t i = 0; i < s->step->n_state; i++) state[i] = (uint8_t)PLAN->passed[own + i] ^ 0x80;
    now.alive[k] |= (uint32_t)1 << phase;
    return 1;
  }
  if (saved) memcpy(s->step->state, saved, (size_t)s->step->n_state);
  GS(hops)(h, window + (ptrdiff_t)(s->window - s->fresh) * s->row, 0, 1, PLAN->passed);
  if (saved) memcpy(saved, s->step->state, (size_t)s->step->n_state);
  return 0;
}

/* Append the frames that a stage passes to the window of the next one, and return that window. */
static const int8_t *pass_frames(int32_t k, int32_t phase, int caught_up) {
  const gs_stage *next = PLAN->stages + k + 1;
  const int32_t count = (caught_up || !next->step ? next->window : next->fresh) * next->row;
  const int32_t whole = next->window * next->row;
  int8_t *window = next->frames + (ptrdiff_t)phase * whole;
  memmove(window, window + count, (size_t)(whole - count));
  for (int32_t i = 0; i < count; i++) {
    const int8_t value = PLAN->passed[i];
    window[whole - count + i] = next->table ? next->table[value + 128] : value;
  }
  return window;
}

/* Run the exit of a gate on the window of the stage behind the gate, of count values. */
static void run_exit(const gs_exit *exit, const int8_t *window, int32_t count) {
  for (int32_t i = 0; exit->table && i < count; i++) PLAN->leaving[i] = exit->table[window[i] + 128];
  GS(hops)(exit->program, exit->table ? PLAN->leaving : window, 0, 1, PLAN->passed);
}

/* Run the stages as far as their gates let them. If the last one ran, or an exit, PLAN->passed holds the outputs for the
   classes; return the powers of these outputs. Return NULL if a gate without an exit stopped the hop. */
static const float *run_stages(int64_t hop) {
  const int32_t phase = (int32_t)(hop % PLAN->phases);
  const int8_t *window = PLAN->frontend->window;
  for (int32_t k = 0; k < PLAN->n_stages; k++) {
    const gs_stage *s = PLAN->stages + k;
    if (!(now.open >> k & 1)) gatesearch_on_stage(k, 1);
    now.open |= (uint32_t)1 << k;
    const int caught_up = run_program(k, phase, window);
    if (caught_up < 0) {
      close_stages(k);
      return NULL;
    }
    now.activity.last_stage = k;
    if (caught_up) now.activity.caught_up |= (uint32_t)1 << k;
    if (!s->gate) return PLAN->powers;
    const gs_stage *next = s + 1;
    const int32_t passed = (caught_up || !next->step ? next->window : next->fresh) * next->row;
    const gs_logit *g = s->gate;
    const float logit = g->scale * (float)(PLAN->passed[passed] - g->zero);
    const int is_open = push_score(&g->gate, now.gates + k, g->center + ((double)logit - 3.0) * g->half_width / 3.0);
    window = pass_frames(k, phase, caught_up);
    if (!is_open) {
      close_stages(k + 1);
      if (!g->exit) return NULL;
      run_exit(g->exit, window, next->window * next->row);
      return g->exit->powers;
    }
  }
  return NULL;
}

/* Write to out the posterior of each positive class: its power divided by the sum of the powers of all classes. If there
   are no powers, because a gate stopped the hop, all posteriors are 0. */
static void read_outputs(double *out, const float *powers) {
  const gs_detector *d = PLAN->detector;
  const int8_t *logits = PLAN->passed;
  float sum = 0.0f;
  int8_t largest = logits[0];
  for (int32_t c = 1; c < d->classes && powers; c++) largest = GS_MAX(largest, logits[c]);
  for (int32_t c = 0; c < d->classes && powers; c++) sum += powers[largest - logits[c]];
  for (int32_t p = 0; p < d->positives; p++) {
    out[p] = powers ? (double)(powers[largest - logits[d->columns[p]]] / sum) : 0.0;
  }
}

/* Add the posteriors of a hop to the detector, and return whether it detects a class at this hop. powers is what
   run_stages returned. */
static int detect(int64_t hop, const float *powers, gs_detection *detection) {
  const gs_detector *d = PLAN->detector;
  const int32_t n = d->positives;
  double *output = d->outputs + (d->smoothing - 1) * n, *smoothed = d->smoothed + (d->hits - 1) * n;
  int32_t winner = -1;
  double best = 0.0;
  memmove(d->outputs, d->outputs + n, (size_t)((d->smoothing - 1) * n) * sizeof(double));
  memmove(d->smoothed, d->smoothed + n, (size_t)((d->hits - 1) * n) * sizeof(double));
  read_outputs(output, powers);
  for (int32_t p = 0; p < n; p++) {
    double total = d->outputs[p], least;
    for (int32_t i = 1; i < d->smoothing; i++) total += d->outputs[i * n + p];
    smoothed[p] = least = total / (double)d->smoothing;
    for (int32_t i = 0; i < d->hits - 1; i++) least = GS_MIN(least, d->smoothed[i * n + p]);
    if (least > d->thresholds[p] && (winner < 0 || least > best)) winner = p, best = least;
  }
  if (winner < 0 || hop < now.next_hop) return 0;
  now.next_hop = hop + d->refractory;
  detection->label = d->columns[winner];
  detection->confidence = (float)best;
  detection->hop = hop;
  return 1;
}

/* Copy the samples of a hop to the ring. */
static void keep_samples(const int16_t *samples) {
  const int32_t first = GS_MIN(PLAN->hop, PLAN->ring_size - now.at);
  memcpy(PLAN->ring + now.at, samples, (size_t)first * sizeof(int16_t));
  memcpy(PLAN->ring, samples + first, (size_t)(PLAN->hop - first) * sizeof(int16_t));
  now.at = (now.at + PLAN->hop) % PLAN->ring_size;
  now.read += PLAN->hop;
}

/* Return the number of the newest hop whose window is complete; it is negative before the first window. The division
   rounds down, because a window need not be a whole number of hops. */
static int64_t last_hop(void) {
  const int64_t samples = now.read - PLAN->window;
  return (samples - (samples < 0 ? PLAN->hop - 1 : 0)) / PLAN->hop;
}

/* Copy the newest samples, from sample number first on, from the ring to the backlog. */
static void keep_backlog(int64_t first) {
  int32_t n = (int32_t)(now.read - first), from = (int32_t)(first % PLAN->ring_size), to = (int32_t)(first % PLAN->window);
  while (n > 0) {
    const int32_t count = GS_MIN(n, GS_MIN(PLAN->ring_size - from, PLAN->window - to));
    memcpy(PLAN->backlog + to, PLAN->ring + from, (size_t)count * sizeof(int16_t));
    n -= count, from += count, to += count;
    if (from == PLAN->ring_size) from = 0;
    if (to == PLAN->window) to = 0;
  }
}

/* Give the memory of the stages to samples, because the gate on the signal has closed. The ring holds all samples that
   the front end has not read yet. */
static void start_waiting(void) {
  if (!PLAN->backlog || now.waiting) return;
  now.waiting = 1;
  keep_backlog(now.read - PLAN->ring_size);
}

/* Give the memory back to the stages; the front end has read the samples. */
static void stop_waiting(void) {
  if (!now.waiting) return;
  now.waiting = 0;
  fill_arena();
}

int gatesearch_process(const int16_t *samples, gs_detection *detection) {
  int64_t statistic = 0;
  const float *powers = NULL;
  gs_detection unread;
  if (!detection) detection = &unread;
  detection->label = -1, detection->confidence = 0.0f, detection->hop = -1;
  if (!now.ready || !samples) return -1;
  keep_samples(samples);
  if (now.waiting) keep_backlog(now.read - PLAN->hop);
  now.activity.last_stage = GS_WAITING, now.activity.caught_up = 0;
  if (PLAN->level) statistic = GS(level)(PLAN->level, samples, PLAN->hop);
  const int is_steady = !PLAN->signal && PLAN->frontend->step;
  if (is_steady) run_frontend(last_hop());
  if (now.read < PLAN->window) return 0;
  const int64_t hop = now.hop++;
  now.activity.last_stage = GS_SIGNAL;
  if (PLAN->signal && !push_score(PLAN->signal, &now.signal, (double)statistic)) {
    close_stages(0);
    start_waiting();
  } else {
    if (!is_steady) run_frontend(hop);
    stop_waiting();
    powers = run_stages(hop);
  }
  return detect(hop, powers, detection);
}
