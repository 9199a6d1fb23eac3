/* Prepares the input of a convolution: pads the image, and lists which values each output reads.

   The patch of an output is the set of values that it reads: the input channels at every tap of the kernel. A step is
   16 input channels of one tap. Tiles (tile.h) read a patch step by step. So an image must have whole blocks of 16
   channels and a border as wide as the padding; otherwise it is copied into such an image. With fewer than 16 channels
   and several taps, most of a block would be padding. Then the image is unfolded instead: each patch is copied by
   itself, with its taps side by side. */
#ifndef GS_IMAGE_H
#define GS_IMAGE_H

#include "simd.h"

/* Sizes that follow from a convolution's shape. */
typedef struct {
  int32_t pixels;      /* output pixels */
  int32_t blocks_in;   /* blocks of 16 input channels */
  int32_t blocks_out;  /* blocks of 16 output channels */
  int32_t width;       /* width of the padded image */
  int32_t size;        /* values of the padded image, or of all patches where the image is unfolded */
  int32_t patch;       /* values of a patch where the image is unfolded; else 0 */
  int32_t steps;       /* steps of a patch, over all taps and input blocks */
  int copied;          /* whether the image has to be copied */
} gs_geometry;

/* Return the sizes that follow from a convolution's shape. */
GS_INLINE gs_geometry gs_geometry_of(const gs_conv *c) {
  gs_geometry g;
  g.pixels = gs_height(c) * gs_width(c);
  g.blocks_in = GS_BLOCKS(c->c_in);
  g.blocks_out = GS_BLOCKS(c->c_out);
  g.width = c->w + 2 * c->pad_w;
  g.size = (c->h + 2 * c->pad_h) * g.width * g.blocks_in * GS_BLOCK;
  g.steps = c->kh * c->kw * g.blocks_in;
  g.patch = 0;
  if (c->c_in < GS_BLOCK && c->kh * c->kw > 1) {
    g.steps = GS_BLOCKS(c->kh * c->kw * c->c_in);
    g.patch = g.steps * GS_BLOCK;
    /* The patches are followed by the padded image. Copies may read and write up to 15 values beyond the end of each. */
    g.size = g.pixels * g.patch + (c->h + 2 * c->pad_h) * g.width * c->c_in + 2 * GS_BLOCK;
  }
  g.copied = g.patch || c->pad_h || c->pad_w || c->c_in % GS_BLOCK;
  return g;
}

/* List the steps of every tap for the active input blocks, and return their number. active lists
   n_active blocks; where it is NULL, the first n_active blocks are active. */
GS_INLINE int gs_list_steps(const gs_conv *c, const gs_geometry *g, const int32_t *active, int n_active,
                            gs_step *steps) {
  const int channels = g->blocks_in * GS_BLOCK;
  int n = 0;
  if (g->patch) {
    for (; n_active && n < g->steps; n++) steps[n] = (gs_step){n * GS_BLOCK, n * GS_BLOCK * GS_BLOCK};
    return n;
  }
  for (int ky = 0; ky < c->kh; ky++) {
    for (int kx = 0; kx < c->kw; kx++) {
      const int x = (ky * c->dilation_h * g->width + kx * c->dilation_w) * channels;
      const int w = (ky * c->kw + kx) * g->blocks_in;
      for (int i = 0; i < n_active; i++) {
        const int block = active ? active[i] : i;
        steps[n++] = (gs_step){x + block * GS_BLOCK, (w + block) * GS_BLOCK * GS_BLOCK};
      }
    }
  }
  return n;
}

/* List the offset at which the patch of each output begins. */
GS_INLINE void gs_list_pixels(const gs_conv *c, const gs_geometry *g, int32_t *offsets) {
  const int channels = g->blocks_in * GS_BLOCK, height = gs_height(c), width = gs_width(c);
  for (int p = 0; g->patch && p < g->pixels; p++) offsets[p] = p * g->patch;
  if (g->patch) return;
  for (int y = 0; y < height; y++) {
    for (int x = 0; x < width; x++) {
      *offsets++ = (y * c->stride_h * g->width + x * c->stride_w) * channels;
    }
  }
}

/* Write the addresses of the patches of a tile to patch. Where fewer patches are left than the tile has rows, the last
   patch is repeated. */
#define gs_patches(x, offsets, rows, left, patch) \
  do { \
    if ((rows) <= (left)) { \
      for (int r_ = 0; r_ < (rows); r_++) (patch)[r_] = (x) + (offsets)[r_]; \
    } else { \
      for (int r_ = 0; r_ < (rows); r_++) (patch)[r_] = (x) + (offsets)[GS_MIN(r_, (left)-1)]; \
    } \
  } while (0)

/* Return the number of packed weights of one block of 16 output channels. */
GS_INLINE size_t gs_packed(const gs_conv *c) {
  return (size_t)gs_geometry_of(c).steps * GS_BLOCK * GS_BLOCK;
}

/* Return the position of the weight of a tap and an input channel among the weights of one output channel. */
GS_INLINE int gs_place(const gs_geometry *g, const gs_conv *c, int tap, int channel) {
  return g->patch ? tap * c->c_in + channel : tap * g->blocks_in * GS_BLOCK + channel;
}

/* gs_copy_TYPE copies n values from an array that ends at end. It copies blocks of 16 while whole blocks lie before
   end, so it may write up to 15 values too many. */
#define GS_COPY(type, value_t) \
  GS_INLINE void gs_copy_##type(value_t *to, const value_t *from, int n, const value_t *end) { \
    for (; n > 0 && end - from >= GS_BLOCK; n -= GS_BLOCK, to += GS_BLOCK, from += GS_BLOCK) { \
      memcpy(to, from, GS_BLOCK * sizeof(value_t)); \
    } \
    for (int k = 0; k < n; k++) to[k] = from[k]; \
  }

/* GS_UNFOLD defines gs_unfold_TYPE, which copies the patches of an image, one after the other. It first pads the image,
   behind the patches, so that the taps of every patch lie inside. GS_PAD defines gs_pad_TYPE, which copies the active
   channels of an image into a padded image, or unfolds the image.

   The border holds the value fill. The values that complete a block of channels, or a patch, are multiplied with
   weights of zero. For integers they may hold anything. For floats, clear is set and they are filled too: memory that
   was never written may hold NaN, and 0 times NaN is NaN. gs_fill_TYPE fills the active blocks of some border pixels. */
#define GS_UNFOLD(type, value_t, clear) \
  /* Copy n runs of values, which begin step values apart. */ \
  static __attribute__((noinline)) value_t *gs_copy_runs_##type(value_t *to, const value_t *from, int n, int run, \
                                                                int step) { \
    for (; n; n--, from += step, to += run) { \
      const value_t *values = from; \
      for (value_t *at = to; at < to + run; at += GS_BLOCK, values += GS_BLOCK) { \
        memcpy(at, values, GS_BLOCK * sizeof(value_t)); \
      } \
    } \
    return to; \
  } \
  static void gs_unfold_##type(const gs_conv *c, const gs_geometry *g, const value_t *x, value_t fill, value_t *out) { \
    const int height = gs_height(c), width = gs_width(c), row = g->width * c->c_in, border = c->pad_w * c->c_in; \
    const int joined = c->dilation_w == 1; \
    value_t *padded = out + g->pixels * g->patch + GS_BLOCK, *to = padded; \
    for (int y = -c->pad_h; y < c->h + c->pad_h; y++) { \
      const int inside = y >= 0 && y < c->h, values = inside ? c->w * c->c_in : 0; \
      for (int k = 0; k < border; k++) *to++ = fill; \
      memcpy(to, x + (inside ? (ptrdiff_t)y * c->w * c->c_in : 0), values * sizeof(value_t)); \
      to += values; \
      for (int k = border + values; k < row; k++) *to++ = fill; \
    } \
    for (int y = 0; y < height; y++) { \
      const value_t *patch = padded + y * c->stride_h * row; \
      for (int column = 0; column < width; column++, out += g->patch, patch += c->stride_w * c->c_in) { \
        to = out; \
        if (joined) to = gs_copy_runs_##type(to, patch, c->kh, c->kw * c->c_in, c->dilation_h * row); \
        for (int ky = 0; !joined && ky < c->kh; ky++) { \
          to = gs_copy_runs_##type(to, patch + ky * c->dilation_h * row, c->kw, c->c_in, c->dilation_w * c->c_in); \
        } \
        while (clear && to < out + g->patch) *to++ = fill; \
      } \
    } \
  }

#define GS_PAD(type, value_t, clear) \
  static void gs_fill_##type(const gs_geometry *g, const int32_t *active, int n_active, value_t fill, int columns, \
                             value_t *out) { \
    for (int column = 0; column < columns; column++, out += g->blocks_in * GS_BLOCK) { \
      for (int i = 0; i < n_active; i++) { \
        value_t *to = out + (active ? active[i] : i) * GS_BLOCK; \
        GS_LOOP for (int k = 0; k < GS_BLOCK; k++) to[k] = fill; \
      } \
    } \
  } \
  static void gs_pad_##type(const gs_conv *c, const gs_geometry *g, const value_t *x, const int32_t *active, \
                            int n_active, value_t fill, value_t *out) { \
    const int channels = g->blocks_in * GS_BLOCK; \
    if (g->patch) { \
      if (n_active) gs_unfold_##type(c, g, x, fill, out); \
      return; \
    } \
    for (int y = -c->pad_h; y < c->h + c->pad_h; y++, out += g->width * channels) { \
      if (y < 0 || y >= c->h) { \
        gs_fill_##type(g, active, n_active, fill, g->width, out); \
        continue; \
      } \
      const value_t *from = x + (ptrdiff_t)y * c->w * c->c_in; \
      value_t *to = out + c->pad_w * channels; \
      gs_fill_##type(g, active, n_active, fill, c->pad_w, out); \
      gs_fill_##type(g, active, n_active, fill, c->pad_w, to + c->w * channels); \
      if (!active && channels == c->c_in) { \
        memcpy(to, from, (size_t)c->w * channels * sizeof(value_t)); \
        continue; \
      } \
      for (int column = 0; !active && column < c->w; column++, from += c->c_in, to += channels) { \
        gs_copy_##type(to, from, c->c_in, x + (ptrdiff_t)c->h * c->w * c->c_in); \
        for (int k = c->c_in; clear && k < channels; k++) to[k] = fill; \
      } \
      for (int column = 0; active && column < c->w; column++, from += c->c_in, to += channels) { \
        for (int i = 0; i < n_active; i++) { \
          const int first = active[i] * GS_BLOCK, n_channels = c->c_in - first; \
          if (n_channels >= GS_BLOCK) { \
            memcpy(to + first, from + first, GS_BLOCK * sizeof(value_t)); \
          } else { \
            memcpy(to + first, from + first, n_channels * sizeof(value_t)); \
            for (int k = n_channels; k < GS_BLOCK; k++) to[first + k] = fill; \
          } \
        } \
      } \
    } \
  }

#endif
