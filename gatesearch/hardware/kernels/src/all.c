/* Every kernel, for one instruction set: compiled once for each, which GS_SUFFIX names. */
#include "compact.c"
#include "conv_f32.c"
#include "conv_u8.c"
#include "fbs.c"
#include "head.c"
#include "pg.c"
#include "recurrent.c"
#include "part.c"
