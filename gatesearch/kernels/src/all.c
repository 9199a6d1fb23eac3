/* Includes every kernel, for one instruction set.

   The build compiles this file once for each set, with GS_SUFFIX as the set's name. */
#include "compact.c"
#include "conv_f32.c"
#include "conv_u8.c"
#include "depthwise.c"
#include "fbs.c"
#include "fbs_pg.c"
#include "fbs_single.c"
#include "head.c"
#include "mel.c"
#include "peak.c"
#include "pg.c"
#include "pool.c"
#include "recurrent.c"
#include "recurrent_u8.c"
#include "stage.c"
#include "part.c"
