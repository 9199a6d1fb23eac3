/* Kernels of gated layers: what they share. Plain C11, no allocation, no library beyond the compiler's own.

   Every file is compiled once for each instruction set, with GS_SUFFIX as its name; simd.h holds all that differs.
   Channels come in blocks of 16: that is what gates skip and what one 512-bit register holds. Activations are
   height x width x channels; sizes are in elements unless a name says bytes. Scratch memory is the caller's. */
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
#define GS_LOOP _Pragma("GCC unroll 1") /* over 16 channels: unrolled, it would not become one vector */
#define GS_BLOCKS(n) (((n) + GS_BLOCK - 1) / GS_BLOCK)
#define GS_MIN(a, b) ((a) < (b) ? (a) : (b))
#define GS_MAX(a, b) ((a) > (b) ? (a) : (b))

/* A convolution; a matrix product is one of 1 x 1. */
typedef struct {
  int32_t h, w, c_in, c_out;
  int32_t kh, kw, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
} gs_conv;

/* Where the 16 input channels of one tap begin, in the image and in the packed weights. */
typedef struct {
  int32_t x, w;
} gs_step;

/* Take bytes, on a cache line, from the scratch memory at *at. */
GS_INLINE void *gs_take(char **at, size_t bytes) {
  char *taken = (char *)(((uintptr_t)*at + 63) & ~(uintptr_t)63);
  *at = taken + bytes;
  return taken;
}

GS_INLINE int32_t gs_height(const gs_conv *c) {
  return (c->h + 2 * c->pad_h - c->dilation_h * (c->kh - 1) - 1) / c->stride_h + 1;
}

GS_INLINE int32_t gs_width(const gs_conv *c) {
  return (c->w + 2 * c->pad_w - c->dilation_w * (c->kw - 1) - 1) / c->stride_w + 1;
}

#endif
