/* Tiles of products of bytes with SMLAD, which multiplies two pairs of int16 and adds both products to an int32.

   The inputs of a tile are first widened to int16, once for all output channels. Of four neighbouring inputs, 0 and 2
   form one pair, and 1 and 3 the other. UXTB16 extracts such a pair from a word in one instruction. SXTB16 extracts
   the same pair from four packed weights. The widened inputs are [steps][16 inputs / 4][rows][2 pairs].

   The loop computes two output channels of up to three pixels. Its six sums, the four pairs of weights, two pairs of
   inputs and two addresses are in the fourteen registers of the core. Four inputs cost three LDRD for the inputs, one
   for the weights, four SXTB16 and twelve SMLAD: 20 instructions for 24 products. GCC keeps too few values in
   registers if it allocates them by itself, so the loop is written in assembly. LDRD needs addresses that are
   multiples of 4, so packed weights must begin at one. */
#ifndef GS_TILE_DSP_H
#define GS_TILE_DSP_H

#include "simd.h"

#define GS_STEP_WORDS(rows) ((rows) * (GS_BLOCK / 2)) /* words of a widened step */
#define GS_PART 8 /* steps that gs_sized_u8 widens at once */

/* A run of steps whose packed weights lie side by side: the end of its widened inputs, and the distance from the end
   of its weights to the weights of the next run. */
typedef struct {
  const uint32_t *end;
  int32_t gap;
} gs_run_of_steps;

/* Widen the inputs of n steps of the patches of a tile. */
GS_INLINE void gs_widen(const int rows, const uint8_t *const *x, const gs_step *steps, int n, uint32_t *to) {
  for (const gs_step *step = steps; step < steps + n; step++, to += GS_STEP_WORDS(rows)) {
    GS_UNROLL for (int r = 0; r < rows; r++) {
      const uint8_t *from = x[r] + step->x;
      GS_UNROLL for (int k = 0; k < GS_BLOCK / 4; k++) {
        uint32_t word;
        memcpy(&word, from + 4 * k, 4);
        to[2 * (k * rows + r)] = gs_even(word);
        to[2 * (k * rows + r) + 1] = gs_odd(word);
      }
    }
  }
}

/* List the runs of n steps, n at least 1, whose widened inputs begin at x. The last run of the list is empty, so the
   list has up to n + 1 runs. */
GS_INLINE void gs_list_runs(const int rows, const gs_step *steps, int n, const uint32_t *x, gs_run_of_steps *runs) {
  for (int i = 1; i <= n; i++) {
    x += GS_STEP_WORDS(rows);
    const int gap = i < n ? steps[i].w - steps[i - 1].w - GS_BLOCK * GS_BLOCK : 0;
    if (gap || i == n) *runs++ = (gs_run_of_steps){x, gap};
  }
  *runs = (gs_run_of_steps){NULL, 0};
}

#define GS_WEIGHTS_OF_TWO                      \
  "ldrd %[w0], %[w1], [%[w]], #64\n\t"         \
  "sxtb16 %[v0], %[w0]\n\t"                    \
  "sxtb16 %[v1], %[w1]\n\t"                    \
  "sxtb16 %[w0], %[w0], ror #8\n\t"            \
  "sxtb16 %[w1], %[w1], ror #8\n\t"
#define GS_INPUTS_OF_ONE(a, b)                 \
  "ldrd %[x0], %[x1], [%[x]], #8\n\t"          \
  "smlad %[" a "], %[x0], %[v0], %[" a "]\n\t" \
  "smlad %[" b "], %[x0], %[v1], %[" b "]\n\t" \
  "smlad %[" a "], %[x1], %[w0], %[" a "]\n\t" \
  "smlad %[" b "], %[x1], %[w1], %[" b "]\n\t"
#define GS_ALL_STEPS(inputs)                                                                                    \
  "0:\n\t" GS_WEIGHTS_OF_TWO inputs GS_WEIGHTS_OF_TWO inputs GS_WEIGHTS_OF_TWO inputs GS_WEIGHTS_OF_TWO inputs \
  "ldr %[x0], %[end]\n\t"                                                                                      \
  "cmp %[x], %[x0]\n\t"                                                                                        \
  "bne 0b\n\t"                                                                                                 \
  "ldr %[x0], %[run]\n\t" /* the next run, if there is one */                                                  \
  "ldrd %[x1], %[w0], [%[x0], #4]\n\t" /* the gap, and the end of the next run */                              \
  "adds %[x0], %[x0], #8\n\t"                                                                                  \
  "str %[x0], %[run]\n\t"                                                                                      \
  "str %[w0], %[end]\n\t"                                                                                      \
  "add %[w], %[w], %[x1]\n\t"                                                                                  \
  "cmp %[w0], #0\n\t"                                                                                          \
  "bne 0b\n\t"
/* The registers are named, because all are in use, and GCC may find no assignment by itself. */
#define GS_LOOP_REGISTERS                                                                                   \
  [x] "+r"(at), [w] "+r"(by), [x0] "=&r"(x0), [x1] "=&r"(x1), [w0] "=&r"(w0), [w1] "=&r"(w1), [v0] "=&r"(v0), \
      [v1] "=&r"(v1), [end] "+m"(end), [run] "+m"(run)

/* Add to sums the products of two channels in all runs; w is where the packed weights of the first run begin. */
GS_INLINE void gs_multiply(const int rows, const uint32_t *x, const gs_run_of_steps *run, const int8_t *w,
                           int32_t sums[3][2]) {
  const uint32_t *end = run->end;
  register const uint32_t *at __asm__("r6") = x;
  register const int8_t *by __asm__("r7") = w;
  register uint32_t x0 __asm__("r8"), x1 __asm__("r9"), w0 __asm__("r10"), w1 __asm__("r11"), v0 __asm__("r12"),
      v1 __asm__("lr");
  register int32_t a __asm__("r0") = sums[0][0], b __asm__("r1") = sums[0][1];
  if (rows == 1) {
    __asm__ volatile(GS_ALL_STEPS(GS_INPUTS_OF_ONE("a", "b"))
                     : [a] "+r"(a), [b] "+r"(b), GS_LOOP_REGISTERS
                     :
                     : "cc", "memory");
  } else {
    register int32_t c __asm__("r2") = sums[1][0], d __asm__("r3") = sums[1][1];
    if (rows == 2) {
      __asm__ volatile(GS_ALL_STEPS(GS_INPUTS_OF_ONE("a", "b") GS_INPUTS_OF_ONE("c", "d"))
                       : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), GS_LOOP_REGISTERS
                       :
                       : "cc", "memory");
    } else {
      register int32_t e __asm__("r4") = sums[2][0], f __asm__("r5") = sums[2][1];
      __asm__ volatile(GS_ALL_STEPS(GS_INPUTS_OF_ONE("a", "b") GS_INPUTS_OF_ONE("c", "d") GS_INPUTS_OF_ONE("e", "f"))
                       : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [e] "+r"(e), [f] "+r"(f), GS_LOOP_REGISTERS
                       :
                       : "cc", "memory");
      sums[2][0] = e, sums[2][1] = f;
    }
    sums[1][0] = c, sums[1][1] = d;
  }
  sums[0][0] = a, sums[0][1] = b;
}

/* Add to sums [rows][16] the products of one block of channels. */
GS_INLINE void gs_multiply_block(const int rows, const uint32_t *x, const gs_run_of_steps *runs, const int8_t *w,
                                 int32_t *sums) {
  for (int k = 0; k < GS_BLOCK; k += 2, w += 8, sums += 2) {
    int32_t two[3][2];
    GS_UNROLL for (int r = 0; r < rows; r++) two[r][0] = sums[r * GS_BLOCK], two[r][1] = sums[r * GS_BLOCK + 1];
    gs_multiply(rows, x, runs, w, two);
    GS_UNROLL for (int r = 0; r < rows; r++) sums[r * GS_BLOCK] = two[r][0], sums[r * GS_BLOCK + 1] = two[r][1];
  }
}

/* GS_ROWS_OF_BLOCK defines a function for tiles of some rows. The inputs are widened in parts, which fit on the
   stack. */
#define GS_ROWS_OF_BLOCK(rows)                                                                                       \
  static __attribute__((noinline)) void gs_multiply_##rows(const uint32_t *x, const gs_run_of_steps *runs,           \
                                                           const int8_t *w, int32_t *sums) {                         \
    gs_multiply_block(rows, x, runs, w, sums);                                                                       \
  }                                                                                                                  \
  static __attribute__((noinline)) void gs_tile_##rows(const uint8_t *const *x, const int8_t *w,                     \
                                                       const gs_step *steps, int n_steps, int32_t *out) {            \
    uint32_t wide[GS_STEP_WORDS(rows) * GS_PART];                                                                    \
    gs_run_of_steps runs[GS_PART + 1];                                                                               \
    memset(out, 0, (rows) * GS_BLOCK * sizeof(int32_t));                                                             \
    for (int n; n_steps; steps += n, n_steps -= n) {                                                                 \
      n = GS_MIN(GS_PART, n_steps);                                                                                  \
      gs_list_runs(rows, steps, n, wide, runs);                                                                      \
      gs_widen(rows, x, steps, n, wide);                                                                             \
      gs_multiply_##rows(wide, runs, w + steps->w, out);                                                             \
    }                                                                                                                \
  }
GS_ROWS_OF_BLOCK(1)
GS_ROWS_OF_BLOCK(2)
GS_ROWS_OF_BLOCK(3)

/* Compute a tile of up to three rows and one column. */
GS_INLINE void gs_sized_u8(int rows, int columns, const uint8_t *const *x, const int8_t *const *w,
                           const gs_step *steps, int n_steps, int32_t *out) {
  (void)columns;
  if (rows == 3) gs_tile_3(x, *w, steps, n_steps, out);
  else if (rows == 2) gs_tile_2(x, *w, steps, n_steps, out);
  else gs_tile_1(x, *w, steps, n_steps, out);
}

#endif
