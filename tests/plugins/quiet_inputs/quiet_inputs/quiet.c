/* A linear layer in float32 that leaves out inputs with a magnitude below a limit.

     y [rows][height] = act(x [rows][columns] W + bias)        W is [columns][height]
   Each input that is not left out adds a row of W, times its value, to y. act is a ReLU or the identity. kernel.py
   calls quiet_f32. With GS_KIT defined, the file instead holds prepare_quiet and run_quiet, for a program that times
   kernels on a board (kit.h of gatesearch). */
#ifndef GS_KIT
#include "kernels.h"

/* Compute the layer. */
void GS(quiet_f32)(const float *x, int rows, int columns, int height, float limit, const float *weights,
                   const float *bias, int relu, float *y) {
  for (int row = 0; row < rows; row++, x += columns, y += height) {
    for (int i = 0; i < height; i++) y[i] = bias[i];
    for (int column = 0; column < columns; column++) {
      const float value = x[column];
      if (value < limit && value > -limit) continue;
      for (int i = 0; i < height; i++) y[i] += value * weights[(size_t)column * height + i];
    }
    for (int i = 0; relu && i < height; i++) y[i] = y[i] > 0 ? y[i] : 0;
  }
}

#else /* with GS_KIT: functions for a program that times kernels on a board */
#include "kit.h"

void GS(quiet_f32)(const float *x, int rows, int columns, int height, float limit, const float *weights,
                   const float *bias, int relu, float *y);

/* Prepare a call. The row says which share of the inputs the call reads: these inputs are 1, the others 0, which is
   below the limit. */
static void prepare_quiet(gs_call *k) {
  const int32_t *s = k->row->shape;
  float *x = reserve((size_t)s[0] * s[1] * sizeof(float));
  for (int i = 0; x && i < s[0] * s[1]; i++) x[i] = (i % s[1]) * 1000 < s[1] * k->row->share[0];
  k->x = x;
  k->w = reals(s[1] * s[2]);
  k->bias = reals(s[2]);
  k->y = reserve((size_t)s[0] * s[2] * sizeof(float));
}

/* Run a prepared call. */
GS_INLINE void run_quiet(gs_call *k) {
  const int32_t *s = k->row->shape;
  GS(quiet_f32)(k->x, s[0], s[1], s[2], 0.5f, k->w, k->bias, 0, k->y);
}
#endif
