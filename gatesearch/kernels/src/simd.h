/* Vectors and products of bytes, under common names, for each instruction set.

   The compiler's flags select one section of this file: AVX-512 with VNNI, AVX2, Neon, MVE (Cortex-M55), or plain C. In
   plain C, a Cortex-M4 multiplies bytes with SMLAD. With GS_PORTABLE defined, Arm cores run plain C alone. A vector
   holds GS_LANES floats or GS_LANES_I int32. Each section defines
     gs_vf, gs_vi          a vector of floats, and of int32, with functions such as gs_load_f and gs_fma (acc + a b)
     gs_quad, gs_weights   the same four bytes of an input in each lane, and four weights for each lane
     gs_dot(acc, a, w)     adds to each lane the exact sum of four products (a - GS_OFFSET) w. GS_OFFSET is 128 for sets
                           that multiply only signed bytes, else 0; kernels correct their sums for the offset
     GS_ROWS, GS_COLUMNS   output pixels, and blocks of 16 channels, of the largest tile whose sums stay in registers

   The functions gs_run, gs_run_sums, gs_block_sums, gs_greater and gs_list_greater serve precision gating. AVX-512 has
   its own versions. The other sets share the versions at the end of the file, where comments say what they compute. */
#ifndef GS_SIMD_H
#define GS_SIMD_H

#include "gs.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
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

/* The functions for precision gating on AVX-512; their counterparts for other sets are at the end of this file. */
#define GS_HAS_RUNS
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

#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
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

#elif defined(__ARM_NEON) && defined(__aarch64__) && !defined(GS_PORTABLE)
#include <arm_neon.h>
#define GS_LANES 4
#define GS_OFFSET 128
#define GS_ROWS 6
#define GS_COLUMNS 1
typedef float32x4_t gs_vf;
typedef int32x4_t gs_vi;
typedef int8x16_t gs_quad, gs_weights;
GS_INLINE gs_vf gs_load_f(const float *p) { return vld1q_f32(p); }
GS_INLINE void gs_store_f(float *p, gs_vf v) { vst1q_f32(p, v); }
GS_INLINE gs_vf gs_zero_f(void) { return vdupq_n_f32(0); }
GS_INLINE gs_vf gs_set_f(float x) { return vdupq_n_f32(x); }
GS_INLINE gs_vf gs_fma(gs_vf acc, gs_vf a, gs_vf b) { return vfmaq_f32(acc, a, b); }
GS_INLINE gs_vf gs_max(gs_vf a, gs_vf b) { return vmaxnmq_f32(a, b); }
GS_INLINE gs_vf gs_min(gs_vf a, gs_vf b) { return vminnmq_f32(a, b); }
GS_INLINE gs_vf gs_real(const int32_t *p) { return vcvtq_f32_s32(vld1q_s32(p)); }
GS_INLINE void gs_store_i(int32_t *p, gs_vi v) { vst1q_s32(p, v); }
GS_INLINE gs_vi gs_zero_i(void) { return vdupq_n_s32(0); }
GS_INLINE gs_quad gs_load_quad(const uint8_t *p) {
  uint32_t four;
  memcpy(&four, p, 4);
  return vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u));
}
GS_INLINE gs_weights gs_load_weights(const int8_t *p) { return vld1q_s8(p); }
#if defined(__ARM_FEATURE_DOTPROD)
GS_INLINE gs_vi gs_dot(gs_vi acc, gs_quad a, gs_weights w) { return vdotq_s32(acc, w, a); }
#else
GS_INLINE gs_vi gs_dot(gs_vi acc, gs_quad a, gs_weights w) {
  int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(w)));
  int32x4_t high = vpaddlq_s16(vmull_s8(vget_high_s8(a), vget_high_s8(w)));
  return vaddq_s32(acc, vpaddq_s32(low, high));
}
#endif

#elif defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2) && !defined(GS_PORTABLE) /* Cortex-M55 */
#include <arm_mve.h>
#define GS_LANES 4
#define GS_OFFSET 128
#define GS_ROWS 1 /* the sums of one row take four of the eight registers */
#define GS_COLUMNS 1
typedef float32x4_t gs_vf;
typedef int32x4_t gs_vi;
typedef int8x16_t gs_quad, gs_weights;
GS_INLINE gs_vf gs_load_f(const float *p) { return vldrwq_f32(p); }
GS_INLINE void gs_store_f(float *p, gs_vf v) { vstrwq_f32(p, v); }
GS_INLINE gs_vf gs_zero_f(void) { return vdupq_n_f32(0); }
GS_INLINE gs_vf gs_set_f(float x) { return vdupq_n_f32(x); }
GS_INLINE gs_vf gs_fma(gs_vf acc, gs_vf a, gs_vf b) { return vfmaq_f32(acc, a, b); }
GS_INLINE gs_vf gs_max(gs_vf a, gs_vf b) { return vmaxnmq_f32(a, b); }
GS_INLINE gs_vf gs_min(gs_vf a, gs_vf b) { return vminnmq_f32(a, b); }
GS_INLINE gs_vf gs_real(const int32_t *p) { return vcvtq_f32_s32(vldrwq_s32(p)); }
GS_INLINE void gs_store_i(int32_t *p, gs_vi v) { vstrwq_s32(p, v); }
GS_INLINE gs_vi gs_zero_i(void) { return vdupq_n_s32(0); }
GS_INLINE gs_quad gs_load_quad(const uint8_t *p) {
  uint32_t four;
  memcpy(&four, p, 4);
  return vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u));
}
GS_INLINE gs_weights gs_load_weights(const int8_t *p) { return vldrbq_s8(p); }
/* An int16 holds the sum of two products of bytes, at most 2 x 128 x 127. Neighbouring sums are then added in int32. */
GS_INLINE gs_vi gs_dot(gs_vi acc, gs_quad a, gs_weights w) {
  const int16x8_t two = vaddq_s16(vmullbq_int_s8(a, w), vmulltq_int_s8(a, w));
  acc = vaddq_s32(acc, vaddq_s32(vmovlbq_s16(two), vmovltq_s16(two)));
  __asm__("" : "+w"(acc)); /* makes the compiler add at once; if it added later, it would need more than 8 registers */
  return acc;
}

#else /* any core, in plain C: vectors of four floats, which the compiler maps to the core, and one int32 at a time */
#define GS_LANES 4
#define GS_LANES_I 1
#define GS_OFFSET 0
#define GS_ROWS 2
#define GS_COLUMNS 1
typedef float gs_vf __attribute__((vector_size(16)));
typedef int32_t gs_vi;
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
GS_INLINE void gs_store_i(int32_t *p, gs_vi v) { *p = v; }
GS_INLINE gs_vi gs_zero_i(void) { return 0; }
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && !defined(GS_PORTABLE) /* Cortex-M4: SMLAD */
#include <arm_acle.h>
typedef struct {
  int16x2_t even, odd;
} gs_quad;
typedef uint32_t gs_weights;
GS_INLINE gs_quad gs_load_quad(const uint8_t *p) {
  uint32_t four;
  memcpy(&four, p, 4);
  return (gs_quad){(int16x2_t)__uxtb16(four), (int16x2_t)__uxtb16(four >> 8)};
}
GS_INLINE gs_weights gs_load_weights(const int8_t *p) {
  uint32_t four;
  memcpy(&four, p, 4);
  return four;
}
GS_INLINE gs_vi gs_dot(gs_vi acc, gs_quad a, gs_weights w) {
  acc = __smlad((int16x2_t)__sxtb16(w), a.even, acc);
  return __smlad((int16x2_t)__sxtb16((w >> 8) | (w << 24)), a.odd, acc);
}
#else
typedef const uint8_t *gs_quad;
typedef const int8_t *gs_weights;
GS_INLINE gs_quad gs_load_quad(const uint8_t *p) { return p; }
GS_INLINE gs_weights gs_load_weights(const int8_t *p) { return p; }
GS_INLINE gs_vi gs_dot(gs_vi acc, gs_quad a, gs_weights w) {
  return acc + a[0] * w[0] + a[1] * w[1] + a[2] * w[2] + a[3] * w[3];
}
#endif
#endif

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

#ifndef GS_LANES_I
#define GS_LANES_I GS_LANES
#endif
#define GS_VECTORS (GS_BLOCK / GS_LANES)
#define GS_VECTORS_I (GS_BLOCK / GS_LANES_I)
#define GS_MOST_COLUMNS (GS_ROWS > 2 ? 4 : 1) /* most columns of a tile with a single row */

#endif
