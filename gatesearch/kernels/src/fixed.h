/* Integers for fixed-point kernels, under common names: one int32 at a time, or four with MVE (Cortex-M55).

     gs_fx               a vector of int32 with GS_FX_LANES lanes; operators such as + and ^ work lane by lane
     gs_wide             a complex value in each lane
     gs_high             a b / 2^32, rounded to the nearest integer; halves are rounded up
     gs_high_add         acc + gs_high(a, b)
     gs_load, gs_store   read or write complex values that follow each other in memory
     gs_store_apart      write complex values that are n values apart: lane l writes p[n l]
     gs_windowed         read pairs of samples as complex values, shift them to the left, and multiply them by the
                         window / 2^16, rounded down; lane l reads the pair at[l]
     gs_load_back        read complex values in the opposite order: lane l reads p[-l]
     gs_next             read complex values that are n values apart, lane l reads p[n l]; add 1 to p
     gs_leading_zeros    the number of leading zeros
     gs_square           a a / 2^32, rounded down
     gs_entry            table[index]
     gs_between          entry + fraction x (the low 16 bits of entry), for unsigned numbers
     gs_left, gs_right   shifts of unsigned values by a number for each lane
     gs_low_product, gs_top_product
                         a x / 2^16, rounded down; x is the int16 in the low or in the high half of a word

   A Cortex-M4 or M33 multiplies with SMMULR, SMMLAR and SMULW. Results are the same on every core. With GS_PORTABLE
   defined, Arm cores run plain C. */
#ifndef GS_FIXED_H
#define GS_FIXED_H

#include "kernels.h"

/* Return the word that holds two int16 values. */
GS_INLINE uint32_t gs_pair(const int16_t *p) {
  uint32_t word;
  memcpy(&word, p, 4);
  return word;
}

#if defined(__ARM_FEATURE_DSP) && !defined(GS_PORTABLE)
#define GS_THREE(name, a, b) __asm__(name " %0, %1, %2" : "=r"(result) : "r"(a), "r"(b))
GS_INLINE int32_t gs_low_product(int32_t a, uint32_t pair) {
  int32_t result;
  GS_THREE("smulwb", a, pair);
  return result;
}
GS_INLINE int32_t gs_top_product(int32_t a, uint32_t pair) {
  int32_t result;
  GS_THREE("smulwt", a, pair);
  return result;
}
#else
GS_INLINE int32_t gs_low_product(int32_t a, uint32_t pair) { return (int32_t)((int64_t)a * (int16_t)pair >> 16); }
GS_INLINE int32_t gs_top_product(int32_t a, uint32_t pair) { return gs_low_product(a, pair >> 16); }
#endif

#if defined(__ARM_FEATURE_MVE) && !defined(GS_PORTABLE)
#include <arm_mve.h>
#define GS_FX_LANES 4
typedef int32x4_t gs_fx;
typedef struct {
  gs_fx re, im;
} gs_wide;
GS_INLINE gs_fx gs_high(gs_fx a, gs_fx b) { return vrmulhq_s32(a, b); }
GS_INLINE gs_fx gs_high_add(gs_fx acc, gs_fx a, gs_fx b) { return vaddq_s32(acc, vrmulhq_s32(a, b)); }
GS_INLINE gs_wide gs_load(const gs_complex *p) {
  const int32x4x2_t v = vld2q_s32(&p->re);
  return (gs_wide){v.val[0], v.val[1]};
}
GS_INLINE void gs_store(gs_complex *p, gs_fx re, gs_fx im) {
  const int32x4x2_t v = {{re, im}};
  vst2q_s32(&p->re, v);
}
GS_INLINE void gs_store_apart(gs_complex *p, int n, gs_fx re, gs_fx im) {
  const uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0, 2), (uint32_t)n);
  vstrwq_scatter_shifted_offset_s32(&p->re, at, re);
  vstrwq_scatter_shifted_offset_s32(&p->im, at, im);
}
GS_INLINE gs_wide gs_windowed(const int16_t *samples, const gs_complex *window, const uint16_t *at, int32_t bits) {
  const uint32x4_t index = vldrhq_u32(at), twice = vshlq_n_u32(index, 1);
  const uint32x4_t pairs = vldrwq_gather_shifted_offset_u32((const uint32_t *)samples, index);
  const gs_fx re = vldrwq_gather_shifted_offset_s32(&window->re, twice);
  const gs_fx im = vldrwq_gather_shifted_offset_s32(&window->im, twice);
  const uint32x4_t low = vshlq_r_u32(pairs, 16 + bits), top = vshlq_r_u32(pairs & 0xffff0000u, bits);
  return (gs_wide){vmulhq_s32(re, (gs_fx)low), vmulhq_s32(im, (gs_fx)top)};
}
GS_INLINE gs_wide gs_next(const gs_complex **p, int n) {
  const uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0, 2), (uint32_t)n);
  const gs_complex *first = (*p)++;
  return (gs_wide){vldrwq_gather_shifted_offset_s32(&first->re, at), vldrwq_gather_shifted_offset_s32(&first->im, at)};
}
GS_INLINE gs_wide gs_load_back(const gs_complex *p) {
  const uint32x4_t at = vddupq_n_u32(6, 2);
  return (gs_wide){vldrwq_gather_shifted_offset_s32(&p[-3].re, at), vldrwq_gather_shifted_offset_s32(&p[-3].im, at)};
}
GS_INLINE void gs_store_values(int32_t *p, gs_fx v) { vstrwq_s32(p, v); }
GS_INLINE gs_fx gs_square(gs_fx a) { return vmulhq_s32(a, a); }
GS_INLINE gs_fx gs_leading_zeros(gs_fx a) { return vclzq_s32(a); }
GS_INLINE gs_fx gs_left(gs_fx a, gs_fx bits) { return vshlq_s32(a, bits); }
GS_INLINE gs_fx gs_right(gs_fx a, gs_fx bits) { return (gs_fx)vshlq_u32((uint32x4_t)a, -bits); }
GS_INLINE gs_fx gs_entry(const uint32_t *table, gs_fx index) {
  return (gs_fx)vldrwq_gather_shifted_offset_u32(table, (uint32x4_t)index);
}
GS_INLINE gs_fx gs_between(gs_fx entry, gs_fx fraction) { return entry + (entry & 0xffff) * fraction; }
#else
#define GS_FX_LANES 1
typedef int32_t gs_fx;
typedef gs_complex gs_wide;
#if defined(GS_THREE)
GS_INLINE gs_fx gs_high(gs_fx a, gs_fx b) {
  gs_fx result;
  GS_THREE("smmulr", a, b);
  return result;
}
GS_INLINE gs_fx gs_high_add(gs_fx acc, gs_fx a, gs_fx b) {
  gs_fx result;
  __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
  return result;
}
#else
GS_INLINE gs_fx gs_high(gs_fx a, gs_fx b) { return (int32_t)(((int64_t)a * b + ((int64_t)1 << 31)) >> 32); }
GS_INLINE gs_fx gs_high_add(gs_fx acc, gs_fx a, gs_fx b) { return acc + gs_high(a, b); }
#endif
#if defined(GS_THREE)
/* Read or write both parts with one instruction. The compiler would compute two addresses. */
GS_INLINE gs_wide gs_load(const gs_complex *p) {
  gs_wide v;
  __asm__("ldrd %0, %1, %2" : "=r"(v.re), "=r"(v.im) : "Q"(*p));
  return v;
}
GS_INLINE void gs_store(gs_complex *p, gs_fx re, gs_fx im) {
  __asm__("strd %1, %2, %0" : "=Q"(*p) : "r"(re), "r"(im));
}
GS_INLINE gs_wide gs_next(const gs_complex **p, int n) {
  gs_wide v;
  (void)n;
  __asm__("ldrd %0, %1, [%2], #8" : "=&r"(v.re), "=&r"(v.im), "+r"(*p) : "m"(**p));
  return v;
}
#else
GS_INLINE gs_wide gs_load(const gs_complex *p) { return *p; }
GS_INLINE void gs_store(gs_complex *p, gs_fx re, gs_fx im) { *p = (gs_complex){re, im}; }
GS_INLINE gs_wide gs_next(const gs_complex **p, int n) {
  (void)n;
  return *(*p)++;
}
#endif
GS_INLINE gs_wide gs_load_back(const gs_complex *p) { return gs_load(p); }
GS_INLINE void gs_store_apart(gs_complex *p, int n, gs_fx re, gs_fx im) {
  (void)n;
  gs_store(p, re, im);
}
GS_INLINE gs_wide gs_windowed(const int16_t *samples, const gs_complex *window, const uint16_t *at, int32_t bits) {
  const uint32_t pair = gs_pair(samples + 2 * *at);
  const gs_wide w = gs_load(window + *at);
  return (gs_wide){gs_low_product(w.re, pair << bits), gs_top_product(w.im, (pair & 0xffff0000u) << bits)};
}
GS_INLINE void gs_store_values(int32_t *p, gs_fx v) { *p = v; }
GS_INLINE gs_fx gs_square(gs_fx a) { return (int32_t)((int64_t)a * a >> 32); }
GS_INLINE gs_fx gs_leading_zeros(gs_fx a) { return a ? __builtin_clz((uint32_t)a) : 32; }
GS_INLINE gs_fx gs_left(gs_fx a, gs_fx bits) { return (gs_fx)((uint32_t)a << bits); }
GS_INLINE gs_fx gs_right(gs_fx a, gs_fx bits) { return (gs_fx)((uint32_t)a >> bits); }
GS_INLINE gs_fx gs_entry(const uint32_t *table, gs_fx index) { return (gs_fx)table[index]; }
GS_INLINE gs_fx gs_between(gs_fx entry, gs_fx fraction) {
  return (gs_fx)((uint32_t)entry + ((uint32_t)entry & 0xffff) * (uint32_t)fraction);
}
#endif

/* Return acc + sum a[i] b[i] over n int16 values, an even number. */
GS_INLINE int64_t gs_dot_pairs(int64_t acc, const int16_t *a, const int16_t *b, int32_t n) {
#if defined(GS_THREE)
  for (const int16_t *end = a + n; a < end; a += 2, b += 2) {
    uint32_t low = (uint32_t)acc, high = (uint32_t)(acc >> 32);
    __asm__("smlald %0, %1, %2, %3" : "+r"(low), "+r"(high) : "r"(gs_pair(a)), "r"(gs_pair(b)));
    acc = (int64_t)((uint64_t)high << 32 | low);
  }
#else
  for (int32_t i = 0; i < n; i++) acc += (int32_t)a[i] * b[i];
#endif
  return acc;
}

/* Return z times the root of unity w, divided by 4. */
GS_INLINE gs_wide gs_turn(gs_wide z, gs_wide w) {
  const gs_fx minus = -w.im;
  return (gs_wide){gs_high_add(gs_high(z.re, w.re), z.im, minus), gs_high_add(gs_high(z.im, w.re), z.re, w.im)};
}

#endif
