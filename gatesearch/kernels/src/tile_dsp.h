/* Tiles of products of bytes with SMLAD, which multiplies two pairs of int16 and adds both products to an int32.

   The inputs of a tile are first widened to int16, once for all output channels. Of four neighbouring inputs, 0 and 2
   form one pair, and 1 and 3 the other: UXTB16 makes such a pair of a word in one instruction, and SXTB16 makes the
   same pair of four packed weights. The widened inputs are [steps][16 inputs / 4][rows][2 pairs].

   The loop computes two output channels of up to three pixels. Its six sums, the four pairs of weights, two pairs of
   inputs and two addresses are in the fourteen registers of the core. Four inputs cost three LDRD for the inputs, one
   for the weights, four SXTB16 and twelve SMLAD: 20 instructions for 24 products. GCC keeps too few values in registers
   if it allocates them by itself, so the loop is written in assembly. LDRD needs addresses that are multiples of 4, so
   packed weights must begin at one. */
#ifndef GS_TILE_DSP_H
#define GS_TILE_DSP_H

#include "simd.h"

#define GS_STEP_WORDS(rows) ((rows) * (GS_BLOCK / 2)) /* words of a widened step */
#define GS_PART 8 /* steps that gs_sized_u8 widens at once */

/* A run of steps whose packed weights lie side by side: where they begin, and the number of steps. */
typedef struct {
  int32_t w, n;
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

/* List the runs of steps, and return their number. */
GS_INLINE int gs_list_runs(const gs_step *steps, int n_steps, gs_run_of_steps *runs) {
  int n = 0;
  for (int i = 0; i < n_steps; i++) {
    if (i && steps[i].w == steps[i - 1].w + GS_BLOCK * GS_BLOCK) {
      runs[n - 1].n++;
    } else {
      runs[n++] = (gs_run_of_steps){steps[i].w, 1};
    }
  }
  return n;
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
#define GS_FOUR_TIMES(inputs) \
  "0:\n\t" GS_WEIGHTS_OF_TWO inputs GS_WEIGHTS_OF_TWO inputs GS_WEIGHTS_OF_TWO inputs GS_WEIGHTS_OF_TWO inputs \
  "ldr %[x0], %[end]\n\t"                                                                                      \
  "cmp %[x], %[x0]\n\t"                                                                                        \
  "bne 0b\n\t"
#define GS_LOOP_REGISTERS                                                                                         \
  [x] "+r"(x), [w] "+r"(w), [x0] "=&r"(x0), [x1] "=&r"(x1), [w0] "=&r"(w0), [w1] "=&r"(w1), [v0] "=&r"(v0),       \
      [v1] "=&r"(v1)

/* Add to sums the products of the steps up to end, at least one, of two channels; return where the next steps begin. */
GS_INLINE const uint32_t *gs_multiply(const int rows, const uint32_t *x, const uint32_t *end, const int8_t *w,
                                      int32_t sums[3][2]) {
  uint32_t x0, x1, w0, w1, v0, v1;
  if (rows == 3) {
    __asm__ volatile(GS_FOUR_TIMES(GS_INPUTS_OF_ONE("a", "b") GS_INPUTS_OF_ONE("c", "d") GS_INPUTS_OF_ONE("e", "f"))
                     : [a] "+r"(sums[0][0]), [b] "+r"(sums[0][1]), [c] "+r"(sums[1][0]), [d] "+r"(sums[1][1]),
                       [e] "+r"(sums[2][0]), [f] "+r"(sums[2][1]), GS_LOOP_REGISTERS
                     : [end] "m"(end)
                     : "cc", "memory");
  } else if (rows == 2) {
    __asm__ volatile(GS_FOUR_TIMES(GS_INPUTS_OF_ONE("a", "b") GS_INPUTS_OF_ONE("c", "d"))
                     : [a] "+r"(sums[0][0]), [b] "+r"(sums[0][1]), [c] "+r"(sums[1][0]), [d] "+r"(sums[1][1]),
                       GS_LOOP_REGISTERS
                     : [end] "m"(end)
                     : "cc", "memory");
  } else {
    __asm__ volatile(GS_FOUR_TIMES(GS_INPUTS_OF_ONE("a", "b"))
                     : [a] "+r"(sums[0][0]), [b] "+r"(sums[0][1]), GS_LOOP_REGISTERS
                     : [end] "m"(end)
                     : "cc", "memory");
  }
  return x;
}

/* Add to sums the products of all runs, of two channels; w is where the packed weights of the channels begin. */
GS_INLINE void gs_multiply_runs(const int rows, const uint32_t *x, const gs_run_of_steps *runs, int n_runs,
                                const int8_t *w, int32_t sums[3][2]) {
  for (const gs_run_of_steps *run = runs; run < runs + n_runs; run++) {
    x = gs_multiply(rows, x, x + run->n * GS_STEP_WORDS(rows), w + run->w, sums);
  }
}

/* Compute a tile of one block of channels, in parts, so that the widened inputs fit on the stack. */
GS_INLINE void gs_tile_u8(const int rows, const uint8_t *const *x, const int8_t *w, const gs_step *steps, int n_steps,
                          int32_t *out) {
  uint32_t wide[GS_STEP_WORDS(3) * GS_PART];
  gs_run_of_steps runs[GS_PART];
  memset(out, 0, rows * GS_BLOCK * sizeof(int32_t));
  for (int first = 0; first < n_steps; first += GS_PART) {
    const int n = GS_MIN(GS_PART, n_steps - first), n_runs = gs_list_runs(steps + first, n, runs);
    gs_widen(rows, x, steps + first, n, wide);
    for (int k = 0; k < GS_BLOCK; k += 2) {
      int32_t sums[3][2];
      GS_UNROLL for (int r = 0; r < rows; r++) memcpy(sums[r], out + r * GS_BLOCK + k, 8);
      gs_multiply_runs(rows, wide, runs, n_runs, w + 4 * k, sums);
      GS_UNROLL for (int r = 0; r < rows; r++) memcpy(out + r * GS_BLOCK + k, sums[r], 8);
    }
  }
}

/* Compute a tile of up to three rows and one column. */
static __attribute__((noinline)) void gs_sized_u8(int rows, int columns, const uint8_t *const *x,
                                                  const int8_t *const *w, const gs_step *steps, int n_steps,
                                                  int32_t *out) {
  (void)columns;
  if (rows == 3) gs_tile_u8(3, x, *w, steps, n_steps, out);
  else if (rows == 2) gs_tile_u8(2, x, *w, steps, n_steps, out);
  else gs_tile_u8(1, x, *w, steps, n_steps, out);
}

#endif
