/* Encodes a tensor that crosses from one core to the next: its active channels, or a bitmap and its nonzero values. */
#include "kernels.h"
#include "simd.h"

/* x [pixels][stride values] to out [pixels][n]: the values of the channels kept, of 1, 2 or 4 bytes each. */
#define GS_KEEP(value_t)                                                    \
  for (int p = 0; p < pixels; p++, x += (size_t)stride * bytes) {           \
    for (int i = 0; i < n; i++, out += bytes) {                             \
      memcpy(out, x + (size_t)kept[i] * sizeof(value_t), sizeof(value_t));  \
    }                                                                       \
  }

void GS(keep_channels)(const char *x, int pixels, int stride, const int32_t *kept, int n, int bytes, char *out) {
  int first = 0, blocks = n % GS_BLOCK == 0;
  for (; blocks && first < n; first += GS_BLOCK) {
    for (int k = 1; k < GS_BLOCK; k++) blocks &= kept[first + k] == kept[first] + k;
  }
  if (blocks) { /* whole blocks, as FBS leaves them */
    for (int p = 0; p < pixels; p++, x += (size_t)stride * bytes) {
      for (int i = 0; i < n; i += GS_BLOCK, out += GS_BLOCK * bytes) {
        memcpy(out, x + (size_t)kept[i] * bytes, (size_t)GS_BLOCK * bytes);
      }
    }
  } else if (bytes == 1) {
    GS_KEEP(uint8_t)
  } else if (bytes == 2) {
    GS_KEEP(uint16_t)
  } else {
    GS_KEEP(uint32_t)
  }
}

/* x [n] to a bitmap [(n + 7) / 8], lowest bit first, and the values that are not zero; returns how many. values must
   have room for n. */
int GS(keep_nonzero)(const uint8_t *x, int n, uint8_t *bitmap, uint8_t *values) {
  int count = 0;
  for (int i = 0; i < n; i += 8) {
    unsigned bits = 0;
    for (int k = 0; k < GS_MIN(8, n - i); k++) {
      /* Written always and counted where it matters: no branch to mispredict. */
      values[count] = x[i + k];
      bits |= (unsigned)(x[i + k] != 0) << k;
      count += x[i + k] != 0;
    }
    bitmap[i / 8] = (uint8_t)bits;
  }
  return count;
}

void GS(spread_nonzero)(const uint8_t *bitmap, const uint8_t *values, int n, uint8_t *x) {
  for (int i = 0; i < n; i++) {
    const int there = bitmap[i / 8] >> (i % 8) & 1;
    x[i] = 0;
    if (there) x[i] = *values++;
  }
}
