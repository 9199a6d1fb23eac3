/* Vectors of floats in plain C, and products of bytes one sum at a time, for any core; simd.h explains the names. */
#ifndef GS_SIMD_C_H
#define GS_SIMD_C_H

#include "simd_floats.h"

#define GS_LANES_I 1
#define GS_OFFSET 0
#define GS_ROWS 2
#define GS_COLUMNS 1
typedef int32_t gs_vi;
GS_INLINE void gs_store_i(int32_t *p, gs_vi v) { *p = v; }
GS_INLINE gs_vi gs_zero_i(void) { return 0; }
typedef const uint8_t *gs_quad;
typedef const int8_t *gs_weights;
GS_INLINE gs_quad gs_load_quad(const uint8_t *p) { return p; }
GS_INLINE gs_weights gs_load_weights(const int8_t *p) { return p; }
GS_INLINE gs_vi gs_dot(gs_vi acc, gs_quad a, gs_weights w) {
  return acc + a[0] * w[0] + a[1] * w[1] + a[2] * w[2] + a[3] * w[3];
}

#endif
