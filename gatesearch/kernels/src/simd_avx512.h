/* Vectors and products of bytes on AVX-512 with VNNI; simd.h explains the names. */
#ifndef GS_SIMD_AVX512_H
#define GS_SIMD_AVX512_H

#include <immintrin.h>

#include "gs.h"

#define GS_LANES 16
#define GS_OFFSET 0
#define GS_ROWS 8
#define GS_COLUMNS 3
typedef __m512 gs_vf;
typedef __m512i gs_vi, gs_quad, gs_weights;
GS_INLINE gs_vf gs_load_f(const float *p) { return _mm512_loadu_ps(p); }
GS_INLINE void gs_store_f(float *p, gs_vf v) { _mm512_storeu_ps(p, v); }
GS_INLINE gs_vf gs_zero_f(void) { return _mm512_setzero_ps(); }
GS_INLINE gs_vf gs_set_f(float x) { return _mm512_set1_ps(x); }
GS_INLINE gs_vf gs_fma(gs_vf acc, gs_vf a, gs_vf b) { return _mm512_fmadd_ps(a, b, acc); }
GS_INLINE gs_vf gs_max(gs_vf a, gs_vf b) { return _mm512_max_ps(a, b); }
GS_INLINE gs_vf gs_min(gs_vf a, gs_vf b) { return _mm512_min_ps(a, b); }
GS_INLINE gs_vf gs_real(const int32_t *p) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }
GS_INLINE void gs_store_i(int32_t *p, gs_vi v) { _mm512_storeu_si512(p, v); }
GS_INLINE gs_vi gs_zero_i(void) { return _mm512_setzero_si512(); }
GS_INLINE gs_quad gs_load_quad(const uint8_t *p) {
  int32_t four;
  memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}
GS_INLINE gs_weights gs_load_weights(const int8_t *p) { return _mm512_loadu_si512(p); }
GS_INLINE gs_vi gs_dot(gs_vi acc, gs_quad a, gs_weights w) { return _mm512_dpbusd_epi32(acc, a, w); }

/* The functions for precision gating; simd_runs.h says what they compute. */
#define GS_HAS_RUNS
#define GS_HAS_LIST
typedef struct {
  __m512i lanes[4];
} gs_runs;
GS_INLINE void gs_run(const int n, gs_runs *acc, const uint8_t *a, const int8_t *const *w, ptrdiff_t at, int length) {
  for (int k = 0; k < length; k += 64) {
    const __mmask64 valid = length - k >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (length - k)) - 1;
    const __m512i value = _mm512_maskz_loadu_epi8(valid, a + k);
    GS_UNROLL for (int i = 0; i < n; i++) {
      acc->lanes[i] = _mm512_dpbusd_epi32(acc->lanes[i], value, _mm512_maskz_loadu_epi8(valid, w[i] + at + k));
    }
  }
}
/* Return four sums: the sum of all lanes of a, and the same for b, c and d. */
GS_INLINE __m128i gs_four_sums(__m512i a, __m512i b, __m512i c, __m512i d) {
  __m512i low = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  __m512i high = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  __m512i four = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
  __m256i two = _mm256_add_epi32(_mm512_castsi512_si256(four), _mm512_extracti64x4_epi64(four, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
}
GS_INLINE void gs_run_sums(const gs_runs *acc, int32_t *out) {
  const __m512i *v = acc->lanes;
  _mm_storeu_si128((__m128i *)out, gs_four_sums(v[0], v[1], v[2], v[3]));
}
GS_INLINE void gs_block_sums(const int32_t *blocks, int stride, int n, int32_t *out) {
  for (; n >= 4; n -= 4, blocks += 4 * stride, out += 4) {
    const __m512i a = _mm512_loadu_si512(blocks), b = _mm512_loadu_si512(blocks + stride);
    const __m512i c = _mm512_loadu_si512(blocks + 2 * stride), d = _mm512_loadu_si512(blocks + 3 * stride);
    _mm_storeu_si128((__m128i *)out, gs_four_sums(a, b, c, d));
  }
  for (int i = 0; i < n; i++) out[i] = _mm512_reduce_add_epi32(_mm512_loadu_si512(blocks + i * stride));
}
GS_INLINE unsigned gs_greater(const int32_t *a, const int32_t *b) {
  return _mm512_cmpgt_epi32_mask(_mm512_loadu_si512(a), _mm512_loadu_si512(b));
}
GS_INLINE int gs_list_greater(const int32_t *values, int n, int32_t limit, int32_t *list) {
  __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  int count = 0;
  for (int i = 0; i < n; i += 16, at = _mm512_add_epi32(at, _mm512_set1_epi32(16))) {
    const __mmask16 valid = n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
    const __m512i value = _mm512_maskz_loadu_epi32(valid, values + i);
    const __mmask16 greater = _mm512_mask_cmpgt_epi32_mask(valid, value, _mm512_set1_epi32(limit));
    _mm512_storeu_si512(list + count, _mm512_maskz_compress_epi32(greater, at));
    count += __builtin_popcount(greater);
  }
  return count;
}

#endif
