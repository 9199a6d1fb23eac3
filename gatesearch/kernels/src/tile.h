/* The inner loop of all convolutions: it computes tiles, each of a few pixels by a few blocks of 16 channels.

   The sums of a tile stay in registers. A row of a tile is one output pixel; the pixel's patch holds the input values
   that it reads. A column is one block of 16 output channels. A step is 16 input channels of one tap; it holds their
   offsets in a patch and in the packed weights of a column. Dense layers list all steps and pixels, gated layers fewer.
   So channels and pixels that a gate leaves out cost no multiplication.

   Kernels call gs_sized_TYPE(rows, columns, patches, weights, steps, n_steps, out), where TYPE is f32 or u8. It writes
   the sums to out [rows][columns][16]. gs_rows and gs_columns return the numbers of rows and columns to pass. */
#ifndef GS_TILE_H
#define GS_TILE_H

#include "simd.h"

/* Compute a tile of float products; rows and columns are constants after inlining, so every loop over them is
   unrolled. */
GS_INLINE void gs_tile_f32(const int rows, const int columns, const float *const *x, const float *const *w,
                           const gs_step *steps, int n_steps, float *out) {
  gs_vf acc[GS_ROWS][GS_MOST_COLUMNS][GS_VECTORS];
  const float *px[GS_ROWS], *pw[GS_MOST_COLUMNS];
  GS_UNROLL for (int r = 0; r < rows; r++) {
    px[r] = x[r];
    GS_UNROLL for (int c = 0; c < columns; c++) {
      GS_UNROLL for (int v = 0; v < GS_VECTORS; v++) acc[r][c][v] = gs_zero_f();
    }
  }
  GS_UNROLL for (int c = 0; c < columns; c++) pw[c] = w[c];
  for (const gs_step *step = steps; step < steps + n_steps; step++) {
    const ptrdiff_t ox = step->x, ow = step->w;
    GS_UNROLL for (int k = 0; k < GS_BLOCK; k++) {
      gs_vf weight[GS_MOST_COLUMNS][GS_VECTORS];
      GS_UNROLL for (int c = 0; c < columns; c++) {
        GS_UNROLL for (int v = 0; v < GS_VECTORS; v++) {
          weight[c][v] = gs_load_f(pw[c] + ow + k * GS_BLOCK + v * GS_LANES);
        }
      }
      GS_UNROLL for (int r = 0; r < rows; r++) {
        gs_vf a = gs_set_f(px[r][ox + k]);
        GS_UNROLL for (int c = 0; c < columns; c++) {
          GS_UNROLL for (int v = 0; v < GS_VECTORS; v++) acc[r][c][v] = gs_fma(acc[r][c][v], a, weight[c][v]);
        }
      }
    }
  }
  GS_UNROLL for (int r = 0; r < rows; r++) {
    GS_UNROLL for (int c = 0; c < columns; c++) {
      GS_UNROLL for (int v = 0; v < GS_VECTORS; v++) {
        gs_store_f(out + (r * columns + c) * GS_BLOCK + v * GS_LANES, acc[r][c][v]);
      }
    }
  }
}

#ifndef GS_TILE_FILE
/* Compute a tile of products of bytes, four input channels at a time. A sum adds up (x - GS_OFFSET) w. */
GS_INLINE void gs_tile_u8(const int rows, const int columns, const uint8_t *const *x, const int8_t *const *w,
                          const gs_step *steps, int n_steps, int32_t *out) {
  gs_vi acc[GS_ROWS][GS_MOST_COLUMNS][GS_VECTORS_I];
  const uint8_t *px[GS_ROWS];
  const int8_t *pw[GS_MOST_COLUMNS];
  GS_UNROLL for (int r = 0; r < rows; r++) {
    px[r] = x[r];
    GS_UNROLL for (int c = 0; c < columns; c++) {
      GS_UNROLL for (int v = 0; v < GS_VECTORS_I; v++) acc[r][c][v] = gs_zero_i();
    }
  }
  GS_UNROLL for (int c = 0; c < columns; c++) pw[c] = w[c];
  for (const gs_step *step = steps; step < steps + n_steps; step++) {
    const ptrdiff_t ox = step->x, ow = step->w;
    GS_UNROLL for (int k = 0; k < GS_BLOCK; k += 4) {
      gs_weights weight[GS_MOST_COLUMNS][GS_VECTORS_I];
      GS_UNROLL for (int c = 0; c < columns; c++) {
        GS_UNROLL for (int v = 0; v < GS_VECTORS_I; v++) {
          weight[c][v] = gs_load_weights(pw[c] + ow + k * GS_BLOCK + v * 4 * GS_LANES_I);
        }
      }
      GS_UNROLL for (int r = 0; r < rows; r++) {
        gs_quad a = gs_load_quad(px[r] + ox + k);
        GS_UNROLL for (int c = 0; c < columns; c++) {
          GS_UNROLL for (int v = 0; v < GS_VECTORS_I; v++) acc[r][c][v] = gs_dot(acc[r][c][v], a, weight[c][v]);
        }
      }
    }
  }
  GS_UNROLL for (int r = 0; r < rows; r++) {
    GS_UNROLL for (int c = 0; c < columns; c++) {
      GS_UNROLL for (int v = 0; v < GS_VECTORS_I; v++) {
        gs_store_i(out + (r * columns + c) * GS_BLOCK + v * GS_LANES_I, acc[r][c][v]);
      }
    }
  }
}
#endif

/* GS_SIZED defines a function for one size of tile. GS_SIZES lists the sizes that an instruction set has: tiles of
   GS_ROWS rows, of GS_SMALLER rows and of one row. GS_CHOICE defines the functions of a type for all sizes, and
   gs_sized_TYPE, which calls the function for a size. */
#define GS_SIZED(type, x_t, w_t, o_t, r, c)                                                                      \
  static __attribute__((noinline)) void gs_##type##_##r##_##c(const x_t *const *x, const w_t *const *w,          \
                                                              const gs_step *steps, int n_steps, o_t *out) {     \
    gs_tile_##type(r, c, x, w, steps, n_steps, out);                                                             \
  }
#if GS_ROWS == 8
#define GS_SIZES(S, ...) S(__VA_ARGS__, 8, 1) S(__VA_ARGS__, 8, 2) S(__VA_ARGS__, 8, 3) S(__VA_ARGS__, 4, 1) \
    S(__VA_ARGS__, 4, 2) S(__VA_ARGS__, 4, 3) S(__VA_ARGS__, 1, 1) S(__VA_ARGS__, 1, 2) S(__VA_ARGS__, 1, 3) \
    S(__VA_ARGS__, 1, 4)
#define GS_SMALLER 4
#elif GS_ROWS == 6
#define GS_SIZES(S, ...) S(__VA_ARGS__, 6, 1) S(__VA_ARGS__, 3, 1) S(__VA_ARGS__, 1, 1) S(__VA_ARGS__, 1, 2) \
    S(__VA_ARGS__, 1, 3) S(__VA_ARGS__, 1, 4)
#define GS_SMALLER 3
#elif GS_ROWS == 4
#define GS_SIZES(S, ...) S(__VA_ARGS__, 4, 1) S(__VA_ARGS__, 2, 1) S(__VA_ARGS__, 1, 1) S(__VA_ARGS__, 1, 2) \
    S(__VA_ARGS__, 1, 3) S(__VA_ARGS__, 1, 4)
#define GS_SMALLER 2
#elif GS_ROWS == 3
#define GS_SIZES(S, ...) S(__VA_ARGS__, 3, 1) S(__VA_ARGS__, 2, 1) S(__VA_ARGS__, 1, 1)
#define GS_SMALLER 2
#elif GS_ROWS == 2
#define GS_SIZES(S, ...) S(__VA_ARGS__, 2, 1) S(__VA_ARGS__, 1, 1)
#define GS_SMALLER 1
#else
#define GS_SIZES(S, ...) S(__VA_ARGS__, 1, 1)
#define GS_SMALLER 1
#endif
#define GS_CASE(type, x_t, w_t, o_t, r, c) \
  case 8 * r + c:                          \
    gs_##type##_##r##_##c(x, w, steps, n_steps, out); break;
#define GS_CHOICE(type, x_t, w_t, o_t)                                                                              \
  GS_SIZES(GS_SIZED, type, x_t, w_t, o_t)                                                                           \
  static inline void gs_sized_##type(int rows, int columns, const x_t *const *x, const w_t *const *w,               \
                                     const gs_step *steps, int n_steps, o_t *out) {                                 \
    switch (8 * rows + columns) { GS_SIZES(GS_CASE, type, x_t, w_t, o_t) }                                          \
  }
GS_CHOICE(f32, float, float, float)
#ifdef GS_TILE_FILE
#include GS_TILE_FILE
#else
GS_CHOICE(u8, uint8_t, int8_t, int32_t)
#endif

/* Return the number of rows of the next tile; left is the number of rows that remain. A tile may have more rows than
   remain; it then computes the last row several times. */
GS_INLINE int gs_rows(int left) { return left > GS_SMALLER ? GS_ROWS : left > 1 ? GS_SMALLER : 1; }

/* Return the number of columns of the next tile; left is the number of columns that remain. Two tiles of two columns
   are faster than one of three columns and one of one column. */
GS_INLINE int gs_columns(int left) {
  return left == 4 && GS_COLUMNS == 3 ? 2 : GS_MIN(left, GS_COLUMNS);
}

#endif
