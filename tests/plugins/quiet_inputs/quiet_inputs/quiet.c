/* A linear layer that leaves out inputs with a magnitude below a limit, in float32. Each remaining input adds a column
   of the weights. kernel.py calls it.

   y [rows][height] = act(x [rows][columns] W + bias), where W is [columns][height]. */
#ifndef GS_KIT
#include "kernels.h"

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

#else /* functions for kits, which time the kernel on boards */
#include "kit.h"

void GS(quiet_f32)(const float *x, int rows, int columns, int height, float limit, const float *weights,
                   const float *bias, int relu, float *y);

/* Prepares a call: the share of inputs that the call reads is 1, and the others are 0, below the limit. */
static void prepare_quiet(gs_call *k) {
  const int32_t *s = k->row->shape;
  float *x = reserve((size_t)s[0] * s[1] * sizeof(float));
  for (int i = 0; x && i < s[0] * s[1]; i++) x[i] = (i % s[1]) * 1000 < s[1] * k->row->share[0];
  k->x = x;
  k->w = reals(s[1] * s[2]);
  k->bias = reals(s[2]);
  k->y = reserve((size_t)s[0] * s[2] * sizeof(float));
}

/* Makes the call. */
GS_INLINE void run_quiet(gs_call *k) {
  const int32_t *s = k->row->shape;
  GS(quiet_f32)(k->x, s[0], s[1], s[2], 0.5f, k->w, k->bias, 0, k->y);
}
#endif
