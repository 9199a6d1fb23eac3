/* Loops that run at the limits of a processor: products of values in registers, and reading memory.

   The times of kernels are compared with the rates of these loops; no kernel calls them. */
#include "kernels.h"
#include "simd.h"

enum { CHAINS = 12 }; /* number of independent sums, so that an addition need not wait for the one before */

/* Run a number of rounds of multiply-accumulates of bytes; peak_size says how many are in a round. Each sum starts from
   a different value, because the compiler would merge equal sums. */
int32_t GS(peak_u8)(int rounds, const uint8_t *x, const int8_t *w) {
  gs_vi acc[CHAINS];
  const gs_quad a = gs_load_quad(x);
  const gs_weights b = gs_load_weights(w);
  int32_t out[GS_BLOCK], sum = 0;
  GS_UNROLL for (int k = 0; k < CHAINS; k++) acc[k] = gs_dot(gs_zero_i(), gs_load_quad(x + 4 * k), b);
  for (int i = 0; i < rounds; i++) {
    GS_UNROLL for (int k = 0; k < CHAINS; k++) acc[k] = gs_dot(acc[k], a, b);
  }
  GS_UNROLL for (int k = 0; k < CHAINS; k++) {
    gs_store_i(out, acc[k]);
    sum += out[0];
  }
  return sum;
}

/* Run a number of rounds of multiply-accumulates of floats; peak_size says how many are in a round. */
float GS(peak_f32)(int rounds, const float *x, const float *w) {
  gs_vf acc[CHAINS];
  const gs_vf a = gs_load_f(x), b = gs_load_f(w);
  float out[GS_BLOCK], sum = 0;
  GS_UNROLL for (int k = 0; k < CHAINS; k++) acc[k] = gs_set_f(x[k]);
  for (int i = 0; i < rounds; i++) {
    GS_UNROLL for (int k = 0; k < CHAINS; k++) acc[k] = gs_fma(acc[k], a, b);
  }
  GS_UNROLL for (int k = 0; k < CHAINS; k++) {
    gs_store_f(out, acc[k]);
    sum += out[0];
  }
  return sum;
}

/* Write the numbers of multiply-accumulates in one round to sizes: first of bytes, then of floats. */
void GS(peak_size)(int32_t *sizes) {
  sizes[0] = CHAINS * GS_LANES_I * 4;
  sizes[1] = CHAINS * GS_LANES;
}

/* Read all n values in each round; n is a multiple of 64. */
float GS(peak_read)(const float *x, int n, int rounds) {
  gs_vf acc[4];
  float out[GS_BLOCK];
  GS_UNROLL for (int k = 0; k < 4; k++) acc[k] = gs_zero_f();
  for (int round = 0; round < rounds; round++) {
    for (int i = 0; i < n; i += 4 * GS_LANES) {
      GS_UNROLL for (int k = 0; k < 4; k++) acc[k] = gs_max(acc[k], gs_load_f(x + i + k * GS_LANES));
    }
    __asm__ volatile("" : : : "memory"); /* forces the program to read the memory again in the next round */
  }
  gs_store_f(out, gs_max(gs_max(acc[0], acc[1]), gs_max(acc[2], acc[3])));
  return out[0];
}
