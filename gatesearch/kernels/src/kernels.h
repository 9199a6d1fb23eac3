/* Declarations of all kernels, for one instruction set. */
#ifndef GS_KERNELS_H
#define GS_KERNELS_H

#include "gs.h"

size_t GS(conv_f32_size)(const gs_conv *c);
void GS(conv_f32_pack)(const gs_conv *c, const float *weights, float *packed);
size_t GS(conv_f32_scratch)(const gs_conv *c);
void GS(conv_f32)(const gs_conv *c, const float *x, const int32_t *in, int n_in, const float *packed,
                  const int32_t *out, int n_out, const float *scale, const float *shift, int relu, float *y,
                  void *scratch);

/* The output of a convolution in integers: the sums, bytes on a new scale, or floats. */
enum { GS_SUMS, GS_BYTES, GS_FLOATS };

size_t GS(conv_u8_size)(const gs_conv *c);
void GS(conv_u8_pack)(const gs_conv *c, const int8_t *weights, int8_t *packed, int32_t *sums);
size_t GS(conv_u8_scratch)(const gs_conv *c);
void GS(conv_u8)(const gs_conv *c, const uint8_t *x, int zero, const int32_t *in, int n_in, const int8_t *packed,
                 const int32_t *sums, const int32_t *out, int n_out, const int32_t *bias, const float *scale,
                 const float *shift, int kind, int zero_out, void *y, void *scratch);

void GS(depthwise_u8)(const gs_conv *c, const uint8_t *x, int zero, const int8_t *weights, const int32_t *bias,
                      const float *scale, int zero_out, uint8_t *y);

void GS(pool_window_u8)(const gs_conv *c, const uint8_t *x, int largest, uint8_t *y);
void GS(sum_u8)(const uint8_t *x, const uint8_t *z, int n, float scale_x, float scale_z, float shift,
                uint8_t *restrict y);

/* An operator of a stage, with all arguments of its kernel. */
enum { GS_CONV, GS_DEPTHWISE, GS_LARGEST, GS_TABLE };
typedef struct {
  int32_t kind, zero, zero_out;
  int32_t outputs, count; /* GS_LARGEST: each output is the largest of count values of x, whose positions index holds;
                             GS_TABLE: each output is the entry of table for a value of x */
  gs_conv shape;
  const uint8_t *x;
  uint8_t *y;
  const int8_t *weights;
  const int32_t *sums, *bias, *index;
  const float *scale, *shift;
  void *scratch;
  const uint8_t *table; /* [256] */
} gs_op;

/* A stage and its windows, in one struct, because a call with many arguments takes as long as a gate. */
typedef struct {
  const gs_op *ops;
  int32_t n_ops, size, n, threshold;
  const int8_t *windows; /* [n][size]; hear does not use them */
  uint8_t *room;         /* input of the first operator */
  const uint8_t *logit;  /* output of the last operator */
  int32_t *passed;       /* [n], receives the indices of windows whose logit is above the threshold */
} gs_stream;

int GS(hear)(const gs_stream *s, const int8_t *window);
int GS(stream)(const gs_stream *s);

/* The parameters of FBS beside those of its convolution. rho, slope, offset and beta are [16 * blocks_out]. */
typedef struct {
  const float *phi; /* packed as a convolution of 1 x 1 */
  const float *rho, *slope, *offset, *beta;
  int32_t winners; /* groups of block channels */
  int32_t block;   /* 16; in fbs_single and fbs_pg also 1 */
} gs_fbs;

/* How a layer of FBS and precision gating splits its input, and its filters. */
typedef struct {
  const int8_t *taps;     /* [kh kw][pieces c_in][16 * blocks_out], a piece for each part of the weights and each sign */
  const int32_t *sums;    /* of a filter's taps, [pieces c_in][16 * blocks_out] */
  const float *threshold; /* by group, in units of the output */
  float step, top, level; /* size of a level of x; the largest level; size of a step of the product */
  int32_t low_bits;       /* 0: all bits are high ones */
  int32_t group;          /* channels that share a decision */
  int32_t wide;           /* whether weights are of 9 bits, in two parts: w >> 1 and w & 1 */
  int32_t sign;           /* whether x may be negative */
} gs_split;

/* A convolution in two phases: the high bits of x for every output, and the low bits of x for open outputs. */
typedef struct {
  const int8_t *packed;  /* by conv_u8_pack, with their sums */
  const int32_t *sums;
  const int8_t *rows;    /* from pg_rows, to compute single open outputs; NULL computes whole blocks with an open output */
  const int64_t *limit;  /* by group: open where the sum of the high products is greater */
  const int32_t *single; /* the same for groups of 1, [16 * blocks_out]; INT32_MAX beyond the last channel */
  const float *bias;     /* [16 * blocks_out] */
  float level;           /* size of a step of the product */
  int32_t bytes;         /* bytes of a value of x, 1 or 2 */
  int32_t low_bits;      /* at most 8; there are at most 8 high bits as well */
  int32_t group;         /* channels that share a decision: 1, 8, a multiple of 16, or all */
  int32_t split;         /* bits of x that are in its low part: low_bits, or one more where x holds doubled levels */
} gs_pg;

size_t GS(pg_rows_size)(const gs_conv *c);
void GS(pg_rows)(const gs_conv *c, const int8_t *weights, int8_t *rows);
size_t GS(pg_scratch)(const gs_conv *c);
int32_t GS(pg)(const gs_conv *c, const gs_pg *p, const void *x, float *y, int32_t *high, int32_t *low, void *scratch);
void GS(pg_dense)(const gs_conv *c, const gs_pg *p, const void *x, float *y, void *scratch);

size_t GS(fbs_scratch)(const gs_conv *c);
void GS(fbs_f32)(const gs_conv *c, const gs_fbs *f, const float *x, const int32_t *in, int n_in, const float *packed,
                 int relu, float *y, int32_t *out, void *scratch);
void GS(fbs_u8)(const gs_conv *c, const gs_fbs *f, const uint8_t *x, float level_in, const int32_t *in, int n_in,
                const int8_t *packed, const int32_t *sums, float level_weight, const int32_t *no_bias,
                float level_out, uint8_t *y, int32_t *out, void *scratch);

size_t GS(fbs_single_scratch)(const gs_conv *c);
void GS(fbs_single)(const gs_conv *c, const gs_fbs *f, const float *x, const int32_t *in, int n_in, int in_size,
                    const float *taps, int relu, int whole, float *y, int32_t *out, void *scratch);
size_t GS(fbs_pg_scratch)(const gs_conv *c, int pieces);
int32_t GS(fbs_pg)(const gs_conv *c, const gs_fbs *f, const gs_split *s, const float *x, const int32_t *in, int n_in,
                   int in_size, int relu, int whole, float *y, int32_t *out, void *scratch);

/* The weights of a recurrent layer's gates, [gates * height][columns], in one of three forms. */
enum { GS_DENSE, GS_HMD, GS_CSR };
typedef struct {
  int32_t kind, gates, height, columns;
  int32_t rich;            /* HMD: rows of each gate that are unconstrained */
  int32_t parts;           /* HMD: rank-1 blocks, side by side */
  const float *packed;     /* dense: all rows. HMD: the rich rows of all gates, then one row for each gate's part.
                              Packed as a convolution of 1 x 1 */
  const float *down;       /* HMD: [gates][parts][height - rich] */
  const float *values;     /* CSR */
  const uint16_t *indices; /* CSR */
  const int32_t *starts;   /* CSR: [gates * height + 1] */
} gs_matrix;

size_t GS(step_scratch)(const gs_matrix *of_x, const gs_matrix *of_h);
void GS(lstm_step)(const gs_matrix *of_x, const gs_matrix *of_h, const float *bias, const float *x, float *h, float *c,
                   void *scratch);
void GS(gru_step)(const gs_matrix *of_x, const gs_matrix *of_h, const float *bias_x, const float *bias_h,
                  const float *x, float *h, void *scratch);

/* The same weights in int8. sums holds the sum of each packed row; scale converts a row of W (x - zero) to steps of
   2^-12. */
typedef struct {
  int32_t kind, gates, height, columns, rich, parts, zero; /* kind is GS_DENSE or GS_HMD; zero is the x that means 0 */
  const int8_t *packed; /* as those of gs_matrix */
  const int32_t *sums;
  const float *scale;   /* [gates * height] */
  const float *middle;  /* HMD: [gates][parts], takes c_j x_j to an int16 */
  const int8_t *down;   /* HMD: [gates][parts][height - rich] */
} gs_matrix_u8;

/* Tables of 2049 values in steps of 2^-15. The index is an int16 in steps of 2^-12, rounded to its upper bits. */
typedef struct {
  const int16_t *sigmoid, *tanh;
} gs_tables;

size_t GS(step_u8_scratch)(const gs_matrix_u8 *of_x, const gs_matrix_u8 *of_h);
void GS(lstm_step_u8)(const gs_matrix_u8 *of_x, const gs_matrix_u8 *of_h, const gs_tables *tables, const float *bias,
                      const uint8_t *x, uint8_t *h, int16_t *c, void *scratch);
void GS(gru_step_u8)(const gs_matrix_u8 *of_x, const gs_matrix_u8 *of_h, const gs_tables *tables, const float *bias_x,
                     const float *bias_h, const uint8_t *x, uint8_t *h, void *scratch);
void GS(recurrence)(const gs_matrix *of_x, const gs_matrix *of_h, const float *bias_x, const float *bias_h,
                    const float *x, int steps, int backwards, float *h, float *c, float *y, int stride,
                    void *scratch);
void GS(levels_f32)(const float *x, int n, float step, float top, int bytes, void *out);
void GS(spread_f32)(const float *x, int pixels, int channels, float step, float top, int low_bits, int wide, int sign,
                    int bytes, void *out);
void GS(affine_f32)(float *restrict y, int pixels, int channels, const float *restrict scale,
                    const float *restrict shift, int relu);
void GS(clear_f32)(float *y, int pixels, int channels, const int32_t *live, int n_live);

void GS(pool_f32)(const float *x, int pixels, int channels, const int32_t *live, int n_live, float *mean,
                  float *largest);
void GS(pool_u8)(const uint8_t *x, int pixels, int channels, const int32_t *live, int n_live, int32_t *total,
                 uint8_t *largest);
float GS(gate_f32)(const float *x, int pixels, int channels, const float *w_mean, const float *w_most, float b,
                   float *pooled);
void GS(winners)(const float *g, int channels, int count, int32_t *out);

void GS(keep_channels)(const char *x, int pixels, int stride, const int32_t *kept, int n, int bytes, char *out);
int GS(keep_nonzero)(const uint8_t *x, int n, uint8_t *bitmap, uint8_t *values);
void GS(spread_nonzero)(const uint8_t *bitmap, const uint8_t *values, int n, uint8_t *x);

/* A front end of frames. A mel weighs the bins from first on; its weights are those from starts[i] to starts[i + 1]. */
typedef struct {
  int32_t fft, frame, stride, bins, mels, features;
  float steps;          /* of the grid, to a standard deviation */
  const float *window;  /* [frame] */
  const float *turn;    /* [2][fft / 4]: cosines and sines of -4 pi k / fft */
  const float *split;   /* [2][bins]: of -2 pi k / fft */
  const int32_t *first, *starts; /* [mels], [mels + 1] */
  const float *weights;
  const float *dct;     /* [mels][features]; NULL: mels are features */
  const float *mean, *std; /* [features] */
} gs_mel;

size_t GS(mel_scratch)(const gs_mel *m);
void GS(mel)(const gs_mel *m, const float *samples, int n, int8_t *out, void *scratch);
void GS(mel_stream)(const gs_mel *m, const float *samples, int n, float *heard, int frames, int8_t *window, void *scratch);

int32_t GS(peak_u8)(int rounds, const uint8_t *x, const int8_t *w);
float GS(peak_f32)(int rounds, const float *x, const float *w);
void GS(peak_size)(int32_t *sizes);
float GS(peak_read)(const float *x, int n, int rounds);

#endif
