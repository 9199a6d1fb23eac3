/* Vectors and products of bytes on AVX2; simd.h explains the names. */
#ifndef GS_SIMD_AVX2_H
#define GS_SIMD_AVX2_H

#include <immintrin.h>

#include "gs.h"

#define GS_LANES 8
#define GS_OFFSET 0
#define GS_ROWS 4
#define GS_COLUMNS 1
typedef __m256 gs_vf;
typedef __m256i gs_vi;
/* The four bytes of each lane as int16: bytes 0 and 2 in even, 1 and 3 in odd. Products of int16 are summed in int32.
   The instruction for products of bytes, vpmaddubsw, would sum the products in int16 and saturate. */
typedef struct {
  __m256i even, odd;
} gs_quad;
typedef gs_quad gs_weights;
GS_INLINE gs_vf gs_load_f(const float *p) { return _mm256_loadu_ps(p); }
GS_INLINE void gs_store_f(float *p, gs_vf v) { _mm256_storeu_ps(p, v); }
GS_INLINE gs_vf gs_zero_f(void) { return _mm256_setzero_ps(); }
GS_INLINE gs_vf gs_set_f(float x) { return _mm256_set1_ps(x); }
GS_INLINE gs_vf gs_fma(gs_vf acc, gs_vf a, gs_vf b) { return _mm256_fmadd_ps(a, b, acc); }
GS_INLINE gs_vf gs_max(gs_vf a, gs_vf b) { return _mm256_max_ps(a, b); }
GS_INLINE gs_vf gs_min(gs_vf a, gs_vf b) { return _mm256_min_ps(a, b); }
GS_INLINE gs_vf gs_real(const int32_t *p) { return _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)p)); }
GS_INLINE void gs_store_i(int32_t *p, gs_vi v) { _mm256_storeu_si256((__m256i *)p, v); }
GS_INLINE gs_vi gs_zero_i(void) { return _mm256_setzero_si256(); }
GS_INLINE gs_quad gs_load_quad(const uint8_t *p) {
  int32_t four;
  memcpy(&four, p, 4);
  __m256i all = _mm256_set1_epi32(four);
  return (gs_quad){_mm256_and_si256(all, _mm256_set1_epi16(255)), _mm256_srli_epi16(all, 8)};
}
GS_INLINE gs_weights gs_load_weights(const int8_t *p) {
  __m256i all = _mm256_loadu_si256((const __m256i *)p);
  return (gs_weights){_mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8), _mm256_srai_epi16(all, 8)};
}
GS_INLINE gs_vi gs_dot(gs_vi acc, gs_quad a, gs_weights w) {
  acc = _mm256_add_epi32(acc, _mm256_madd_epi16(a.even, w.even));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(a.odd, w.odd));
}

#endif
