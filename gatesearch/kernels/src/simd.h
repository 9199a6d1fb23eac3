/* Vectors and products of bytes, under common names, for each instruction set.

   The compiler's flags select one set: AVX-512 with VNNI, AVX2, Neon, MVE (Cortex-M55), the DSP extension (Cortex-M4 and
   M33), or plain C. With GS_PORTABLE defined, Arm cores run plain C alone. Each set has a file of its own, simd_SET.h. A
   vector holds GS_LANES floats or GS_LANES_I int32. Each set defines
     gs_vf, gs_vi          a vector of floats, and of int32, with functions such as gs_load_f and gs_fma (acc + a b)
     gs_quad, gs_weights   the same four bytes of an input in each lane, and four weights for each lane
     gs_dot(acc, a, w)     adds to each lane the exact sum of four products (a - GS_OFFSET) w. GS_OFFSET is 128 for sets
                           that multiply only signed bytes, else 0; kernels correct their sums for the offset
     GS_ROWS, GS_COLUMNS   output pixels, and blocks of 16 channels, of the largest tile whose sums stay in registers

   gs_weight_at returns the position of a weight among the packed weights. A set that defines GS_HAS_WEIGHT_AT has its
   own order of packed weights, and its own gs_weight_at.

   A set may replace whole loops by loops of its own. It then defines the name of a file that holds them:
     GS_TILE_FILE          gs_sized_u8, the products of a tile (tile.h)
     GS_OUTPUT_FILE        gs_finish_bytes, the bytes of a block of channels from its sums (conv_u8.c)
     GS_UNFOLD_FILE        gs_unfold_u8, the patches of an image (image.h)
     GS_CONV_FILE          gs_convolve_bytes, a convolution to bytes whose image is prepared (conv_u8.c). It has
                           GS_STEP_ROOM bytes of scratch memory for each step, and GS_BLOCK_ROOM bytes for each
                           block of output channels
     GS_DEPTHWISE_FILE     gs_filter_u8, a depthwise convolution (depthwise.c)
     GS_POOL_FILE          gs_pool_u8 and gs_sum_u8, pooling and the sum of two maps (pool.c)
   The files in brackets say what these functions compute, and hold the loops of the other sets.

   The functions gs_run, gs_run_sums, gs_block_sums, gs_greater and gs_list_greater serve precision gating. Sets
   without versions of their own share those of simd_runs.h, where comments say what they compute. A set that defines
   GS_HAS_LIST has its own gs_list_greater, and one that defines GS_HAS_RUNS its own versions of the others. */
#ifndef GS_SIMD_H
#define GS_SIMD_H

#include "gs.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "simd_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "simd_avx2.h"
#elif defined(__ARM_NEON) && defined(__aarch64__) && !defined(GS_PORTABLE)
#include "simd_neon.h"
#elif defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2) && !defined(GS_PORTABLE)
#include "simd_mve.h"
#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && defined(__OPTIMIZE__) && !defined(GS_PORTABLE)
#include "simd_dsp.h"
#else
#include "simd_c.h"
#endif

#ifndef GS_HAS_WEIGHT_AT
/* Return where the packed weights of a block of 16 output channels hold the weight of a place in the patch and of a
   channel of the block: [places / 4][16 channels][4 places]. */
GS_INLINE size_t gs_weight_at(size_t place, int channel) { return (place / 4 * GS_BLOCK + channel) * 4 + place % 4; }
#endif
/* Pack the weights of four places, from a multiple of four on, for the 16 channels of a block: four bytes for each. */
GS_INLINE void gs_pack_quads(const uint32_t *quads, size_t place, int8_t *packed) {
#ifdef GS_HAS_WEIGHT_AT
  for (int k = 0; k < GS_BLOCK; k++) memcpy(packed + gs_weight_at(place, k), quads + k, sizeof(uint32_t));
#else
  memcpy(packed + gs_weight_at(place, 0), quads, GS_BLOCK * sizeof(uint32_t));
#endif
}

#include "simd_runs.h"

#ifndef GS_LANES_I
#define GS_LANES_I GS_LANES
#endif
#define GS_VECTORS (GS_BLOCK / GS_LANES)
#define GS_VECTORS_I (GS_BLOCK / GS_LANES_I)
#ifndef GS_MOST_COLUMNS
#define GS_MOST_COLUMNS (GS_ROWS > 2 ? 4 : 1) /* most columns of a tile with a single row */
#endif
#ifndef GS_STEP_ROOM
#define GS_STEP_ROOM 0
#endif
#ifndef GS_BLOCK_ROOM
#define GS_BLOCK_ROOM 0
#endif

#endif
