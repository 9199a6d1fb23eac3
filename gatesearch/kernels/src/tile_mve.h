/* Products of bytes on MVE: the sums of one pixel and one block of 16 output channels.

   VMLADAV multiplies 16 pairs of bytes and adds the products to a scalar register, so a block's weights are packed as
   rows: the weights of 16 input channels for one output, then those for the next output. The inputs of up to four
   steps stay in registers while a loop goes over the rows of all outputs. The loops are written in assembly, because a
   compiler would keep neither the addresses nor the sums in registers. */
#ifndef GS_TILE_MVE_H
#define GS_TILE_MVE_H

#include "simd.h"

/* Two orders of the 16 sums of a block. Natural order is that of the channels. Narrow order is 0, 4, 8, 12, 1, 5, ..
   15. Narrowing instructions interleave two vectors, and so bring sums from narrow order to natural order
   (bytes_mve.h). Each order has a macro with the addresses of the rows of four sums, and a constant with the offset at
   which the pointer to the rows starts. */
#define GS_NATURAL(w) "[" w "], #16", "[" w "], #16", "[" w "], #16", "[" w "], #16"
#define GS_NARROW(w) "[" w ", #-112]!", "[" w ", #64]!", "[" w ", #64]!", "[" w ", #64]"
enum { GS_NATURAL_START = 0, GS_NARROW_START = 112 };

/* GS_FOUR_ROWS multiplies an input with the rows of four outputs. GS_STEPS_n does so for the inputs of n steps. */
#define GS_ROW(sum, x, row, address) "vldrb.8 " row ", " address "\n vmladava.s8 " sum ", " x ", " row "\n "
#define GS_FOUR_ROWS(x, a0, a1, a2, a3)                                 \
  GS_ROW("%[s0]", x, "q4", a0) GS_ROW("%[s1]", x, "q5", a1) GS_ROW("%[s2]", x, "q4", a2) GS_ROW("%[s3]", x, "q5", a3)
#define GS_STEP(x, ...) GS_FOUR_ROWS(x, __VA_ARGS__)
#define GS_STEPS_1(order) GS_STEP("%q[x0]", order("%[w0]"))
#define GS_STEPS_2(order) GS_STEPS_1(order) GS_STEP("%q[x1]", order("%[w1]"))
#define GS_STEPS_3(order) GS_STEPS_2(order) GS_STEP("%q[x2]", order("%[w2]"))
#define GS_STEPS_4(order) GS_STEPS_3(order) GS_STEP("%q[x3]", order("%[w3]"))
#define GS_ROWS_1 [w0] "+r"(row[0])
#define GS_ROWS_2 GS_ROWS_1, [w1] "+r"(row[1])
#define GS_ROWS_3 GS_ROWS_2, [w2] "+r"(row[2])
#define GS_ROWS_4 GS_ROWS_3, [w3] "+r"(row[3])
#define GS_INPUTS_1 [x0] "w"(value[0])
#define GS_INPUTS_2 GS_INPUTS_1, [x1] "w"(value[1])
#define GS_INPUTS_3 GS_INPUTS_2, [x2] "w"(value[2])
#define GS_INPUTS_4 GS_INPUTS_3, [x3] "w"(value[3])

/* Defines gs_add_NAME_N, which writes to the array "to" 16 sums: those of the array "from" plus the products of n steps.
   The two arrays may be the same. A sum adds up (x - 128) w. */
#define GS_ADD_STEPS(name, order, n)                                                                                  \
  static __attribute__((noinline)) void gs_add_##name##_##n(const uint8_t *x, const int8_t *w, const gs_step *steps,  \
                                                            const int32_t *from, int32_t *to) {                       \
    int8x16_t value[n];                                                                                               \
    const int8_t *row[n];                                                                                             \
    int32_t s0, s1, s2, s3;                                                                                           \
    w += order##_START;                                                                                               \
    GS_UNROLL for (int s = 0; s < n; s++) {                                                                           \
      value[s] = vreinterpretq_s8_u8(vsubq_n_u8(vldrbq_u8(x + steps[s].x), 128));                                     \
      row[s] = w + steps[s].w;                                                                                        \
    }                                                                                                                 \
    __asm__ volatile("dls lr, %[count]\n"                                                                             \
                     "1: ldrd %[s0], %[s1], [%[from]], #8\n ldrd %[s2], %[s3], [%[from]], #8\n " GS_STEPS_##n(order)  \
                     "strd %[s0], %[s1], [%[to]], #8\n strd %[s2], %[s3], [%[to]], #8\n le lr, 1b"                    \
                     : [s0] "=&Te"(s0), [s1] "=&Te"(s1), [s2] "=&Te"(s2), [s3] "=&Te"(s3), [from] "+r"(from),         \
                       [to] "+r"(to), GS_ROWS_##n                                                                     \
                     : [count] "r"(GS_BLOCK / 4), GS_INPUTS_##n                                                       \
                     : "lr", "q4", "q5", "memory");                                                                   \
  }

/* Defines gs_sum_NAME, which writes to sums the 16 values of start plus the products of all steps. */
#define GS_SUM_STEPS(name, order)                                                                                     \
  GS_ADD_STEPS(name, order, 1)                                                                                        \
  GS_ADD_STEPS(name, order, 2)                                                                                        \
  GS_ADD_STEPS(name, order, 3)                                                                                        \
  GS_ADD_STEPS(name, order, 4)                                                                                        \
  GS_INLINE void gs_sum_##name(const uint8_t *x, const int8_t *w, const gs_step *steps, int n_steps,                  \
                               const int32_t *start, int32_t *sums) {                                                 \
    for (; n_steps > 4; n_steps -= 4, steps += 4, start = sums) gs_add_##name##_4(x, w, steps, start, sums);          \
    switch (n_steps) {                                                                                                \
      case 4: gs_add_##name##_4(x, w, steps, start, sums); break;                                                     \
      case 3: gs_add_##name##_3(x, w, steps, start, sums); break;                                                     \
      case 2: gs_add_##name##_2(x, w, steps, start, sums); break;                                                     \
      case 1: gs_add_##name##_1(x, w, steps, start, sums); break;                                                     \
      default: memcpy(sums, start, GS_BLOCK * sizeof(int32_t)); /* no input is active */                              \
    }                                                                                                                 \
  }
GS_SUM_STEPS(natural, GS_NATURAL)

/* Compute a tile; rows and columns are 1. */
GS_INLINE void gs_sized_u8(int rows, int columns, const uint8_t *const *x, const int8_t *const *w, const gs_step *steps,
                           int n_steps, int32_t *out) {
  static const int32_t nothing[GS_BLOCK];
  if (rows == 1 && columns == 1) gs_sum_natural(*x, *w, steps, n_steps, nothing, out);
}

#endif
