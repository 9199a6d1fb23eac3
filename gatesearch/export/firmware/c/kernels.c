/* All kernels that a plan may call, as one translation unit. */
#define GS_SUFFIX firmware
#include "conv_u8.c"
#include "depthwise.c"
#include "level.c"
#include "mel.c"
#include "stage.c"

/* stage.c refers to the kernel of gated layers. No plan in firmware has such a layer, so it does nothing. */
void GS(gated_u8)(const gs_conv *c, const gs_gated *g, const uint8_t *x, uint8_t *y, void *scratch) {
  (void)c, (void)g, (void)x, (void)y, (void)scratch;
}
