/* Declarations of all kernels for one instruction set, and the structures that callers pass to them.

   The C file of a kernel describes each function. Python declares the same structures with ctypes.

   Abbreviations: feature boosting and suppression (FBS), precision gating (PG), hybrid matrix decomposition (HMD),
   compressed sparse rows (CSR).

   Arguments that recur: active (or in, out) lists the active blocks of channels, NULL means all. n_active (or n_in,
   n_out) is their number. relu says whether negative outputs become 0. */
#ifndef GS_KERNELS_H
#define GS_KERNELS_H

#include "gs.h"

size_t GS(conv_f32_size)(const gs_conv *c);
void GS(conv_f32_pack)(const gs_conv *c, const float *weights, float *packed);
size_t GS(conv_f32_scratch)(const gs_conv *c);
void GS(conv_f32)(const gs_conv *c, const float *x, const int32_t *in, int n_in, const float *packed,
                  const int32_t *out, int n_out, const float *scale, const float *shift, int relu, float *y,
                  void *scratch);

/* Kinds of output of an integer convolution: int32 sums, bytes on a new scale, or floats. */
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

/* An operator of a stage, with all arguments of its kernel.
     GS_LARGEST  y[i] is the largest of count values of x, at the positions index[i count] .. index[i count + count - 1]
     GS_TABLE    y[i] = table[x[index[i]]]
     GS_MOVE     y holds count runs of x, one after the other; index[2 k] is where a run begins, index[2 k + 1] its length
     GS_LARGEST_OF_RUNS  y[i] is the largest of x[index[k] + i], for k from 0 to count - 1
     GS_GATED    y is the output of the layer that gated describes
     GS_RECURRENCE  y is the output of the layer that recurrence describes
     GS_SUM      y[i] = ((x[i] factor + z[i] factor_z + start) >> bits) + zero_out
     GS_PRODUCT  y[i] = round((x[i] - zero) (z[i] - zero_z) ratio) + zero_out
     GS_MEAN     y[i] = round((s[i] - start) ratio + offset) + zero_out. s[i] is the sum of the values that GS_LARGEST
                 compares; if of_runs is set, of those that GS_LARGEST_OF_RUNS compares
     GS_AVERAGE  y[i] = round((s[i] - start) / count) + zero_out, halves away from zero
   The last four kinds clip y to low .. high. round rounds half to even. */
enum {
  GS_CONV,
  GS_DEPTHWISE,
  GS_LARGEST,
  GS_TABLE,
  GS_MOVE,
  GS_LARGEST_OF_RUNS,
  GS_GATED,
  GS_SUM,
  GS_PRODUCT,
  GS_MEAN,
  GS_AVERAGE,
  GS_RECURRENCE
};
struct gs_gated;
struct gs_recurrence_u8;
typedef struct {
  int32_t kind, zero, zero_out; /* zero and zero_out: the bytes of x and of y that represent 0 */
  int32_t outputs, count;       /* of all but convolutions: number of outputs, and of values for each output */
  gs_conv shape;
  const uint8_t *x;
  uint8_t *y;
  const int8_t *weights;
  const int32_t *sums, *bias, *index;
  const float *scale, *shift;
  void *scratch;
  const uint8_t *table; /* [256] */
  const struct gs_gated *gated;
  const struct gs_recurrence_u8 *recurrence;
  const uint8_t *z;     /* second input of a sum or a product */
  int32_t zero_z, low, high, factor, factor_z, start, bits, of_runs;
  float ratio, offset;
} gs_op;

void GS(run_ops)(const gs_op *ops, int n);

/* A stage and its windows. They are one structure, because a call from Python with many arguments takes as long as the
   computation of a gate. */
typedef struct {
  const gs_op *ops;
  int32_t n_ops, size, n, threshold; /* operators, bytes of a window, windows, threshold of the logit */
  const int8_t *windows; /* [n][size]; hear does not use them */
  uint8_t *input;         /* input of the first operator */
  const uint8_t *logit;  /* output of the last operator */
  int32_t *passed;       /* [n], receives the indices of windows whose logit is above the threshold */
} gs_stream;

int GS(hear)(const gs_stream *s, const int8_t *window);
int GS(stream)(const gs_stream *s);

/* A stage that runs hop by hop. A run is a pair: where it begins in memory, and its length. */
typedef struct {
  const gs_op *ops;
  int32_t n_ops, size, n_out, n_state; /* operators; bytes of a hop's frames, of its outputs, and of the state */
  int32_t n_out_runs, n_state_runs;
  const int32_t *out_runs, *state_runs; /* where the outputs are, and the state of the next hop */
  const uint8_t *memory;                /* the values of all tensors */
  uint8_t *input, *state, *next_state;  /* in memory: the frames and the state; scratch memory of n_state bytes */
} gs_hops;

void GS(hops)(const gs_hops *h, const int8_t *frames, int stride, int n, int8_t *restrict out);

/* The parameters of FBS apart from its convolution; fbs.c has the formulas in which they stand. */
typedef struct {
  const float *phi; /* weights of the predictor, packed as a 1 x 1 convolution */
  const float *rho, *slope, *offset, *beta; /* each [16 * blocks_out] */
  int32_t winners; /* number of groups of channels that win */
  int32_t block;   /* channels of a group: 16; in fbs_single and fbs_pg also 1 */
} gs_fbs;

/* How a layer with FBS and PG splits its input and its filters.

   Each input channel becomes one or more operands (see gatesearch/kernels/operand_split.py): one for each sign of x,
   and two for each sign where weights have 9 bits. An operand holds unsigned levels and has weights of its
   own. */
typedef struct {
  const int8_t *taps;     /* weights, [kh kw][operands c_in][16 * blocks_out] */
  const int32_t *sums;    /* sums of the weights over all taps, [operands c_in][16 * blocks_out] */
  const float *threshold; /* by group, in units of the output */
  float step, top, level; /* real value of a level of x; largest level; real value of a step of the product */
  int32_t low_bits;       /* number of low bits, which only open outputs add; with 0 there is no second phase */
  int32_t group;          /* channels that share a decision */
  int32_t wide;           /* whether weights have 9 bits, which are split into w >> 1 and w & 1 */
  int32_t sign;           /* whether x may be negative */
} gs_split;

/* A convolution with PG: phase one multiplies the high bits of x for every output, phase two the low bits of x for open
   outputs. */
typedef struct {
  const int8_t *packed;  /* weights, packed by conv_u8_pack */
  const int32_t *sums;   /* sums of weights, from conv_u8_pack */
  const int8_t *rows;    /* weights from pg_rows, to compute open outputs one by one; NULL: compute whole blocks */
  const int64_t *limit;  /* by group: a group is open if the sum of its outputs of phase one exceeds this */
  const int32_t *single; /* the same limit for groups of 1, [16 * blocks_out]; INT32_MAX beyond the last channel */
  const float *bias;     /* [16 * blocks_out] */
  float level;           /* real value of a step of the product */
  int32_t bytes;         /* bytes of a value of x, 1 or 2 */
  int32_t low_bits;      /* bits of phase two, at most 8; phase one also has at most 8 bits */
  int32_t group;         /* channels that share a decision: 1, 8, a multiple of 16, or all */
  int32_t split;         /* bits of the low part of x: low_bits, or low_bits + 1 where x holds doubled levels */
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

/* A gated layer between bytes (gated_u8.c). */
enum { GS_GATED_FBS, GS_GATED_PG, GS_GATED_FBS_PG };
typedef struct gs_gated {
  int32_t kind;
  int32_t n_in, in_size;     /* number of active groups of inputs, and channels of a group */
  int32_t whole;             /* FBS: whether the losing channels of y become 0 */
  int32_t wide;              /* PG: whether weights have 9 bits */
  float level_in, level_out; /* real value of a step of x and of y */
  float steps_out;           /* steps of y in the real value 1 */
  float ratio, top;          /* PG: levels in a step of x; the largest level */
  const gs_fbs *fbs;
  const gs_split *split;
  const gs_pg *pg;
  const int8_t *packed;      /* FBS: weights, packed by conv_u8_pack */
  const int32_t *sums, *no_bias;
  const float *scale, *shift; /* PG: the normalisation, in steps of y */
  const int32_t *in;         /* active groups of inputs; NULL means all */
  int32_t *out;              /* receives the groups that win */
} gs_gated;

size_t GS(gated_u8_scratch)(const gs_conv *c, int kind, int operands);
void GS(gated_u8)(const gs_conv *c, const gs_gated *g, const uint8_t *x, uint8_t *y, void *scratch);

size_t GS(fbs_single_scratch)(const gs_conv *c);
void GS(fbs_single)(const gs_conv *c, const gs_fbs *f, const float *x, const int32_t *in, int n_in, int in_size,
                    const float *taps, int relu, int whole, float *y, int32_t *out, void *scratch);
size_t GS(fbs_pg_scratch)(const gs_conv *c, int operands);
int32_t GS(fbs_pg)(const gs_conv *c, const gs_fbs *f, const gs_split *s, const float *x, const int32_t *in, int n_in,
                   int in_size, int relu, int whole, float *y, int32_t *out, void *scratch);

/* The weights of the gates of an LSTM or GRU, [gates * height][columns], in one of three forms. */
enum { GS_DENSE, GS_HMD, GS_CSR };
typedef struct {
  int32_t kind, gates, height, columns;
  int32_t dense_rows;            /* HMD: number of dense rows of each gate */
  int32_t parts;           /* HMD: number of rank-1 blocks of each gate, side by side */
  const float *packed;     /* dense: all rows. HMD: the dense rows of all gates, then a row c_j for each part of each
                              gate. Packed as a 1 x 1 convolution */
  const float *down;       /* HMD: the columns b_j, [gates][parts][height - dense_rows] */
  const float *values;     /* CSR: weights that are not zero, row by row */
  const uint16_t *indices; /* CSR: column of each value */
  const int32_t *starts;   /* CSR: index of each row's first value, [gates * height + 1] */
} gs_matrix;

size_t GS(step_scratch)(const gs_matrix *of_x, const gs_matrix *of_h);
void GS(lstm_step)(const gs_matrix *of_x, const gs_matrix *of_h, const float *bias, const float *x, float *h, float *c,
                   void *scratch);
void GS(gru_step)(const gs_matrix *of_x, const gs_matrix *of_h, const float *bias_x, const float *bias_h,
                  const float *x, float *h, void *scratch);

/* The weights of the gates of an LSTM or GRU in int8, for inputs in uint8; kind is GS_DENSE or GS_HMD. */
typedef struct {
  int32_t kind, gates, height, columns, dense_rows, parts; /* as in gs_matrix */
  int32_t zero;         /* the value of x that represents 0 */
  const int8_t *packed; /* the rows that gs_matrix packs */
  const int32_t *sums;  /* sum of the weights of each packed row */
  const float *scale;   /* factors that convert each row of W (x - zero) to steps of 2^-12, [gates * height] */
  const float *middle;  /* HMD: factors that scale the products c_j x_j to the range of int16, [gates][parts] */
  const int8_t *down;   /* HMD: the columns b_j, [gates][parts][height - dense_rows] */
} gs_matrix_u8;

/* Sigmoid and tanh as tables of 2049 values in steps of 2^-15. The argument is an int16 in steps of 2^-12, from -8 to
   8; rounded to steps of 2^-7, it is the index. */
typedef struct {
  const int16_t *sigmoid, *tanh;
} gs_tables;

size_t GS(step_u8_scratch)(const gs_matrix_u8 *of_x, const gs_matrix_u8 *of_h);
void GS(lstm_step_u8)(const gs_matrix_u8 *of_x, const gs_matrix_u8 *of_h, const gs_tables *tables, const float *bias,
                      const uint8_t *x, uint8_t *h, int16_t *c, void *scratch);
void GS(gru_step_u8)(const gs_matrix_u8 *of_x, const gs_matrix_u8 *of_h, const gs_tables *tables, const float *bias_x,
                     const float *bias_h, const uint8_t *x, uint8_t *h, int16_t *state, void *scratch);

/* A cell of a recurrent layer in int8: one depth and one direction. */
typedef struct {
  gs_matrix_u8 of_x, of_h;
  const float *bias_x, *bias_h; /* GRU: both; LSTM: bias_x is the sum of both */
} gs_cell_u8;

/* A whole recurrent layer in int8: an LSTM if lstm is set, else a GRU. */
typedef struct gs_recurrence_u8 {
  int32_t lstm, depth, directions, steps;
  gs_tables tables;
  const gs_cell_u8 *cells; /* [depth][directions] */
} gs_recurrence_u8;

size_t GS(recurrence_u8_scratch)(const gs_recurrence_u8 *r);
void GS(recurrence_u8)(const gs_recurrence_u8 *r, const uint8_t *x, uint8_t *y, void *scratch);
void GS(recurrence)(const gs_matrix *of_x, const gs_matrix *of_h, const float *bias_x, const float *bias_h,
                    const float *x, int steps, int backwards, float *h, float *c, float *y, int stride,
                    void *scratch);
void GS(levels_f32)(const float *x, int n, float step, float top, int bytes, void *out);
void GS(spread_f32)(const float *x, int pixels, int channels, float step, float top, int low_bits, int wide, int sign,
                    int bytes, void *out);
void GS(affine_f32)(float *restrict y, int pixels, int channels, const float *restrict scale,
                    const float *restrict shift, int relu);
void GS(clear_f32)(float *y, int pixels, int channels, const int32_t *active, int n_active);

void GS(pool_f32)(const float *x, int pixels, int channels, const int32_t *active, int n_active, float *mean,
                  float *largest);
void GS(pool_u8)(const uint8_t *x, int pixels, int channels, const int32_t *active, int n_active, int32_t *total,
                 uint8_t *largest);
float GS(gate_f32)(const float *x, int pixels, int channels, const float *w_mean, const float *w_max, float b,
                   float *pooled);
void GS(winners)(const float *g, int channels, int count, int32_t *out);

void GS(copy_channels)(const char *x, int pixels, int stride, const int32_t *channels, int n, int bytes, char *out);
int GS(pack_nonzero)(const uint8_t *x, int n, uint8_t *bitmap, uint8_t *values);
void GS(unpack_nonzero)(const uint8_t *bitmap, const uint8_t *values, int n, uint8_t *x);

/* A mel front end. Band i of the mel spectrum is a weighted sum of neighbouring bins of the Fourier transform, from bin
   first[i] on. Its weights are weights[starts[i]] up to, but without, weights[starts[i + 1]].

   fft, frame and stride are numbers of samples: in a Fourier transform, in a frame, and from one frame to the next.
   bins, mels and features are numbers of values for each frame: in its spectrum, in its mel spectrum, and in the
   output. */
typedef struct {
  int32_t fft, frame, stride, bins, mels, features;
  float steps;          /* number of steps of the int8 output in one standard deviation */
  const float *window;  /* the window function, [frame] */
  const float *turn;    /* cosines and sines of -4 pi k / fft, [2][fft / 4] */
  const float *split;   /* cosines and sines of -2 pi k / fft, [2][bins] */
  const int32_t *first, *starts; /* [mels], [mels + 1] */
  const float *weights;
  const float *dct;     /* the cosine transform, [mels][features]; NULL: the mel spectrum is the output */
  const float *mean, *std; /* mean and standard deviation by which features are normalised, [features] */
} gs_mel;

size_t GS(mel_scratch)(const gs_mel *m);
void GS(mel)(const gs_mel *m, const float *samples, int n, int8_t *out, void *scratch);
void GS(mel_stream)(const gs_mel *m, const float *samples, int n, float *history, int frames, int8_t *window, void *scratch);

/* Real and imaginary part. */
typedef struct {
  int32_t re, im;
} gs_complex;

/* A mel front end in fixed point. The sizes and the filters are those of gs_mel. In gatesearch/frontends, fixed_mel.py
   describes and computes each table. */
typedef struct {
  int32_t fft, frame, stride, bins, mels, features;
  int32_t lag;              /* samples from the start of the next frame to the end of a window */
  int32_t has_dct;          /* whether the features are a cosine transform of the logarithms */
  int32_t offset, centre;   /* added to the sum of a band; octaves subtracted from its logarithm */
  const gs_complex *window; /* for pairs of samples, [fft / 2], in units of 2^-28, zeros behind the frame */
  const uint16_t *order;    /* first points of the transforms of four points, [fft / 8] */
  const gs_complex *roots;  /* of the later passes, in units of 2^-30 */
  const gs_complex *split;  /* roots that separate the spectra of even and odd samples, [bins rounded up to 4] */
  const int32_t *first, *starts; /* [mels], [mels + 1] */
  const uint16_t *weights;  /* in units of 2^-15 */
  const uint32_t *square_roots; /* [129] */
  const uint16_t *logarithms; /* [65] */
  const int16_t *factors;   /* [features] or, with a cosine transform, [features][mels rounded up to even] */
  const uint8_t *shifts;    /* bits after the point in the factors, [features] */
  const int64_t *biases;    /* [features] */
} gs_fixed_mel;

size_t GS(fixed_mel_scratch)(const gs_fixed_mel *m);
void GS(fixed_mel)(const gs_fixed_mel *m, const int16_t *samples, int8_t *out, void *scratch);
void GS(fixed_mel_hop)(const gs_fixed_mel *m, const int16_t *samples, int16_t *history, int8_t *out, void *scratch);

/* The settings and the state of the level gate on a stream.

   kind is one of the statistics that level.c names. block is the number of samples in a frame, and frames the number of
   frames in a window. bins is the number of values of a spectrum; only the flatness uses it. The state is a number for
   each frame of the window, and the samples of the frame that is not complete. At the start of a stream all state is
   zero. */
typedef struct {
  int32_t kind, block, frames, bins;
  int32_t filled, place;    /* filled: samples in the incomplete frame. place: index of the oldest number */
  uint64_t magnitude;       /* sum of the magnitudes of the samples in the incomplete frame */
  int64_t total, squares;   /* sum of the numbers, and sum of their squares */
  const int16_t *logs;      /* table of logarithms, [128] */
  const int16_t *filters;   /* the real parts of a spectrum's filters, then the imaginary ones, [2][bins][block] */
  int32_t *numbers;         /* the number of each frame, [frames] */
  int16_t *rest;            /* for the flatness: samples of the incomplete frame, [block] */
} gs_level;

int64_t GS(level)(gs_level *l, const int16_t *samples, int n);
void GS(level_hops)(gs_level *l, const int16_t *samples, int hop, int n, int64_t *out);

int32_t GS(peak_u8)(int rounds, const uint8_t *x, const int8_t *w);
float GS(peak_f32)(int rounds, const float *x, const float *w);
void GS(peak_size)(int32_t *sizes);
float GS(peak_read)(const float *x, int n, int rounds);

#endif
