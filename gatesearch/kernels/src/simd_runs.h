/* The functions of precision gating for sets that have no versions of their own; simd.h includes this file. */
#ifndef GS_SIMD_RUNS_H
#define GS_SIMD_RUNS_H

#include "gs.h"

#ifndef GS_HAS_RUNS
typedef struct {
  int32_t lanes[4]; /* one dot product for each of four outputs */
} gs_runs;
/* Add to acc the dot products of length bytes, from a, with n rows of weights. Row i starts at w[i] + at. length is a
   multiple of 16; n is at most 4. */
GS_INLINE void gs_run(const int n, gs_runs *acc, const uint8_t *a, const int8_t *const *w, ptrdiff_t at, int length) {
  for (int i = 0; i < n; i++) {
    int32_t sum = 0;
    for (int k = 0; k < length; k++) sum += a[k] * w[i][at + k];
    acc->lanes[i] += sum;
  }
}
/* Write the four dot products to out. */
GS_INLINE void gs_run_sums(const gs_runs *acc, int32_t *out) { memcpy(out, acc->lanes, sizeof(acc->lanes)); }
/* Write to out the sum of each of n blocks of 16 values. Each block starts stride values after the block before it. */
GS_INLINE void gs_block_sums(const int32_t *blocks, int stride, int n, int32_t *out) {
  for (int i = 0; i < n; i++) {
    out[i] = 0;
    for (int k = 0; k < GS_BLOCK; k++) out[i] += blocks[i * stride + k];
  }
}
/* Return 16 bits: bit k is 1 where a[k] > b[k]. */
GS_INLINE unsigned gs_greater(const int32_t *a, const int32_t *b) {
  unsigned bits = 0;
  for (int k = 0; k < GS_BLOCK; k++) bits |= (unsigned)(a[k] > b[k]) << k;
  return bits;
}
#endif

#ifndef GS_HAS_LIST
/* List the indices of the values that are greater than a limit, and return the number of indices. list has room for
   n + 16 indices. */
GS_INLINE int gs_list_greater(const int32_t *values, int n, int32_t limit, int32_t *list) {
  int count = 0;
  for (int i = 0; i < n; i++) {
    list[count] = i; /* always written, but counted only if the value is greater: so no branch can be mispredicted */
    count += values[i] > limit;
  }
  return count;
}
#endif

#endif
