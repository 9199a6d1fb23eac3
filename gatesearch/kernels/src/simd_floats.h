/* Vectors of four floats in plain C, which the compiler maps to the core; simd.h explains the names. */
#ifndef GS_SIMD_FLOATS_H
#define GS_SIMD_FLOATS_H

#include "gs.h"

#define GS_LANES 4
typedef float gs_vf __attribute__((vector_size(16)));
GS_INLINE gs_vf gs_load_f(const float *p) {
  gs_vf v;
  memcpy(&v, p, sizeof(v));
  return v;
}
GS_INLINE void gs_store_f(float *p, gs_vf v) { memcpy(p, &v, sizeof(v)); }
GS_INLINE gs_vf gs_zero_f(void) { return (gs_vf){0, 0, 0, 0}; }
GS_INLINE gs_vf gs_set_f(float x) { return (gs_vf){x, x, x, x}; }
GS_INLINE gs_vf gs_fma(gs_vf acc, gs_vf a, gs_vf b) { return acc + a * b; }
GS_INLINE gs_vf gs_max(gs_vf a, gs_vf b) {
  for (int i = 0; i < GS_LANES; i++) a[i] = a[i] > b[i] ? a[i] : b[i];
  return a;
}
GS_INLINE gs_vf gs_min(gs_vf a, gs_vf b) {
  for (int i = 0; i < GS_LANES; i++) a[i] = a[i] < b[i] ? a[i] : b[i];
  return a;
}
GS_INLINE gs_vf gs_real(const int32_t *p) { return (gs_vf){(float)p[0], (float)p[1], (float)p[2], (float)p[3]}; }

#endif
