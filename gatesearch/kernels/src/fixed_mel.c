/* The mel front end in fixed point: a logarithmic mel spectrum or its cosine transform (MFCC), in int8.

     samples x window -> |Fourier transform| -> mel bands -> log2(. + offset) [-> cosine transform] -> scale -> int8
   Samples are int16. All arithmetic is in integers. gatesearch/frontends/fixed_mel.py computes the tables of gs_fixed_mel
   and the same features in Python; gatesearch/kernels/fixed_mel.py calls fixed_mel for frames and fixed_mel_hop for
   streams. With GS_KIT defined, the file instead holds prepare_fixed_mel and run_fixed_mel, for a program that times
   kernels on a board (kit.h). */
#ifndef GS_KIT
#include "fixed.h"

/* The number of logarithms is rounded up, because the cosine transform reads pairs. */
GS_INLINE int32_t padded_mels(const gs_fixed_mel *m) { return m->mels + (m->mels & 1); }

/* Return the bytes of scratch memory that a frame needs. */
size_t GS(fixed_mel_scratch)(const gs_fixed_mel *m) {
  return (size_t)(m->fft / 2 + 4) * 12 + 64 + (size_t)padded_mels(m) * sizeof(int16_t) + 3 * 64;
}

/* Copy a frame to wave [fft], with zeros behind it. Return the number of bits by which all samples can be shifted to
   the left without overflow.

   This is the number of copies of the sign bit at the top of a sample, less one. For a sample w, a bit of w ^ (w << 1)
   is set where the bit of w differs from the next lower bit. So the highest set bit lies at the last copy of the sign.
   Bit 0 of each half of a word has no lower bit and does not count. */
GS_INLINE int32_t copy_frame(const gs_fixed_mel *m, const int16_t *samples, int16_t *wave) {
  uint32_t bits = 0;
  int16_t *end = wave + m->fft;
  _Pragma("GCC unroll 4") for (const int16_t *last = samples + (m->frame & ~1); samples < last; samples += 2, wave += 2) {
    const uint32_t pair = gs_pair(samples);
    bits |= pair ^ (pair << 1);
    memcpy(wave, &pair, 4);
  }
  if (m->frame & 1) {
    const uint32_t pair = (uint16_t)*samples;
    bits |= pair ^ (pair << 1);
    memcpy(wave, &pair, 4);
    wave += 2;
  }
  for (; wave < end; wave += 2) memset(wave, 0, 4);
  bits = ((bits >> 16) | bits) & 0xfffeu;
  return bits ? __builtin_clz(bits) - 16 : 15;
}

/* Shift the samples to the left and multiply them by the window. Compute transforms of four of these values, and write
   the results one after another to z. */
static void first_pass(const gs_fixed_mel *m, const int16_t *wave, int32_t shift, gs_complex *restrict z) {
  const int32_t quarter = m->fft / 8;
  const gs_complex *window = m->window;
  const uint16_t *order = m->order;
  for (const uint16_t *end = order + quarter; order < end; order += GS_FX_LANES, z += 4 * GS_FX_LANES) {
    gs_wide x[4];
    for (int q = 0; q < 4; q++) x[q] = gs_windowed(wave + 2 * q * quarter, window + q * quarter, order, shift);
    const gs_fx even_re = x[0].re + x[2].re, even_im = x[0].im + x[2].im;
    const gs_fx rest_re = x[0].re - x[2].re, rest_im = x[0].im - x[2].im;
    const gs_fx odd_re = x[1].re + x[3].re, odd_im = x[1].im + x[3].im;
    const gs_fx less_re = x[1].re - x[3].re, less_im = x[1].im - x[3].im;
    gs_store_apart(z, 4, even_re + odd_re, even_im + odd_im);
    gs_store_apart(z + 1, 4, rest_re + less_im, rest_im - less_re);
    gs_store_apart(z + 2, 4, even_re - odd_re, even_im - odd_im);
    gs_store_apart(z + 3, 4, rest_re - less_im, rest_im + less_re);
  }
}

/* Combine transforms of span points, four at a time, into transforms of 4 span points. The order of loads keeps few
   values alive, because a Cortex-M4 has 14 registers. */
static void combine_four(int32_t points, int32_t span, const gs_complex *restrict roots, gs_complex *restrict z) {
  for (gs_complex *end = z + points; z < end; z += 3 * span) {
    const gs_complex *w = roots;
    for (gs_complex *last = z + span; z < last; z += GS_FX_LANES) {
      gs_complex *at = z + span;
      const gs_wide b = gs_turn(gs_load(at), gs_next(&w, 3));
      at += 2 * span;
      const gs_wide d = gs_turn(gs_load(at), gs_next(&w, 3));
      const gs_fx sum_re = b.re + d.re, sum_im = b.im + d.im, less_re = b.re - d.re, less_im = b.im - d.im;
      at -= span;
      const gs_wide c = gs_turn(gs_load(at), gs_next(&w, 3)), a = gs_load(z);
      const gs_fx even_re = c.re + (a.re >> 2), even_im = c.im + (a.im >> 2);
      const gs_fx odd_re = (a.re >> 2) - c.re, odd_im = (a.im >> 2) - c.im;
      gs_store(z, even_re + sum_re, even_im + sum_im);
      gs_store(at, even_re - sum_re, even_im - sum_im);
      at -= span;
      gs_store(at, odd_re + less_im, odd_im - less_re);
      at += 2 * span;
      gs_store(at, odd_re - less_im, odd_im + less_re);
      w += 3 * (GS_FX_LANES - 1);
    }
  }
}

/* Combine two transforms of span points into one. */
static void combine_two(int32_t span, const gs_complex *restrict w, gs_complex *restrict z) {
  gs_complex *other = z + span;
  for (gs_complex *end = other; z < end; z += GS_FX_LANES, other += GS_FX_LANES, w += GS_FX_LANES) {
    const gs_wide b = gs_turn(gs_load(other), gs_load(w)), a = gs_load(z);
    gs_store(z, b.re + (a.re >> 2), b.im + (a.im >> 2));
    gs_store(other, (a.re >> 2) - b.re, (a.im >> 2) - b.im);
  }
}

/* Return the magnitude of a complex value below 2^30. The parts are shifted to the left. The sum of their squares then
   selects an entry of a table of square roots. An entry holds a root in its high half, and the difference to the next
   root in its low half. */
GS_INLINE gs_fx magnitude(const uint32_t *table, gs_fx re, gs_fx im) {
  const gs_fx shift = gs_leading_zeros((re ^ (re >> 31)) | (im ^ (im >> 31))) - 2;
  re = gs_left(re, shift), im = gs_left(im, shift);
  const gs_fx power = gs_square(re) + gs_square(im);
  return gs_right(gs_between(gs_entry(table, power >> 22), (power >> 6) & 0xffff), shift + 1);
}

/* Write the magnitudes of the spectrum of the samples. z is the transform of the complex values whose real parts are
   the even samples, and whose imaginary parts are the odd samples. */
static void spectrum(const gs_fixed_mel *m, const gs_complex *restrict z, int32_t *restrict sizes) {
  const gs_complex *back = z + m->fft / 2, *split = m->split;
  const uint32_t *table = m->square_roots;
  for (int32_t *end = sizes + m->bins; sizes < end; sizes += GS_FX_LANES) {
    const gs_wide a = gs_load(z), b = gs_load_back(back);
    const gs_wide turned = gs_turn((gs_wide){a.re - b.re, a.im + b.im}, gs_load(split));
    gs_store_values(sizes, magnitude(table, turned.re + ((a.re + b.re) >> 2), turned.im + ((a.im - b.im) >> 2)));
    z += GS_FX_LANES, back -= GS_FX_LANES, split += GS_FX_LANES;
  }
}

/* Return the binary logarithm of a positive integer in units of 2^-10 octaves. */
GS_INLINE int32_t fixed_logarithm(const uint16_t *table, uint64_t value) {
  uint32_t mantissa = (uint32_t)value;
  const uint32_t high = (uint32_t)(value >> 32);
  int32_t zeros = high ? __builtin_clz(high) : __builtin_clz(mantissa);
  if (high) mantissa = (high << zeros) | (mantissa >> 1 >> (31 - zeros));
  else mantissa <<= zeros;
  const uint32_t index = (mantissa >> 25) & 63, rest = (mantissa >> 9) & 0xffff;
  const uint32_t fraction = table[index] + ((table[index + 1] - table[index]) * rest >> 16);
  return ((high ? 63 : 31) - zeros) * 1024 + (int32_t)((fraction + 16) >> 5);
}

/* Write the logarithms of the mel bands, relative to m->centre octaves. */
static void mel_logarithms(const gs_fixed_mel *m, const int32_t *sizes, int32_t shift, int16_t *restrict logs) {
  const int32_t less = (shift + m->centre) * 1024, *first = m->first, *starts = m->starts + 1;
  const uint64_t offset = (uint64_t)m->offset << shift;
  const uint16_t *weight = m->weights, *table = m->logarithms, *weights = weight;
  for (int16_t *last = logs + m->mels; logs < last; logs++) {
    const int32_t *size = sizes + *first++;
    uint64_t sum = offset;
    for (const uint16_t *end = weights + *starts++; weight < end;) sum += (uint64_t)(uint32_t)*size++ * *weight++;
    *logs = (int16_t)(fixed_logarithm(table, sum) - less);
  }
}

/* Return sum / 2^bits rounded down, for bits from 1 to 31, limited to the range of int8. */
GS_INLINE int8_t to_int8(int64_t sum, int32_t bits) {
  const int32_t value = (int32_t)(((uint32_t)sum >> bits) | ((uint32_t)(sum >> 32) << (32 - bits)));
  return (int8_t)(value > 127 ? 127 : value < -128 ? -128 : value);
}

/* Write int8 features from logarithms. */
static void quantise(const gs_fixed_mel *m, const int16_t *logs, int8_t *restrict out) {
  const int16_t *factor = m->factors;
  const int64_t *bias = m->biases;
  const uint8_t *bits = m->shifts;
  if (!m->has_dct) {
    for (int8_t *end = out + m->features; out < end;) *out++ = to_int8(*bias++ + *logs++ * *factor++, *bits++);
    return;
  }
  const int32_t mels = padded_mels(m);
  for (int8_t *end = out + m->features; out < end; factor += mels) {
    *out++ = to_int8(gs_dot_pairs(*bias++, logs, factor, mels), *bits++);
  }
}

/* Compute the features of a frame of m->frame samples, and write them to out [features]. */
void GS(fixed_mel)(const gs_fixed_mel *m, const int16_t *samples, int8_t *out, void *scratch) {
  const int32_t points = m->fft / 2;
  char *at = scratch;
  at += 64; /* spectrum reads up to three values before z */
  gs_complex *z = gs_reserve(&at, (size_t)(points + 4) * sizeof(gs_complex));
  void *memory = gs_reserve(&at, (size_t)(points + 4) * sizeof(int32_t)); /* the samples and later the magnitudes */
  int16_t *logs = gs_reserve(&at, (size_t)padded_mels(m) * sizeof(int16_t));
  const int32_t shift = copy_frame(m, samples, memory);
  first_pass(m, memory, shift, z);
  const gs_complex *roots = m->roots;
  int32_t span = 4;
  for (; 4 * span <= points; span *= 4) {
    combine_four(points, span, roots, z);
    roots += 3 * span;
  }
  if (span < points) combine_two(span, roots, z);
  z[points] = z[0];
  spectrum(m, z, memory);
  logs[padded_mels(m) - 1] = 0;
  mel_logarithms(m, memory, shift, logs);
  quantise(m, logs, out);
}

/* Take the m->stride new samples of a stream, and write the features of the next frame to out [features]. history holds
   the last m->lag samples between calls, and has room for the new samples; a stream begins with zeros. */
void GS(fixed_mel_hop)(const gs_fixed_mel *m, const int16_t *samples, int16_t *history, int8_t *out, void *scratch) {
  const int32_t old = GS_MAX(m->lag, 0), gap = old - m->lag;
  memcpy(history + old, samples, (size_t)m->stride * sizeof(int16_t));
  GS(fixed_mel)(m, history + gap, out, scratch);
  memmove(history, history + m->stride, (size_t)old * sizeof(int16_t));
}

#else /* with GS_KIT: functions for a program that times kernels on a board */
#include "kit.h"

/* Prepare the call of a row of the kit. The row's shape holds numbers: the points of a transform; the samples of a
   frame, from one frame to the next, and that a stream keeps between frames; the bins of a spectrum; the weights of
   all filters; the filters; and the features. Its variant says whether there is a cosine transform. The loops depend
   only on these sizes and on the first bins of the filters, which are 0. */
static void prepare_fixed_mel(gs_call *k) {
  const int32_t *shape = k->row->shape;
  const int32_t fft = shape[0], mels = shape[6], features = shape[7], has_dct = k->row->variant[0];
  gs_fixed_mel *m = reserve(sizeof(gs_fixed_mel));
  uint16_t *order = reserve((size_t)fft / 8 * sizeof(uint16_t));
  int32_t *first = reserve((size_t)mels * sizeof(int32_t)), *starts = reserve((size_t)(mels + 1) * sizeof(int32_t));
  k->x = bytes(2 * shape[2]), k->h = bytes(2 * (shape[2] + shape[3])), k->y = reserve((size_t)features), k->extra = m;
  if (too_little) return;
  *m = (gs_fixed_mel){.fft = fft, .frame = shape[1], .stride = shape[2], .bins = shape[4], .mels = mels,
                      .features = features, .lag = shape[3], .has_dct = has_dct, .offset = 1 << 15, .centre = 31};
  for (int i = 0; i < fft / 8; i++) order[i] = (uint16_t)i;
  for (int i = 0; i <= mels; i++) starts[i] = (int32_t)((int64_t)shape[5] * i / mels);
  m->order = order, m->first = first, m->starts = starts;
  m->window = bytes(4 * fft), m->roots = bytes(4 * fft), m->split = bytes(8 * shape[4] + 24);
  m->weights = bytes(2 * shape[5]), m->square_roots = bytes(4 * 129), m->logarithms = bytes(2 * 65);
  m->factors = bytes(2 * features * (has_dct ? mels + (mels & 1) : 1)), m->biases = bytes(8 * features);
  uint8_t *shifts = reserve((size_t)features);
  k->scratch = reserve(GS(fixed_mel_scratch)(m));
  if (too_little) return;
  m->shifts = memset(shifts, 20, (size_t)features);
}

/* Run the prepared front end on the samples of a frame. */
GS_INLINE void run_fixed_mel(gs_call *k) { GS(fixed_mel_hop)(k->extra, k->x, k->h, k->y, k->scratch); }
#endif
