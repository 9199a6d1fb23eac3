/* The later cores of a plan in TensorFlow Lite Micro: init once, then run a stage for each hop that reaches it.

   The firmware (gatesearch.h) reads sound, decides which stages run and detects words. It asks gatesearch_run_stage for
   each stage; gs_tflm.cc defines that function, and answers with gs_tflm_run. Call gs_tflm_init() before
   gatesearch_init(). Nothing is allocated; one thread calls all functions.

   With GS_TFLM_OWN_CALLS defined, gs_tflm.cc leaves gatesearch_run_stage and gatesearch_on_stage to you. Use this where
   the later core has a program of its own: send the arguments there, and call gs_tflm_run and gs_tflm_on_stage. */
#ifndef GS_TFLM_H
#define GS_TFLM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Load the models. Returns 0, or -1 if a model does not load; gs_tflm_fault() then names it. The firmware's own kernels
   then run every stage. */
int gs_tflm_init(void);

/* Return the name of the model that failed, or what else was wrong; an empty text if nothing was. */
const char *gs_tflm_fault(void);

/* Run a stage; the arguments are those of gatesearch_run_stage.

   Returns 1 if it wrote the outputs, 0 if the stage is none of this folder, and -1 for an error, after which it runs no
   stage until gs_tflm_init() is called again. */
int gs_tflm_run(int stage, int phase, int begins, const int8_t *input, int8_t *outputs);

/* Tell that a stage opens (1) or closes (0), as gatesearch_on_stage does; this wakes and stops cores. */
void gs_tflm_on_stage(int stage, int opens);

/* Switch a core (GS_TFLM_CORE_... in gs_tflm_plan.h) on or off. Define a function of this name; the library's own does
   nothing.

   on = 1: called before the first gs_tflm_run of a stage of the core. Return when the core or the NPU can run: clock and
           power are on, and for an Ethos-U its driver is initialised (ethosu_init).
   on = 0: called after the last stage of the core has closed. The core may lose its own state; the arenas and states of
           this library have to keep their contents. */
void gs_tflm_power(int core, int on);

#ifdef __cplusplus
}
#endif
#endif
