/* Pooling and sums of feature maps with the DSP extension: four bytes of a word at a time. */
#ifndef GS_POOL_DSP_H
#define GS_POOL_DSP_H

#include "simd.h"

#define GS_MOST_TAPS 256 /* bytes whose sum fits 16 bits */

/* Return a plus the bytes 1 and 3 of b, each widened to 16 bits. */
GS_INLINE uint32_t gs_add_odd(uint32_t a, uint32_t b) {
  __asm__("uxtab16 %0, %0, %1, ror #8" : "+r"(a) : "r"(b));
  return a;
}

/* Return the results of four channels for a window of rows by columns. row is the distance of two rows in x, step that
   of two columns. */
GS_INLINE uint32_t gs_largest_of_four(const uint8_t *x, int rows, int columns, int row, int step) {
  uint32_t largest = 0;
  for (; rows; rows--, x += row) {
    const uint8_t *at = x;
    for (int k = columns; k; k--, at += step) {
      uint32_t word;
      memcpy(&word, at, 4);
      __usub8(word, largest); /* sets a flag for each byte that is at least as large */
      largest = __sel(word, largest);
    }
  }
  return largest;
}
GS_INLINE uint32_t gs_mean_of_four(const uint8_t *x, int rows, int columns, int row, int step) {
  const unsigned count = (unsigned)(rows * columns), half = count / 2;
  unsigned sum0 = half, sum1 = half, sum2 = half, sum3 = half;
  uint32_t even = 0, odd = 0;
  for (int taps = 0; rows; rows--, x += row) {
    const uint8_t *at = x;
    for (int left = columns; left;) {
      const int n = GS_MIN(left, GS_MOST_TAPS - taps);
      for (int k = n; k; k--, at += step) {
        uint32_t word;
        memcpy(&word, at, 4);
        even = __uxtab16(even, word);
        odd = gs_add_odd(odd, word);
      }
      left -= n;
      taps += n;
      if (taps == GS_MOST_TAPS) {
        sum0 += even & 0xffff, sum2 += even >> 16, sum1 += odd & 0xffff, sum3 += odd >> 16;
        even = odd = 0, taps = 0;
      }
    }
  }
  sum0 += even & 0xffff, sum2 += even >> 16, sum1 += odd & 0xffff, sum3 += odd >> 16;
  return sum0 / count | (sum1 / count) << 8 | (sum2 / count) << 16 | (sum3 / count) << 24;
}

/* Pool x as pool.c says. The last group of four channels may overlap the one before it; with fewer than four channels,
   the bytes behind them are neither read nor written. */
static void gs_pool_u8(const gs_conv *c, const uint8_t *x, int largest, uint8_t *y) {
  const int height = gs_height(c), width = gs_width(c), channels = c->c_in, step = c->w * channels;
  for (int row = 0; row < height; row++) {
    const int top = row * c->stride_h - c->pad_h, first_y = GS_MAX(top, 0), rows = GS_MIN(top + c->kh, c->h) - first_y;
    for (int column = 0; column < width; column++, y += channels) {
      const int left = column * c->stride_w - c->pad_w, first_x = GS_MAX(left, 0);
      const int columns = GS_MIN(left + c->kw, c->w) - first_x;
      const uint8_t *window = x + ((ptrdiff_t)first_y * c->w + first_x) * channels;
      for (int first = 0; channels >= 4 && first < channels; first += 4) {
        const int k = GS_MIN(first, channels - 4);
        const uint32_t four = largest ? gs_largest_of_four(window + k, rows, columns, step, channels)
                                      : gs_mean_of_four(window + k, rows, columns, step, channels);
        memcpy(y + k, &four, 4);
      }
      for (int k = 0; channels < 4 && k < channels; k++) {
        unsigned sum = (unsigned)(rows * columns) / 2, maximum = 0;
        for (int i = 0; i < rows * columns; i++) {
          const unsigned value = window[i / columns * step + i % columns * channels + k];
          sum += value;
          maximum = GS_MAX(maximum, value);
        }
        y[k] = (uint8_t)(largest ? maximum : sum / (unsigned)(rows * columns));
      }
    }
  }
}

/* Return a value of a sum. */
GS_INLINE uint32_t gs_sum_of_two(uint32_t x, uint32_t z, float scale_x, float scale_z, float shift) {
  const float value = (float)(int32_t)x * scale_x + (float)(int32_t)z * scale_z + shift;
#if defined(__ARM_FP) && (__ARM_FP & 4)
  float whole = value;
  __asm__("vcvtr.s32.f32 %0, %0" : "+t"(whole)); /* rounds half to even */
  int32_t sum;
  memcpy(&sum, &whole, 4);
  return __usat(sum, 8);
#else
  const float clipped = value < 0.0f ? 0.0f : value > 255.0f ? 255.0f : value;
  return (uint32_t)(int32_t)((clipped + 12582912.0f) - 12582912.0f); /* adding 1.5 * 2^23 rounds half to even */
#endif
}

/* Add two maps as pool.c says. */
static void gs_sum_u8(const uint8_t *x, const uint8_t *z, int n, float scale_x, float scale_z, float shift,
                      uint8_t *restrict y) {
  for (; n >= 4; n -= 4, x += 4, z += 4, y += 4) {
    uint32_t a, b, sum = 0;
    memcpy(&a, x, 4);
    memcpy(&b, z, 4);
    GS_UNROLL for (int k = 0; k < 32; k += 8) {
      sum |= gs_sum_of_two(a >> k & 255, b >> k & 255, scale_x, scale_z, shift) << k;
    }
    memcpy(y, &sum, 4);
  }
  for (int k = 0; k < n; k++) y[k] = (uint8_t)gs_sum_of_two(x[k], z[k], scale_x, scale_z, shift);
}

#endif
