/* All kernels that a plan may call, as one translation unit. */
#include "no_fused.h"
#define GS_SUFFIX firmware
#include "gs_plan.h"
#include "conv_u8.c"
#include "depthwise.c"
#include "level.c"
#if GS_FIXED_POINT
#include "fixed_mel.c"
#else
#include "mel.c"
#endif
#include "stage.c"

/* stage.c refers to the kernels of gated and recurrent layers. A plan without such a layer does not need them. */
#ifdef GS_HAS_GATED
#include "compact.c"
#include "conv_f32.c"
#include "fbs.c"
#include "fbs_pg.c"
#include "gated_u8.c"
#include "head.c"
#include "helpers.c"
#include "pg.c"
#else
void GS(gated_u8)(const gs_conv *c, const gs_gated *g, const uint8_t *x, uint8_t *y, void *scratch) {
  (void)c, (void)g, (void)x, (void)y, (void)scratch;
}
#endif
#ifdef GS_HAS_RECURRENCE
#include "recurrent_u8.c"
#else
void GS(recurrence_u8)(const gs_recurrence_u8 *r, const uint8_t *x, uint8_t *y, void *scratch) {
  (void)r, (void)x, (void)y, (void)scratch;
}
#endif
