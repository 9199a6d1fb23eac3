/* Gated layers between bytes: x uint8 [h][w][c_in] to y uint8 [h'][w'][c_out], with a ReLU behind each layer.

   In x and in y the byte 0 represents 0. A step of x has the real value level_in, a step of y level_out. fbs.c, pg.c
   and fbs_pg.c compute the layers. This file converts the bytes of x to the values that these functions read, and
   their results to the bytes of y.

   gatesearch/kernels/gated_u8.py builds the structures; stage.c calls gated_u8. */
#ifndef GS_KIT
#include "kernels.h"

/* Return v rounded half to even and clipped to 0 .. 255. */
GS_INLINE uint8_t byte_of(float v) {
  v = v > 0 ? v : 0;
  v = v < 255 ? v : 255;
  return (uint8_t)(int32_t)((v + 12582912.0f) - 12582912.0f);
}

/* Convert the bytes of x [pixels][channels] to levels, and write the operands of each pixel one after the other. A level
   is the byte times ratio, at most top. With wide, each operand is written twice, as spread_f32 of helpers.c does. */
static void spread(const uint8_t *restrict x, int pixels, int channels, float ratio, float top, int low_bits, int wide,
                   int bytes, void *out) {
  uint8_t *restrict narrow = out;
  uint16_t *restrict two = out;
  for (int p = 0; p < pixels; p++, x += channels) {
    for (int times = 1 + wide; times; times--, narrow += channels, two += channels) {
      for (int i = 0; i < channels; i++) {
        float level = (float)x[i] * ratio;
        level = level < top ? level : top;
        unsigned whole = (unsigned)(int32_t)((level + 12582912.0f) - 12582912.0f);
        if (wide) whole = (((whole >> low_bits) << (low_bits + 1)) | (whole & ((1u << low_bits) - 1))) * (unsigned)times;
        if (bytes == 1) narrow[i] = (uint8_t)whole;
        else two[i] = (uint16_t)whole;
      }
    }
  }
}

/* Return the bytes of scratch memory that gated_u8 needs. */
size_t GS(gated_u8_scratch)(const gs_conv *c, int kind, int operands) {
  const size_t inputs = (size_t)c->h * c->w * c->c_in, outputs = (size_t)gs_height(c) * gs_width(c) * c->c_out;
  switch (kind) {
    case GS_GATED_FBS: return GS(fbs_scratch)(c);
    case GS_GATED_PG: return GS(pg_scratch)(c) + inputs * sizeof(uint16_t) + outputs * sizeof(float) + 256;
    default: return GS(fbs_pg_scratch)(c, operands) + (inputs + outputs) * sizeof(float) + 256;
  }
}

/* Set to zero the blocks of 16 channels of y [pixels][channels] that winners does not list. */
static void clear_losers(uint8_t *y, int pixels, int channels, const int32_t *winners, int n_winners) {
  for (int block = 0, i = 0; block < GS_BLOCKS(channels); block++) {
    if (i < n_winners && winners[i] == block) {
      i++;
      continue;
    }
    const int first = block * GS_BLOCK, size = GS_MIN(GS_BLOCK, channels - first);
    for (int p = 0; p < pixels; p++) memset(y + (size_t)p * channels + first, 0, (size_t)size);
  }
}

/* Compute PG: y = round((O scale + shift)), where O is the result of pg.c; scale and shift hold the normalisation in
   steps of y. */
static void pg_bytes(const gs_conv *c, const gs_gated *g, const uint8_t *x, uint8_t *restrict y, char *at) {
  const int pixels = gs_height(c) * gs_width(c), operands = 1 + g->wide;
  void *levels = gs_reserve(&at, (size_t)c->h * c->w * c->c_in * g->pg->bytes);
  float *restrict rows = gs_reserve(&at, (size_t)pixels * c->c_out * sizeof(float));
  spread(x, c->h * c->w, c->c_in / operands, g->ratio, g->top, g->pg->low_bits, g->wide, g->pg->bytes, levels);
  GS(pg)(c, g->pg, levels, rows, NULL, NULL, at);
  for (int p = 0; p < pixels; p++, rows += c->c_out, y += c->c_out) {
    for (int k = 0; k < c->c_out; k++) y[k] = byte_of(rows[k] * g->scale[k] + g->shift[k]);
  }
}

/* Compute FBS with or without PG, whose winners may be single channels. */
static void fbs_pg_bytes(const gs_conv *c, const gs_gated *g, const uint8_t *restrict x, uint8_t *restrict y, char *at) {
  const size_t inputs = (size_t)c->h * c->w * c->c_in, outputs = (size_t)gs_height(c) * gs_width(c) * c->c_out;
  float *restrict real = gs_reserve(&at, inputs * sizeof(float)), *restrict rows = gs_reserve(&at, outputs * sizeof(float));
  for (size_t i = 0; i < inputs; i++) real[i] = (float)x[i] * g->level_in;
  GS(fbs_pg)(c, g->fbs, g->split, real, g->in, g->n_in, g->in_size, 1, 1, rows, g->out, at);
  for (size_t i = 0; i < outputs; i++) y[i] = byte_of(rows[i] * g->steps_out);
}

/* Compute a gated layer. Its losing channels become 0. */
void GS(gated_u8)(const gs_conv *c, const gs_gated *g, const uint8_t *x, uint8_t *y, void *scratch) {
  switch (g->kind) {
    case GS_GATED_FBS:
      GS(fbs_u8)(c, g->fbs, x, g->level_in, g->in, g->n_in, g->packed, g->sums, 1.0f, g->no_bias, g->level_out, y,
                 g->out, scratch);
      if (g->whole) clear_losers(y, gs_height(c) * gs_width(c), c->c_out, g->out, g->fbs->winners);
      break;
    case GS_GATED_PG:
      pg_bytes(c, g, x, y, scratch);
      break;
    case GS_GATED_FBS_PG:
      fbs_pg_bytes(c, g, x, y, scratch);
      break;
  }
}
#endif
