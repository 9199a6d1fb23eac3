/* All kernels that a plan may call, as one unit of translation. */
#define GS_SUFFIX firmware
#include "conv_u8.c"
#include "depthwise.c"
#include "level.c"
#include "mel.c"
#include "stage.c"
