/* Encodes a tensor that crosses from one core to the next, so that fewer bytes cross.

   One encoding holds the active channels alone. The other holds a bitmap and the values that are not zero. No Python
   code calls these functions; tests/kernels/driver.c runs them on every instruction set. */
#include "kernels.h"
#include "simd.h"

/* The loop of copy_channels for values of one type; the channels need not form whole blocks. */
#define GS_COPY_VALUES(value_t)                                                \
  for (int p = 0; p < pixels; p++, x += (size_t)stride * bytes) {              \
    for (int i = 0; i < n; i++, out += bytes) {                                \
      memcpy(out, x + (size_t)channels[i] * sizeof(value_t), sizeof(value_t)); \
    }                                                                          \
  }

/* Copy n channels of x [pixels][stride] to out [pixels][n]. The array channels lists them; a value has 1, 2 or 4
   bytes. */
void GS(copy_channels)(const char *x, int pixels, int stride, const int32_t *channels, int n, int bytes, char *out) {
  int first = 0, blocks = n % GS_BLOCK == 0;
  for (; blocks && first < n; first += GS_BLOCK) {
    for (int k = 1; k < GS_BLOCK; k++) blocks &= channels[first + k] == channels[first] + k;
  }
  if (blocks) { /* whole blocks of 16 neighbours, which feature boosting and suppression (FBS) produces */
    for (int p = 0; p < pixels; p++, x += (size_t)stride * bytes) {
      for (int i = 0; i < n; i += GS_BLOCK, out += GS_BLOCK * bytes) {
        memcpy(out, x + (size_t)channels[i] * bytes, (size_t)GS_BLOCK * bytes);
      }
    }
  } else if (bytes == 1) {
    GS_COPY_VALUES(uint8_t)
  } else if (bytes == 2) {
    GS_COPY_VALUES(uint16_t)
  } else {
    GS_COPY_VALUES(uint32_t)
  }
}

/* Encode x [n] as a bitmap [(n + 7) / 8], lowest bit first, and the values that are not zero; return their number.
   The array values must have room for n values. */
int GS(pack_nonzero)(const uint8_t *x, int n, uint8_t *bitmap, uint8_t *values) {
  int count = 0;
  for (int i = 0; i < n; i += 8) {
    unsigned bits = 0;
    for (int k = 0; k < GS_MIN(8, n - i); k++) {
      /* The value is always written, but counted only if it is not zero. So no branch can be mispredicted. */
      values[count] = x[i + k];
      bits |= (unsigned)(x[i + k] != 0) << k;
      count += x[i + k] != 0;
    }
    bitmap[i / 8] = (uint8_t)bits;
  }
  return count;
}

/* Decode what pack_nonzero encodes, to x [n]. */
void GS(unpack_nonzero)(const uint8_t *bitmap, const uint8_t *values, int n, uint8_t *x) {
  for (int i = 0; i < n; i++) {
    const int is_set = bitmap[i / 8] >> (i % 8) & 1;
    x[i] = 0;
    if (is_set) x[i] = *values++;
  }
}
