/* Picks winning channels and copies their values, for the kernels fbs_single.c and fbs_pg.c.

   Feature boosting and suppression (FBS) computes only the output channels that win. The packed weights of 16
   neighbouring channels are interleaved, so a tile cannot read the filter of a single channel. These kernels therefore
   copy the filters of the winners together, for each sample and for the active input channels alone. A dense
   convolution of fewer channels follows. Copying takes one load and one store for each weight; the convolution takes
   one multiplication for each weight and pixel. */
#ifndef GS_CHOSEN_H
#define GS_CHOSEN_H

#include "image.h"
#include "predict.h"

/* Channels of a feature map: the active channels of an input, or the winning channels of an output. */
typedef struct {
  const int32_t *channels; /* ascending */
  int32_t n;
  const uint16_t *masks; /* a bit for each channel of each block of 16 */
} gs_channels;

/* List the channels of n_groups groups of size channels each; size is 1 or 16. groups holds the indices of the groups;
   NULL means all groups. at points to free scratch memory. */
GS_INLINE gs_channels gs_list_channels(const int32_t *groups, int n_groups, int size, int channels, char **at) {
  const int blocks = GS_BLOCKS(channels);
  int32_t *list = gs_reserve(at, (size_t)blocks * GS_BLOCK * sizeof(int32_t));
  uint16_t *masks = gs_reserve(at, blocks * sizeof(uint16_t));
  int n = 0;
  memset(masks, 0, blocks * sizeof(uint16_t));
  if (!groups) n_groups = (channels + size - 1) / size;
  for (int i = 0; i < n_groups; i++) {
    const int first = (groups ? groups[i] : i) * size;
    for (int k = first; k < GS_MIN(first + size, channels); k++) {
      list[n++] = k;
      masks[k / GS_BLOCK] |= (uint16_t)(1u << k % GS_BLOCK);
    }
  }
  return (gs_channels){list, n, masks};
}

/* Return the bytes of scratch memory that gs_list_channels needs. */
GS_INLINE size_t gs_list_size(int channels) {
  return GS_BLOCKS(channels) * (GS_BLOCK * sizeof(int32_t) + sizeof(uint16_t)) + 192;
}

/* Copy the values of the channels in k from a row of whole blocks to the array "to", without gaps. The array has room
   for k->n values and 16 more. */
GS_INLINE void gs_copy_words(const uint32_t *from, const gs_channels *k, int blocks, uint32_t *to) {
#if defined(__AVX512F__)
  for (int b = 0; b < blocks; b++) {
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(k->masks[b], _mm512_loadu_si512(from + b * GS_BLOCK)));
    to += __builtin_popcount(k->masks[b]);
  }
#else
  (void)blocks;
  for (int i = 0; i < k->n; i++) to[i] = from[k->channels[i]];
#endif
}

/* Copy the channels in k from four rows of bytes to the array "to", without gaps. Word i of the array gets the four
   bytes of the i-th channel. */
GS_INLINE void gs_copy_quads(const int8_t *const *rows, const gs_channels *k, int blocks, uint32_t *to) {
#if defined(__AVX512F__)
  for (int b = 0; b < blocks; b++) {
    if (!k->masks[b]) continue;
    __m128i row[4];
    GS_UNROLL for (int i = 0; i < 4; i++) row[i] = _mm_loadu_si128((const __m128i *)(rows[i] + b * GS_BLOCK));
    const __m128i low = _mm_unpacklo_epi8(row[0], row[1]), high = _mm_unpackhi_epi8(row[0], row[1]);
    const __m128i low2 = _mm_unpacklo_epi8(row[2], row[3]), high2 = _mm_unpackhi_epi8(row[2], row[3]);
    __m512i words = _mm512_castsi128_si512(_mm_unpacklo_epi16(low, low2));
    words = _mm512_inserti32x4(words, _mm_unpackhi_epi16(low, low2), 1);
    words = _mm512_inserti32x4(words, _mm_unpacklo_epi16(high, high2), 2);
    words = _mm512_inserti32x4(words, _mm_unpackhi_epi16(high, high2), 3);
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(k->masks[b], words));
    to += __builtin_popcount(k->masks[b]);
  }
#else
  (void)blocks;
  uint8_t *byte = (uint8_t *)to;
  for (int i = 0; i < k->n; i++) {
    const int32_t at = k->channels[i];
    GS_UNROLL for (int r = 0; r < 4; r++) *byte++ = (uint8_t)rows[r][at];
  }
#endif
}

/* List the indices of the count largest values of g [n], ascending. Among equal values, the first win. No value of g is
   negative.

   Floats that are not negative have the same order as their bits, taken as whole numbers. The first loop computes the
   smallest winning value bit by bit, from the highest bit on: a bit is 1 if at least count values are as large as the
   number with this bit. All larger values win. The remaining winners are the first values that equal it. */
static void gs_largest(const float *g, int n, int count, int32_t *out) {
  uint32_t threshold_bits = 0;
  for (uint32_t bit = 1u << 30; bit; bit >>= 1) {
    int above = 0;
    for (int i = 0; i < n; i++) {
      uint32_t bits;
      memcpy(&bits, g + i, sizeof(bits));
      above += (int32_t)bits >= (int32_t)(threshold_bits | bit);
    }
    if (above >= count) threshold_bits |= bit;
  }
  int equal = count, next = 0;
  for (int i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, g + i, sizeof(bits));
    equal -= (int32_t)bits > (int32_t)threshold_bits;
  }
  for (int i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, g + i, sizeof(bits));
    const int32_t value = GS_MAX((int32_t)bits, 0); /* -0 is 0 */
    if (value > (int32_t)threshold_bits) {
      out[next++] = i;
    } else if (value == (int32_t)threshold_bits && equal > 0) {
      out[next++] = i;
      equal--;
    }
  }
}

/* Pick the winning groups and list their channels.

   The predictor of FBS computes g = relu(phi mean + rho) from the mean of each active input channel; x [pixels][in->n]
   holds the active channels alone. The groups with the largest g win; out receives their indices. A layer's output is
   g (slope z + offset) + beta, where z is the convolution, and slope and offset are the batch normalisation. The
   function writes it as scale[i] z + shift[i] for the i-th winning channel. */
GS_INLINE gs_channels gs_choose(const gs_conv *c, const gs_fbs *f, const float *x, const gs_channels *in, int32_t *out,
                            float **scale, float **shift, char **at) {
  const int wide = GS_BLOCKS(c->c_out) * GS_BLOCK;
  float *u = gs_reserve(at, c->c_in * sizeof(float)), *mean = gs_reserve(at, c->c_in * sizeof(float));
  float *g = gs_reserve(at, wide * sizeof(float));
  *scale = gs_reserve(at, wide * sizeof(float)), *shift = gs_reserve(at, wide * sizeof(float));
  GS(pool_f32)(x, c->h * c->w, in->n, NULL, 0, mean, NULL);
  memset(u, 0, c->c_in * sizeof(float));
  for (int i = 0; i < in->n; i++) u[in->channels[i]] = mean[i];
  gs_predict(c, f, u, NULL, 0, g);
  if (f->block == 1) gs_largest(g, c->c_out, f->winners, out);
  else GS(winners)(g, c->c_out, f->winners, out);
  const gs_channels winners = gs_list_channels(out, f->winners, f->block, c->c_out, at);
  for (int i = 0; i < winners.n; i++) {
    const int k = winners.channels[i];
    (*scale)[i] = g[k] * f->slope[k];
    (*shift)[i] = g[k] * f->offset[k] + f->beta[k];
  }
  for (int i = winners.n; i < wide; i++) (*scale)[i] = (*shift)[i] = 0;
  return winners;
}

/* Return the bytes of scratch memory that gs_choose and two lists of channels need. */
GS_INLINE size_t gs_choose_scratch(const gs_conv *c) {
  const size_t in = GS_BLOCKS(c->c_in) * GS_BLOCK, out = GS_BLOCKS(c->c_out) * GS_BLOCK;
  return (2 * in + 3 * out) * sizeof(float) + gs_list_size(c->c_in) + gs_list_size(c->c_out) + 1024;
}

/* Return a copy [pixels][k->n] of the channels in k of x [pixels][channels]; if k has all channels, return x itself. */
GS_INLINE const float *gs_copy_pixels(const float *x, int pixels, int channels, const gs_channels *k, char **at) {
  if (k->n == channels) return x;
  float *copy = gs_reserve(at, (size_t)pixels * k->n * sizeof(float));
  GS(copy_channels)((const char *)x, pixels, channels, k->channels, k->n, sizeof(float), (char *)copy);
  return copy;
}

/* Write the values of the winners, rows [pixels][stride], to the winners' channels of y [pixels][channels]. If whole is
   set, all other channels of y become 0. */
GS_INLINE void gs_spread_rows(const float *rows, int stride, int pixels, int channels, const gs_channels *k, int block,
                              int whole, float *y) {
  if (whole && k->n < channels) memset(y, 0, (size_t)pixels * channels * sizeof(float));
  for (int p = 0; p < pixels; p++, rows += stride, y += channels) {
    if (block == GS_BLOCK) {
      for (int i = 0; i < k->n; i += GS_BLOCK) {
        memcpy(y + k->channels[i], rows + i, GS_MIN(GS_BLOCK, k->n - i) * sizeof(float));
      }
    } else {
      for (int i = 0; i < k->n; i++) y[k->channels[i]] = rows[i];
    }
  }
}

/* Return the shape of the same convolution with other numbers of channels. */
GS_INLINE gs_conv gs_fewer(const gs_conv *c, int c_in, int c_out) {
  gs_conv shape = *c;
  shape.c_in = c_in;
  shape.c_out = c_out;
  return shape;
}

#endif
