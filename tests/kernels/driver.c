/* Runs all kernels on pseudo-random numbers and prints results, to compare two instruction sets.

   tests/kernels/test_cross.py compiles this file with the kernels, for this machine and for Arm, and compares the
   lines that the programs print. A line "whole NAME ..." holds integers, which have to be equal. A line
   "floats NAME ..." holds figures of float32 arrays, which have to be close. Shapes are small: at most 6 x 6 pixels and
   40 channels.

   The compiler's command line defines GS_SUFFIX, the name of the instruction set, which ends the name of each kernel.
   It may define GS_PORTABLE, with which Arm cores run plain C. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels.h"

static uint32_t state = 1;

/* Returns the next pseudo-random integer, of 24 bits. */
static uint32_t next(void) { return (state = state * 1664525u + 1013904223u) >> 8; }

/* Returns a pseudo-random number from -1 to 1. */
static float real(void) { return (float)(next() % 2001) / 1000.0f - 1.0f; }

static void *arrays[1024];
static int n_arrays;

/* Allocates a number of bytes, and 64 more, and sets them to zero. */
static void *reserve(size_t bytes) {
  arrays[n_arrays] = calloc(bytes + 64, 1);
  if (!arrays[n_arrays]) puts("no memory left"), exit(1);
  return arrays[n_arrays++];
}

/* Frees the memory of all earlier calls of reserve; a microcontroller cannot hold the arrays of all tests at once. */
static void free_arrays(void) {
  while (n_arrays) free(arrays[--n_arrays]);
}

/* Prints a hash (FNV-1a, 32 bits) of n values, each of the given number of bytes. */
static void whole(const char *name, const void *values, int n, int bytes) {
  uint32_t sum = 2166136261u;
  for (int i = 0; i < n * bytes; i++) sum = (sum ^ ((const uint8_t *)values)[i]) * 16777619u;
  printf("whole %s %u\n", name, (unsigned)sum);
}

/* Prints figures of n values, scaled to integers: their sum, their sum with alternating signs, and the middle value. */
static void floats(const char *name, const float *values, int n) {
  float sum = 0, alternating = 0;
  for (int i = 0; i < n; i++) {
    sum += values[i];
    alternating += i % 2 ? -values[i] : values[i];
  }
  printf("floats %s %d %d %d\n", name, (int)(1000 * sum), (int)(1000 * alternating), (int)(100000 * values[n / 2]));
}

/* Runs convolutions of shape c in int8 and float32, and precision gating with groups of 1 to 32 channels. */
static void convolutions(gs_conv c) {
  const int outputs = gs_height(&c) * gs_width(&c) * c.c_out, wide = GS_BLOCKS(c.c_out) * GS_BLOCK;
  const int values = c.h * c.w * c.c_in, count = c.c_out * c.c_in * c.kh * c.kw;
  int8_t *weights = reserve(count), *packed = reserve(GS(conv_u8_size)(&c)), *rows = reserve(GS(pg_rows_size)(&c));
  int32_t *sums = reserve(wide * GS_BLOCKS(c.c_in) * GS_BLOCK * 4), *y = reserve(outputs * 4), *bias = reserve(wide * 4);
  uint8_t *x = reserve(values), *bytes = reserve(outputs);
  uint16_t *words = reserve(values * 2);
  float *scale = reserve(wide * 4), *shift = reserve(wide * 4), *fy = reserve(outputs * 4);
  float *fx = reserve(values * 4), *fw = reserve(count * 4), *fpacked = reserve(GS(conv_f32_size)(&c) * 4);
  for (int i = 0; i < count; i++) weights[i] = (int8_t)((int)(next() % 255) - 127), fw[i] = real();
  for (int i = 0; i < values; i++) x[i] = (uint8_t)next(), words[i] = (uint16_t)next(), fx[i] = real();
  for (int i = 0; i < c.c_out; i++) bias[i] = (int)(next() % 999), scale[i] = 0.001f, shift[i] = 0.25f;
  GS(conv_u8_pack)(&c, weights, packed, sums);
  GS(pg_rows)(&c, weights, rows);
  void *scratch = reserve(GS(conv_u8_scratch)(&c));
  GS(conv_u8)(&c, x, 3, NULL, 0, packed, sums, NULL, 0, bias, scale, shift, GS_SUMS, 0, y, scratch);
  whole("sums", y, outputs, 4);
  GS(conv_u8)(&c, x, 3, NULL, 0, packed, sums, NULL, 0, bias, scale, shift, GS_BYTES, 5, bytes, scratch);
  whole("bytes", bytes, outputs, 1);
  GS(conv_f32_pack)(&c, fw, fpacked);
  GS(conv_f32)(&c, fx, NULL, 0, fpacked, NULL, 0, scale, shift, 1, fy, reserve(GS(conv_f32_scratch)(&c)));
  floats("conv", fy, outputs);
  int64_t *limit = reserve(c.c_out * 8);
  int32_t *single = reserve(wide * 4), *low = reserve(outputs * 4);
  for (int i = 0; i < wide; i++) single[i] = i < c.c_out ? 0 : INT32_MAX;
  void *split = reserve(GS(pg_scratch)(&c));
  for (int group = 1; group <= 32; group = group == 1 ? 8 : group * 2) {
    gs_pg pg = {packed, sums, rows, limit, single, shift, 0.00001f, 2, 8, GS_MIN(group, c.c_out), 8};
    const int open = GS(pg)(&c, &pg, words, fy, y, low, split);
    printf("whole open %d\n", open);
    whole("high", y, outputs, 4);
    whole("low", low, outputs, 4);
    floats("pg", fy, outputs);
  }
}

/* Runs feature boosting and suppression, alone and with precision gating, then pooling and sums in int8. Channels win
   in groups of block. */
static void gathered_channels(gs_conv c, int block) {
  const int outputs = gs_height(&c) * gs_width(&c) * c.c_out, wide = GS_BLOCKS(c.c_out) * GS_BLOCK;
  const int values = c.h * c.w * c.c_in, operands = 4, taps = c.kh * c.kw * c.c_in * wide;
  const gs_conv linear = {1, 1, c.c_in, c.c_out, 1, 1, 1, 1, 0, 0, 1, 1};
  const int groups = (c.c_out + block - 1) / block;
  float *phi = reserve(c.c_out * c.c_in * 4), *packed = reserve(GS(conv_f32_size)(&linear) * 4), *vectors = reserve(4 * wide * 4);
  float *x = reserve(values * 4), *w = reserve(taps * 4), *y = reserve(outputs * 4), *threshold = reserve(c.c_out * 4);
  int8_t *bytes = reserve(taps * operands);
  int32_t *sums = reserve(operands * c.c_in * wide * 4), *out = reserve(groups * 4);
  const int32_t in[2] = {0, 2};
  for (int i = 0; i < c.c_out * c.c_in; i++) phi[i] = real();
  for (int i = 0; i < 4 * wide; i++) vectors[i] = real();
  for (int i = 0; i < values; i++) x[i] = real();
  for (int i = 0; i < taps; i++) w[i] = real();
  for (int i = 0; i < taps * operands; i++) {
    bytes[i] = (int8_t)((int)(next() % 255) - 127);
    sums[i % (operands * c.c_in * wide)] += bytes[i];
  }
  GS(conv_f32_pack)(&linear, phi, packed);
  const gs_fbs fbs = {packed, vectors, vectors + wide, vectors + 2 * wide, vectors + 3 * wide, (groups + 1) / 2, block};
  void *alone = reserve(GS(fbs_single_scratch)(&c)), *both = reserve(GS(fbs_pg_scratch)(&c, operands));
  for (int some = 0; some < 2; some++) {
    const int32_t *read = some ? in : NULL;
    GS(fbs_single)(&c, &fbs, x, read, 2, 1, w, 1, 1, y, out, alone);
    whole("winners", out, fbs.winners, 4);
    floats("single", y, outputs);
    for (int group = 1; group <= 32; group = group == 1 ? 8 : group * 2) {
      const gs_split split = {bytes, sums, threshold, 1.0f / 255, 255, 0.00001f, 4, GS_MIN(group, c.c_out), 1, 1};
      const int32_t open = GS(fbs_pg)(&c, &fbs, &split, x, read, 2, 1, 1, 1, y, out, both);
      whole("open", &open, 1, 4);
      floats("hybrid", y, outputs);
    }
  }
  uint8_t *pixels = reserve(values), *pooled = reserve(outputs), *added = reserve(values);
  for (int i = 0; i < values; i++) pixels[i] = (uint8_t)next();
  const gs_conv pool = {c.h, c.w, c.c_in, c.c_in, 2, 2, 2, 2, 0, 0, 1, 1};
  for (int largest = 0; largest < 2; largest++) {
    GS(pool_window_u8)(&pool, pixels, largest, pooled);
    whole("pooled", pooled, (c.h / 2) * (c.w / 2) * c.c_in, 1);
  }
  GS(sum_u8)(pixels, pixels, values, 0.25f, 0.5f, 3.0f, added);
  whole("added", added, values, 1);
}

/* Runs a depthwise convolution, pooling, a gate head, and a stage of two operators on four windows. */
static void stream_windows(int channels) {
  const gs_conv c = {6, 5, channels, channels, 3, 2, 2, 1, 1, 0, 1, 1};
  const int outputs = gs_height(&c) * gs_width(&c) * channels;
  uint8_t *x = reserve(30 * channels), *y = reserve(outputs);
  int8_t *weights = reserve(6 * channels), *windows = reserve(4 * 30 * channels);
  int32_t *bias = reserve(channels * 4), *total = reserve(channels * 4), *index = reserve(outputs * 4), passed[4] = {0};
  float *scale = reserve(channels * 4), *fx = reserve(30 * channels * 4), *mean = reserve(channels * 4);
  float *maximum = reserve(channels * 4);
  float *pooled = reserve(2 * channels * 4), logit;
  for (int i = 0; i < 30 * channels; i++) x[i] = (uint8_t)next(), fx[i] = real();
  for (int i = 0; i < 6 * channels; i++) weights[i] = (int8_t)((int)(next() % 255) - 127);
  for (int i = 0; i < 4 * 30 * channels; i++) windows[i] = (int8_t)next();
  for (int i = 0; i < channels; i++) {
    bias[i] = (int)(next() % 999), scale[i] = 0.002f, mean[i] = real(), maximum[i] = real();
  }
  for (int i = 0; i < outputs; i++) index[i] = i;
  GS(depthwise_u8)(&c, x, 130, weights, bias, scale, 20, y);
  whole("depthwise", y, outputs, 1);
  GS(pool_u8)(x, 30, channels, NULL, 0, total, y);
  whole("total", total, channels, 4);
  whole("largest", y, channels, 1);
  logit = GS(gate_f32)(fx, 30, channels, mean, maximum, 0.5f, pooled);
  floats("gate", &logit, 1);
  uint8_t *inside = reserve(30 * channels), last = 0;
  const gs_op ops[2] = {
      {.kind = GS_DEPTHWISE, .zero = 130, .zero_out = 20, .shape = c, .x = inside, .y = y, .weights = weights,
       .bias = bias, .scale = scale},
      {.kind = GS_LARGEST, .outputs = 1, .count = 2, .x = y, .y = &last, .index = index}};
  const gs_stream stream = {ops, 2, 30 * channels, 4, -90, windows, inside, &last, passed};
  printf("whole passed %d\n", GS(stream)(&stream));
  whole("listed", passed, 4, 4);
}

/* Returns a pseudo-random integer from low to high. */
static int from_to(int low, int high) { return low + (int)(next() % (unsigned)(high - low + 1)); }

/* Returns a pseudo-random shape whose windows all overlap the image; a channel count is often a multiple of 4 or 16. */
static gs_conv drawn_shape(void) {
  gs_conv c = {from_to(1, 9), from_to(1, 9), from_to(1, 40), from_to(1, 40), from_to(1, 5), from_to(1, 5),
               from_to(1, 2), from_to(1, 2), 0, 0, from_to(1, 2), from_to(1, 2)};
  if (next() & 1) c.c_in = (c.c_in + 15) & ~15, c.c_out = (c.c_out + 3) & ~3;
  while (c.dilation_h * (c.kh - 1) >= c.h) c.kh--;
  while (c.dilation_w * (c.kw - 1) >= c.w) c.kw--;
  c.pad_h = from_to(0, c.kh - 1), c.pad_w = from_to(0, c.kw - 1);
  return c;
}

/* Runs int8 layers of pseudo-random shapes: a convolution of all and of some blocks of channels, a depthwise
   convolution, pooling, and a sum. Large scales make outputs that are clipped. In some layers, all values and weights are
   the smallest or the largest ones. */
static void drawn_layers(void) {
  const gs_conv c = drawn_shape();
  gs_conv d = c;
  d.c_out = c.c_in;
  const int pixels = gs_height(&c) * gs_width(&c), wide = GS_BLOCKS(c.c_out) * GS_BLOCK, most = GS_MAX(wide, c.c_in);
  const int values = c.h * c.w * c.c_in, taps = c.kh * c.kw, count = c.c_out * c.c_in * taps;
  const int zero = from_to(0, 255), zero_out = next() & 1 ? 0 : from_to(0, 255), huge = next() % 8 == 0;
  const int extreme = next() % 4 == 0;
  int8_t *weights = reserve(count), *packed = reserve(GS(conv_u8_size)(&c)), *by_tap = reserve(taps * c.c_in);
  int32_t *sums = reserve(wide * GS_BLOCKS(c.c_in) * 4), *bias = reserve(most * 4);
  uint8_t *x = reserve(values), *bytes = reserve(GS_MAX(pixels, c.h * c.w) * most);
  float *scale = reserve(most * 4), *shift = reserve(most * 4);
  for (int i = 0; i < count; i++) weights[i] = (int8_t)next();
  for (int i = 0; i < taps * c.c_in; i++) by_tap[i] = (int8_t)next();
  for (int i = 0; i < values; i++) x[i] = (uint8_t)next();
  for (int i = 0; extreme && i < values; i++) x[i] = x[i] & 1 ? 0 : 255;
  for (int i = 0; extreme && i < taps * c.c_in; i++) by_tap[i] = by_tap[i] & 1 ? -128 : 127;
  for (int i = 0; i < most; i++) bias[i] = from_to(-999, 999), scale[i] = (huge ? 1e9f : 0.002f) * real(), shift[i] = 9 * real();
  GS(conv_u8_pack)(&c, weights, packed, sums);
  void *scratch = reserve(GS(conv_u8_scratch)(&c));
  int32_t in[3] = {0}, out[3] = {0}, n_in = 0, n_out = 0;
  for (int k = 0; k < GS_BLOCKS(c.c_in); k++) if (next() & 1) in[n_in++] = k;
  for (int k = 0; k < GS_BLOCKS(c.c_out); k++) if (next() & 1) out[n_out++] = k;
  GS(conv_u8)(&c, x, zero, NULL, 0, packed, sums, NULL, 0, bias, scale, shift, GS_BYTES, zero_out, bytes, scratch);
  whole("drawn", bytes, pixels * c.c_out, 1);
  memset(bytes, 0, pixels * most);
  GS(conv_u8)(&c, x, zero, in, n_in, packed, sums, out, n_out, bias, scale, shift, GS_BYTES, zero_out, bytes, scratch);
  whole("gated", bytes, pixels * c.c_out, 1);
  GS(depthwise_u8)(&d, x, zero, by_tap, bias, scale, zero_out, bytes);
  whole("filtered", bytes, pixels * c.c_in, 1);
  d.pad_h = d.pad_w = 0, d.dilation_h = d.dilation_w = 1;
  for (int largest = 0; largest < 2; largest++) {
    GS(pool_window_u8)(&d, x, largest, bytes);
    whole("pooled", bytes, gs_height(&d) * gs_width(&d) * c.c_in, 1);
  }
  GS(sum_u8)(x, x, values, 0.7f, 0.9f, (float)from_to(-99, 200), bytes);
  whole("summed", bytes, values, 1);
}

/* Pools a map of more than 4,096 pixels to one. */
static void large_map(void) {
  const gs_conv c = {75, 56, 17, 17, 75, 56, 1, 1, 0, 0, 1, 1};
  uint8_t *x = reserve(75 * 56 * 17), mean[17];
  for (int i = 0; i < 75 * 56 * 17; i++) x[i] = (uint8_t)next();
  GS(pool_window_u8)(&c, x, 0, mean);
  whole("large", mean, 17, 1);
}

/* Runs the mel front end on a clip and on a stream; frame is the number of samples in a frame. */
static void front_end(int frame) {
  enum { FFT = 64, BINS = 33, MELS = 5, FEATURES = 3 };
  float *samples = reserve(4 * frame * 4), *window = reserve(frame * 4), *turn = reserve(FFT / 2 * 4), *split = reserve(2 * BINS * 4);
  float *weights = reserve(2 * MELS * 4), *dct = reserve(MELS * FEATURES * 4), mean[FEATURES] = {0}, std[FEATURES] = {1, 2, 3};
  int32_t first[MELS], starts[MELS + 1] = {0};
  for (int k = 0; k < 4 * frame; k++) samples[k] = real();
  for (int k = 0; k < frame; k++) window[k] = real();
  for (int k = 0; k < FFT / 2; k++) turn[k] = real();
  for (int k = 0; k < 2 * BINS; k++) split[k] = real();
  for (int k = 0; k < 2 * MELS; k++) weights[k] = 0.5f;
  for (int k = 0; k < MELS * FEATURES; k++) dct[k] = real();
  for (int k = 0; k < MELS; k++) first[k] = 6 * k, starts[k + 1] = 2 * k + 2;
  const gs_mel m = {FFT, frame, frame / 2, BINS, MELS, FEATURES, 16, window, turn, split, first, starts, weights, dct, mean, std};
  int8_t *out = reserve(6 * FEATURES);
  void *scratch = reserve(GS(mel_scratch)(&m));
  GS(mel)(&m, samples, 6, out, scratch);
  whole("mel", out, 6 * FEATURES, 1);
  GS(mel_stream)(&m, samples, 2, reserve((frame - frame / 2 + 2 * m.stride) * 4), 6, out, scratch);
  whole("history", out, 6 * FEATURES, 1);
}

/* Returns n pseudo-random integers of at most the given magnitude. */
static int32_t *integers(int n, int32_t largest) {
  int32_t *values = reserve(n * 4);
  for (int k = 0; k < n; k++) values[k] = (int32_t)(next() % 2000001) * (largest / 1000000) - largest;
  return values;
}

/* Runs the fixed-point mel front end on two hops; frame is the number of samples in a frame. */
static void fixed_front_end(int fft, int frame, int has_dct) {
  enum { BINS = 23, MELS = 5, FEATURES = 3 };
  const int stride = frame - 7, padded = MELS + 1;
  int16_t *samples = reserve(2 * stride * 2), *factors = reserve(FEATURES * padded * 2);
  uint16_t *order = reserve(fft / 4), *weights = reserve(4 * MELS * 2), *logarithms = reserve(65 * 2);
  uint32_t *roots = reserve(129 * 4);
  int32_t first[MELS], starts[MELS + 1] = {0};
  uint8_t shifts[FEATURES] = {18, 20, 25};
  int64_t biases[FEATURES] = {-12345, 0, 98765432};
  for (int k = 0; k < 2 * stride; k++) samples[k] = (int16_t)(next() >> 4);
  for (int k = 0; k < fft / 8; k++) order[k] = (uint16_t)(fft / 8 - 1 - k);
  for (int k = 0; k < 4 * MELS; k++) weights[k] = (uint16_t)next();
  for (int k = 0; k < 65; k++) logarithms[k] = (uint16_t)(512 * k);
  for (int k = 0; k < 129; k++) roots[k] = (uint32_t)(4096 * k / 12) << 16 | 341;
  for (int k = 0; k < FEATURES * padded; k++) factors[k] = (int16_t)next();
  for (int k = 0; k < MELS; k++) first[k] = 4 * k, starts[k + 1] = 4 * k + 3;
  const gs_fixed_mel m = {fft, frame, stride, BINS, MELS, FEATURES, 7, has_dct, 34360, 31,
                          (gs_complex *)integers(fft, 1 << 28), order, (gs_complex *)integers(3 * fft, 700000000),
                          (gs_complex *)integers(2 * BINS + 2, 700000000), first, starts, weights, roots, logarithms,
                          factors, shifts, biases};
  int8_t *out = reserve(2 * FEATURES);
  int16_t *history = reserve((7 + stride) * 2);
  void *scratch = reserve(GS(fixed_mel_scratch)(&m));
  for (int k = 0; k < 2; k++) GS(fixed_mel_hop)(&m, samples + k * stride, history, out + k * FEATURES, scratch);
  whole("fixed", out, 2 * FEATURES, 1);
  whole("kept", history, 7, 2);
}

/* Runs three steps of an LSTM layer in float32; the layer has size units and columns inputs. */
static void steps(int size, int columns) {
  gs_matrix m[2];
  for (int i = 0; i < 2; i++) {
    const gs_conv shape = {1, 1, i ? size : columns, 4 * size, 1, 1, 1, 1, 0, 0, 1, 1};
    float *w = reserve(4 * size * shape.c_in * 4), *packed = reserve(GS(conv_f32_size)(&shape) * 4);
    for (int k = 0; k < 4 * size * shape.c_in; k++) w[k] = real() / 8;
    GS(conv_f32_pack)(&shape, w, packed);
    m[i] = (gs_matrix){GS_DENSE, 4, size, shape.c_in, 0, 0, packed, NULL, NULL, NULL, NULL};
  }
  float *bias = reserve(4 * size * 4), *x = reserve(columns * 4), *h = reserve(size * 4), *c = reserve(size * 4);
  for (int k = 0; k < columns; k++) x[k] = real();
  for (int k = 0; k < 4 * size; k++) bias[k] = real();
  for (int k = 0; k < 3; k++) GS(lstm_step)(&m[0], &m[1], bias, x, h, c, reserve(GS(step_scratch)(&m[0], &m[1])));
  floats("lstm", h, size);
}

/* Runs three steps of an LSTM layer in int8. If hybrid is set, the weights have the form of hybrid matrix decomposition
   (HMD); else they are dense, and three steps of a GRU layer follow. */
static void steps_u8(int size, int columns, int hybrid) {
  gs_matrix_u8 m[2];
  const int rich = hybrid ? size / 3 : size, parts = hybrid ? 2 : 0;
  for (int i = 0; i < 2; i++) {
    const int wide = i ? size : columns, rows = 4 * (rich + parts);
    const gs_conv shape = {1, 1, wide, rows, 1, 1, 1, 1, 0, 0, 1, 1};
    int8_t *w = reserve(rows * wide), *packed = reserve(GS(conv_u8_size)(&shape)), *down = reserve(4 * parts * size);
    int32_t *sums = reserve(GS_BLOCKS(rows) * GS_BLOCK * GS_BLOCKS(wide) * 4), *by_row = reserve(rows * 4);
    float *scale = reserve(4 * size * 4), *middle = reserve(4 * parts * 4 + 4);
    for (int k = 0; k < rows * wide; k++) w[k] = (int8_t)((int)(next() % 255) - 127), by_row[k / wide] += w[k];
    for (int k = 0; k < 4 * parts * (size - rich); k++) down[k] = (int8_t)((int)(next() % 255) - 127);
    for (int k = 0; k < 4 * size; k++) scale[k] = k % size < rich ? 0.05f + real() / 100 : 0.002f;
    for (int k = 0; k < 4 * parts; k++) middle[k] = 0.3f + real() / 10;
    GS(conv_u8_pack)(&shape, w, packed, sums);
    m[i] = (gs_matrix_u8){hybrid ? GS_HMD : GS_DENSE, 4, size, wide, rich, parts, i ? 128 : 100, packed, by_row,
                          scale, middle, down};
  }
  static int16_t sigmoid[2049], tangent[2049];
  for (int k = 0; k < 2049; k++) sigmoid[k] = (int16_t)(k * 15), tangent[k] = (int16_t)(k * 31 - 32000);
  const gs_tables tables = {sigmoid, tangent};
  float *bias = reserve(4 * size * 4);
  uint8_t *x = reserve(columns), *h = reserve(size);
  int16_t *c = reserve(size * 2);
  void *scratch = reserve(GS(step_u8_scratch)(&m[0], &m[1]));
  for (int k = 0; k < columns; k++) x[k] = (uint8_t)next();
  for (int k = 0; k < 4 * size; k++) bias[k] = 4096 * real();
  for (int k = 0; k < 3; k++) GS(lstm_step_u8)(&m[0], &m[1], &tables, bias, x, h, c, scratch);
  whole("cells", c, size, 2);
  whole("states", h, size, 1);
  m[0].gates = m[1].gates = 3;
  if (!hybrid) {
    for (int k = 0; k < 3; k++) GS(gru_step_u8)(&m[0], &m[1], &tables, bias, bias + size, x, h, c, scratch);
    whole("gru", h, size, 1);
  }
}

int main(void) {
  static char printing[BUFSIZ]; /* is static, because on the heap it would divide the free memory */
  setvbuf(stdout, printing, _IOLBF, sizeof printing);
  convolutions((gs_conv){5, 6, 20, 40, 3, 3, 1, 1, 1, 1, 1, 1}), free_arrays();
  convolutions((gs_conv){6, 5, 3, 17, 3, 2, 2, 1, 1, 0, 1, 1}), free_arrays();
  convolutions((gs_conv){3, 3, 33, 16, 1, 1, 1, 1, 0, 0, 1, 1}), free_arrays();
  gathered_channels((gs_conv){5, 6, 20, 40, 3, 3, 1, 1, 1, 1, 1, 1}, 1), free_arrays();
  gathered_channels((gs_conv){5, 6, 20, 40, 3, 3, 1, 1, 1, 1, 1, 1}, 16), free_arrays();
  gathered_channels((gs_conv){6, 5, 3, 17, 3, 2, 2, 1, 1, 0, 1, 1}, 1), free_arrays();
  stream_windows(20), free_arrays();
  stream_windows(3), free_arrays();
  front_end(40), free_arrays();
  front_end(41), free_arrays();
  fixed_front_end(64, 57, 0), free_arrays();
  fixed_front_end(128, 128, 1), free_arrays();
  steps(20, 7), free_arrays();
  steps_u8(20, 7, 0), free_arrays();
  steps_u8(37, 16, 1), free_arrays();
  for (int i = 0; i < 100; i++) drawn_layers(), free_arrays();
  large_map(), free_arrays();
  return 0;
}
