/* The level gate on a stream: a whole-number statistic of the window that ends with the newest sample.

   Samples are int16. In gatesearch/gates/level/, statistics.py defines the statistics, and hops.py computes the same
   numbers in Python. gatesearch/kernels/level.py calls the function level. With GS_KIT defined, the file instead holds
   prepare_level and run_level, for a program that times kernels on a board (kit.h). */
#ifndef GS_KIT
#include "kernels.h"

/* The statistics: standard deviation and mean of the frames' logarithmic levels, and the flatness of their spectra. */
enum { GS_SPREAD, GS_LEVEL, GS_FLATNESS };
#define GS_LOG_BITS 8       /* a logarithm is in units of 2^-8 octaves */
#define GS_FRACTION_BITS 16 /* a statistic is in units of 2^-16 octaves */
#define GS_INDEX_BITS 7     /* number of mantissa bits that select an entry of the table of logarithms */
#define GS_FILTER_BITS 14   /* a filter's weights are in units of 2^-14 */

/* Return 256 times the binary logarithm of a value of at least 1; logs is a table over the mantissa's first 7 bits. */
GS_INLINE int32_t whole_logarithm(const int16_t *logs, uint64_t value) {
  const int exponent = 63 - __builtin_clzll(value);
  const uint64_t mantissa = exponent > GS_INDEX_BITS ? value >> (exponent - GS_INDEX_BITS)
                                                     : value << (GS_INDEX_BITS - exponent);
  return exponent * (1 << GS_LOG_BITS) + logs[mantissa - (1 << GS_INDEX_BITS)];
}

/* Return the whole part of a square root that is below 2^31, computed bit by bit from the highest bit. */
static int64_t whole_root(uint64_t value) {
  uint64_t root = 0;
  for (int bit = 30; bit >= 0; bit--) {
    const uint64_t trial = root + ((uint64_t)1 << bit);
    if (trial * trial <= value) root = trial;
  }
  return (int64_t)root;
}

/* Return the quotient rounded down; the division of C rounds towards zero. */
GS_INLINE int64_t floor_quotient(int64_t value, int64_t divisor) {
  return value / divisor - (value % divisor < 0);
}

/* Return the distance of a frame's spectrum from a flat spectrum, in 1/256 octaves: the logarithm of the bins' mean
   magnitude minus the logarithm of a bin's magnitude, summed over the bins. */
static int32_t spectral_deficit(const gs_level *l, const int16_t *block) {
  const int bins = l->bins;
  int64_t sum = 0, logarithms = 0;
  for (int k = 0; k < bins; k++) {
    int64_t re = 0, im = 0;
    const int16_t *real = l->filters + k * l->block, *imaginary = l->filters + (bins + k) * l->block;
    for (int i = 0; i < l->block; i++) {
      re += (int32_t)block[i] * real[i];
      im += (int32_t)block[i] * imaginary[i];
    }
    re >>= GS_FILTER_BITS, im >>= GS_FILTER_BITS;
    const int64_t size = (re < 0 ? -re : re) + (im < 0 ? -im : im) + 1;
    sum += size;
    logarithms += whole_logarithm(l->logs, (uint64_t)size);
  }
  const int32_t flat = whole_logarithm(l->logs, (uint64_t)sum) - whole_logarithm(l->logs, (uint64_t)bins);
  return (int32_t)(bins * (int64_t)flat - logarithms);
}

/* Replace the number of the oldest frame by that of a new frame, and update the sums. The number of a frame is its
   logarithmic level or, for the flatness, its spectral deficit. */
static void push_number(gs_level *l, int32_t number) {
  const int64_t old = l->numbers[l->place];
  l->total += number - old;
  l->squares += (int64_t)number * number - old * old;
  l->numbers[l->place] = number;
  l->place = l->place + 1 < l->frames ? l->place + 1 : 0;
}

/* Add n samples of a stream, and return the statistic of the last l->frames frames. Until the stream has as many
   frames, the result has no meaning. */
int64_t GS(level)(gs_level *l, const int16_t *samples, int n) {
  while (n > 0) {
    const int count = GS_MIN(n, l->block - l->filled);
    if (l->kind == GS_FLATNESS) {
      memcpy(l->rest + l->filled, samples, (size_t)count * sizeof(int16_t));
    } else {
      uint64_t magnitude = 0;
      for (int i = 0; i < count; i++) magnitude += (uint32_t)(samples[i] < 0 ? -(int32_t)samples[i] : samples[i]);
      l->magnitude += magnitude;
    }
    l->filled += count, samples += count, n -= count;
    if (l->filled < l->block) break;
    push_number(l, l->kind == GS_FLATNESS ? spectral_deficit(l, l->rest)
                                          : whole_logarithm(l->logs, l->magnitude + (uint64_t)l->block));
    l->filled = 0, l->magnitude = 0;
  }
  const int64_t count = l->frames, scale = 1 << (GS_FRACTION_BITS - GS_LOG_BITS);
  if (l->kind == GS_FLATNESS) return floor_quotient(l->total * scale, l->bins * count);
  if (l->kind == GS_LEVEL) return floor_quotient(l->total * scale, count);
  return whole_root((uint64_t)(count * l->squares - l->total * l->total) * (uint64_t)(scale * scale)) / count;
}

/* Take the n hops that samples hold, and write the statistic after each hop to out [n]. */
void GS(level_hops)(gs_level *l, const int16_t *samples, int hop, int n, int64_t *out) {
  for (int i = 0; i < n; i++, samples += hop) out[i] = GS(level)(l, samples, hop);
}

#else /* with GS_KIT: functions for a program that times kernels on a board */
#include "kit.h"

/* Prepare the call of a row of the kit. The row's shape holds the samples of a hop, the samples of a frame, the frames
   of a window, and the bins of a spectrum. */
static void prepare_level(gs_call *k) {
  const int32_t *shape = k->row->shape;
  gs_level *l = reserve(sizeof(gs_level));
  k->x = bytes(2 * shape[0]), k->extra = l;
  if (!l) return;
  l->kind = k->row->variant[0], l->block = shape[1], l->frames = shape[2], l->bins = shape[3];
  l->logs = bytes(2 * 128), l->filters = bytes(2 * 2 * shape[3] * shape[1]);
  l->rest = reserve(2 * (size_t)shape[1]), l->numbers = reserve(4 * (size_t)shape[2]);
}

/* Run the prepared gate on a hop. */
GS_INLINE void run_level(gs_call *k) { (void)GS(level)(k->extra, k->x, k->row->shape[0]); }
#endif
