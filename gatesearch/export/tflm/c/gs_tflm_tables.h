/* The tables in which gs_tflm_plan.cc describes the programs of later cores to gs_tflm.cc. */
#ifndef GS_TFLM_TABLES_H
#define GS_TFLM_TABLES_H

#include <cstddef>
#include <cstdint>

/* An int8 input or output: its position among those of the model, and its bytes. */
struct gs_tflm_tensor {
  int32_t position;
  size_t bytes;
};

/* A program. Inputs are the frames, then the state. The first `own` outputs are those of the stage; the next state
   follows. */
struct gs_tflm_program {
  const char *name;
  const unsigned char *model;
  uint8_t *arena;
  size_t arena_bytes;
  int32_t n_in;
  const gs_tflm_tensor *in;
  int32_t n_out;
  const gs_tflm_tensor *out;
  int32_t own;
};

/* A stage: the indices of the program that reads a whole window, and of the one that reads the new frames of a hop (-1:
   the stage has none). state holds what the model keeps from hop to hop, for each phase. */
struct gs_tflm_stage {
  int32_t number, core, phases;
  int32_t catch_up, step;
  int8_t *state;
  size_t state_bytes;
};

#endif
