/* The mel front end: a logarithmic mel spectrum or its cosine transform (MFCC), in int8.

     samples x window -> |Fourier transform| -> mel bands -> log(. + 1e-6) [-> cosine transform] -> normalise -> round
   Samples are float32 of full scale 1. gatesearch/kernels/mel.py calls mel for clips and mel_stream for streams. */
#include "kernels.h"

/* Return the bytes of scratch memory that a frame needs. */
size_t GS(mel_scratch)(const gs_mel *m) { return (size_t)(3 * m->fft + m->bins + m->mels + m->features) * sizeof(float) + 512; }

/* Compute the Fourier transform of n complex values by Stockham's algorithm, and return the buffer that holds it.

   Each buffer holds n real parts and then n imaginary parts. from holds the input; both buffers are overwritten. turn
   [2][n / 2] holds cosines and sines of -2 pi k / n. */
static float *transform(int n, const float *turn, float *from, float *to) {
  for (int half = n / 2, stride = 1; half; half /= 2, stride *= 2) {
    for (int p = 0; p < half; p++) {
      const float c = turn[p * stride], s = turn[n / 2 + p * stride];
      const float *restrict re = from + p * stride, *restrict im = re + n;
      float *restrict out_re = to + 2 * p * stride, *restrict out_im = out_re + n;
      const int far = half * stride;
      for (int q = 0; q < stride; q++) {
        const float dr = re[q] - re[q + far], di = im[q] - im[q + far];
        out_re[q] = re[q] + re[q + far];
        out_im[q] = im[q] + im[q + far];
        out_re[q + stride] = dr * c - di * s;
        out_im[q + stride] = dr * s + di * c;
      }
    }
    float *swapped = from;
    from = to;
    to = swapped;
  }
  return from;
}

/* Return the natural logarithm of x > 0, with an error of about 2^-22.

   The number is split as x = 2^e (1 + f), with 1 + f from sqrt(1/2) to sqrt(2), so log x = e log 2 + log(1 + f). The
   polynomial for log(1 + f) is from the Cephes library. log 2 is split into 0.693359375 - 2.12194440e-4, because e
   times 0.693359375 is exact. */
GS_INLINE float logarithm(float x) {
  int32_t bits;
  memcpy(&bits, &x, 4);
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;
  bits -= exponent * (1 << 23);
  memcpy(&x, &bits, 4);
  const float f = x - 1.0f, e = (float)exponent, z = f * f;
  float y = 7.0376836292e-2f;
  y = y * f - 1.1514610310e-1f;
  y = y * f + 1.1676998740e-1f;
  y = y * f - 1.2420140846e-1f;
  y = y * f + 1.4249322787e-1f;
  y = y * f - 1.6668057665e-1f;
  y = y * f + 2.0000714765e-1f;
  y = y * f - 2.4999993993e-1f;
  y = y * f + 3.3333331174e-1f;
  y = y * f * z + e * -2.12194440e-4f - 0.5f * z;
  return f + y + e * 0.693359375f;
}

/* Compute the features of one frame of m->frame samples, and write them to out [features]. */
static void compute_frame(const gs_mel *m, const float *samples, int8_t *out, void *scratch) {
  const int n = m->fft / 2, bins = m->bins;
  char *at = scratch;
  float *a = gs_reserve(&at, m->fft * sizeof(float)), *b = gs_reserve(&at, m->fft * sizeof(float));
  float *size = gs_reserve(&at, bins * sizeof(float)), *mel = gs_reserve(&at, m->mels * sizeof(float));
  float *feature = gs_reserve(&at, m->features * sizeof(float));
  /* 2 n real samples are transformed as n complex values: even samples are the real parts, odd ones the imaginary
     parts. */
  for (int k = 0; k < m->frame / 2; k++) {
    a[k] = samples[2 * k] * m->window[2 * k];
    a[n + k] = samples[2 * k + 1] * m->window[2 * k + 1];
  }
  for (int k = m->frame / 2; k < n; k++) a[k] = a[n + k] = 0;
  if (m->frame % 2) a[m->frame / 2] = samples[m->frame - 1] * m->window[m->frame - 1];
  const float *re = transform(n, m->turn, a, b), *im = re + n;
  /* Z is the transform of these n values. The transform of the even samples is (Z_k + conj(Z_-k)) / 2, and that of the
     odd samples is (Z_k - conj(Z_-k)) / 2i. The spectrum is the first of the two plus the second rotated by
     -2 pi k / fft. size is the magnitude of the spectrum. */
  for (int k = 0; k < bins; k++) {
    const int index = k < n ? k : 0, mirror = k && k < n ? n - k : 0;
    const float even_re = re[index] + re[mirror], even_im = im[index] - im[mirror];
    const float odd_re = im[index] + im[mirror], odd_im = re[mirror] - re[index];
    const float c = m->split[k], s = m->split[bins + k];
    const float real = even_re + odd_re * c - odd_im * s, imaginary = even_im + odd_re * s + odd_im * c;
    size[k] = 0.5f * __builtin_sqrtf(real * real + imaginary * imaginary);
  }
  for (int i = 0; i < m->mels; i++) {
    float sum = 0;
    for (int k = m->starts[i]; k < m->starts[i + 1]; k++) sum += m->weights[k] * size[m->first[i] + k - m->starts[i]];
    mel[i] = sum;
  }
  for (int i = 0; i < m->mels; i++) mel[i] = logarithm(mel[i] + 1e-6f);
  if (m->dct) {
    for (int k = 0; k < m->features; k++) feature[k] = 0;
    for (int i = 0; i < m->mels; i++) {
      for (int k = 0; k < m->features; k++) feature[k] += mel[i] * m->dct[i * m->features + k];
    }
    mel = feature;
  }
  for (int k = 0; k < m->features; k++) {
    float step = (mel[k] - m->mean[k]) / m->std[k] * m->steps;
    step = step > 127.0f ? 127.0f : step < -128.0f ? -128.0f : step;
    out[k] = (int8_t)(int32_t)((step + 12582912.0f) - 12582912.0f); /* rounds half to even */
  }
}

/* Compute the features of n frames, which begin m->stride samples apart, and write them to out [n][features]. */
void GS(mel)(const gs_mel *m, const float *samples, int n, int8_t *out, void *scratch) {
  for (int i = 0; i < n; i++, samples += m->stride, out += m->features) compute_frame(m, samples, out, scratch);
}

/* Take the new samples of a stream, m->stride for each of n new frames. Move the rows of window [frames][features] up
   by n, and write the features of the new frames to its last rows. history holds the last m->frame - m->stride samples
   between calls, and has room for the new samples. */
void GS(mel_stream)(const gs_mel *m, const float *samples, int n, float *history, int frames, int8_t *window, void *scratch) {
  const int old = m->frame - m->stride, added = n * m->stride, remaining = GS_MAX(frames - n, 0);
  memcpy(history + old, samples, added * sizeof(float));
  memmove(window, window + (size_t)(frames - remaining) * m->features, (size_t)remaining * m->features);
  GS(mel)(m, history + (size_t)(n - (frames - remaining)) * m->stride, frames - remaining, window + (size_t)remaining * m->features, scratch);
  memmove(history, history + added, old * sizeof(float));
}
