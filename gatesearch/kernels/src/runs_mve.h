/* The functions of precision gating on MVE; simd_runs.h says what they compute. */
#ifndef GS_RUNS_MVE_H
#define GS_RUNS_MVE_H

#include <arm_mve.h>

#include "gs.h"

typedef struct {
  int32_t lanes[4];
} gs_runs;

/* VMLADAV multiplies pairs of unsigned bytes. So the weights become w + 128, and 128 times the sum of a is subtracted.
   Sums wrap around at 2^32, but the results fit into 32 bits. */
GS_INLINE void gs_run(const int n, gs_runs *acc, const uint8_t *a, const int8_t *const *w, ptrdiff_t at, int length) {
  uint32_t sum[4], values = 0;
  const int8_t *row[4];
  GS_UNROLL for (int i = 0; i < n; i++) sum[i] = (uint32_t)acc->lanes[i], row[i] = w[i] + at;
  for (; length > 0; length -= 16, a += 16) {
    const uint8x16_t value = vldrbq_u8(a);
    values = vaddvaq_u8(values, value);
    GS_UNROLL for (int i = 0; i < n; i++) {
      const uint8x16_t weight = vaddq_n_u8(vldrbq_u8((const uint8_t *)row[i]), 128);
      sum[i] = vmladavaq_u8(sum[i], value, weight);
      row[i] += 16;
    }
  }
  GS_UNROLL for (int i = 0; i < n; i++) acc->lanes[i] = (int32_t)(sum[i] - 128 * values);
}

GS_INLINE void gs_run_sums(const gs_runs *acc, int32_t *out) { memcpy(out, acc->lanes, sizeof(acc->lanes)); }

GS_INLINE void gs_block_sums(const int32_t *blocks, int stride, int n, int32_t *out) {
  for (int i = 0; i < n; i++, blocks += stride) {
    int32_t sum = vaddvq_s32(vldrwq_s32(blocks));
    GS_UNROLL for (int k = 4; k < GS_BLOCK; k += 4) sum = vaddvaq_s32(sum, vldrwq_s32(blocks + k));
    out[i] = sum;
  }
}

/* A comparison of four values returns 16 bits, four equal ones for each value. The mask leaves one bit for each value
   i, bit 4 i. The multiplication by 0x1248 moves it to bit 12 + i: bit 4 i times 2^(12 - 3 i) is bit 12 + i. The other
   terms of the product are other bits, all different, so that nothing is carried. */
GS_INLINE unsigned gs_greater(const int32_t *a, const int32_t *b) {
  unsigned bits = 0;
  GS_UNROLL for (int k = 0; k < GS_BLOCK; k += 4) {
    const unsigned four = vcmpgtq_s32(vldrwq_s32(a + k), vldrwq_s32(b + k)) & 0x1111u;
    bits |= (four * 0x1248u >> 12 & 15u) << k;
  }
  return bits;
}

#endif
