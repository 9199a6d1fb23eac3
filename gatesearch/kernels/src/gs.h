/* Definitions that all kernels share: the shape of a convolution, names, blocks and scratch memory.

   The kernels are C11 with GNU extensions. They allocate nothing and need no library beyond the compiler's own. Each
   file is compiled once for each instruction set. The build defines GS_SUFFIX as the name of the set; GS(name) is then
   the function's name for that set, gs_NAME_SUFFIX. Most code that differs between sets is in simd.h and the files that
   it includes.

   Channels come in blocks of 16: gates skip whole blocks, and one 512-bit register holds a block of floats. Activations
   are [height][width][channels]. Sizes are in elements unless a name says bytes. The caller provides the scratch
   memory; functions named ..._scratch return the bytes that a kernel needs. */
#ifndef GS_H
#define GS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef GS_SUFFIX
#define GS_SUFFIX portable
#endif
#define GS_PASTE_(a, b) gs_##a##_##b
#define GS_PASTE(a, b) GS_PASTE_(a, b)
#define GS(name) GS_PASTE(name, GS_SUFFIX)

#define GS_BLOCK 16
#define GS_INLINE static inline __attribute__((always_inline))
#define GS_UNROLL _Pragma("GCC unroll 16")
#define GS_LOOP _Pragma("GCC unroll 1") /* a loop over 16 channels becomes a vector operation if it is not unrolled */
#define GS_BLOCKS(n) (((n) + GS_BLOCK - 1) / GS_BLOCK)
#define GS_MIN(a, b) ((a) < (b) ? (a) : (b))
#define GS_MAX(a, b) ((a) > (b) ? (a) : (b))

/* The shape of a convolution: input image, channels, kernel, stride, padding, dilation. A matrix product is a 1 x 1
   convolution. A tap is one position of the kernel. */
typedef struct {
  int32_t h, w, c_in, c_out;
  int32_t kh, kw, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
} gs_conv;

/* Offsets at which the 16 input channels of one tap begin: x in the image, w in the packed weights. */
typedef struct {
  int32_t x, w;
} gs_step;

/* Reserve a block of scratch memory that begins at the first multiple of 64 bytes (a cache line) from *at on; move *at
   behind the block. */
GS_INLINE void *gs_reserve(char **at, size_t bytes) {
  char *block = (char *)(((uintptr_t)*at + 63) & ~(uintptr_t)63);
  *at = block + bytes;
  return block;
}

/* Return the height of a convolution's output. */
GS_INLINE int32_t gs_height(const gs_conv *c) {
  return (c->h + 2 * c->pad_h - c->dilation_h * (c->kh - 1) - 1) / c->stride_h + 1;
}

/* Return the width of a convolution's output. */
GS_INLINE int32_t gs_width(const gs_conv *c) {
  return (c->w + 2 * c->pad_w - c->dilation_w * (c->kw - 1) - 1) / c->stride_w + 1;
}

#endif
