/* Every kernel, of one instruction set. */
#ifndef GS_KERNELS_H
#define GS_KERNELS_H

#include "gs.h"

size_t GS(conv_f32_size)(const gs_conv *c);
void GS(conv_f32_pack)(const gs_conv *c, const float *weights, float *packed);
size_t GS(conv_f32_scratch)(const gs_conv *c);
void GS(conv_f32)(const gs_conv *c, const float *x, const int32_t *in, int n_in, const float *packed,
                  const int32_t *out, int n_out, const float *scale, const float *shift, int relu, float *y,
                  void *scratch);

/* What becomes of whole-number sums. */
enum { GS_SUMS, GS_BYTES, GS_FLOATS };

size_t GS(conv_u8_size)(const gs_conv *c);
void GS(conv_u8_pack)(const gs_conv *c, const int8_t *weights, int8_t *packed, int32_t *sums);
size_t GS(conv_u8_scratch)(const gs_conv *c);
void GS(conv_u8)(const gs_conv *c, const uint8_t *x, int zero, const int32_t *in, int n_in, const int8_t *packed,
                 const int32_t *sums, const int32_t *out, int n_out, const int32_t *bias, const float *scale,
                 const float *shift, int kind, int zero_out, void *y, void *scratch);

/* What FBS adds to a convolution. rho, slope, offset and beta hold a value for each of 16 * blocks_out channels. */
typedef struct {
  const float *phi; /* packed as a convolution of 1 x 1 */
  const float *rho, *slope, *offset, *beta;
  int32_t winners; /* blocks */
} gs_fbs;

size_t GS(fbs_scratch)(const gs_conv *c);
void GS(fbs_f32)(const gs_conv *c, const gs_fbs *f, const float *x, const int32_t *in, int n_in, const float *packed,
                 int relu, float *y, int32_t *out, void *scratch);
void GS(fbs_u8)(const gs_conv *c, const gs_fbs *f, const uint8_t *x, float level_in, const int32_t *in, int n_in,
                const int8_t *packed, const int32_t *sums, float level_weight, const int32_t *no_bias,
                float level_out, uint8_t *y, int32_t *out, void *scratch);

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

#endif
