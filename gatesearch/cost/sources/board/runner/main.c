/* The main program of a kit: times every call of a kernel that rows.h lists, and prints a line for each.

   A kit is a folder of C sources that times kernels on a board. `gatesearch measure import=FILE` reads the lines, whose
   fields are separated by commas. A `row` line holds the row's index, the shortest and the median time of GS_REPEATS
   turns in thousandths of GS_UNIT, and the share of outputs that a precision gate opened, in thousandths. A turn runs
   the call one or more times. The calls compute with synthetic numbers. clock.h declares the clock; kit.h prepares the
   calls.

   The build may define GS_UNIT (the unit of the times), GS_REPEATS (turns of each call), GS_TURN, GS_NUMERATOR and
   GS_DENOMINATOR; the defaults are below. rows.h defines GS_KIT_NAME and GS_KIT_FORMAT. */
#include <stdio.h>

#include "clock.h"
#include "kit.h"
#include "simd.h"
#include "rows.h"

#ifndef GS_UNIT
#define GS_UNIT "cycles"
#endif
#ifndef GS_REPEATS
#define GS_REPEATS 5
#endif
#ifndef GS_TURN
#define GS_TURN 0 /* least duration of a turn, in ticks; a turn repeats its call until it takes this long */
#endif
#ifndef GS_NUMERATOR /* one tick of the clock is GS_NUMERATOR / GS_DENOMINATOR units */
#define GS_NUMERATOR 1
#define GS_DENOMINATOR 1
#endif

/* Run a prepared call several times, and return the ticks of all runs. */
static uint64_t turn(gs_call *k, uint32_t calls) {
  gs_start_clock(); /* so that a count does not depend on earlier counts */
  const uint64_t before = gs_now();
  for (uint32_t i = 0; i < calls; i++) make(k);
  return gs_now() - before;
}

/* Print the time of one call in thousandths of the unit. */
static void print(uint64_t ticks, uint32_t calls) {
  const uint64_t thousandths = ticks * 1000u * GS_NUMERATOR / GS_DENOMINATOR / calls;
  if (thousandths >= 1000000000u) { /* printed as two numbers: the C library of small boards prints 32 bits at most */
    printf(",%lu%09lu", (unsigned long)(thousandths / 1000000000u), (unsigned long)(thousandths % 1000000000u));
  } else {
    printf(",%lu", (unsigned long)thousandths);
  }
}

int main(void) {
  printf("gatesearch,%d\nkit,%s\nunit,%s\ntile,%d\n", GS_KIT_FORMAT, GS_KIT_NAME, GS_UNIT, GS_ROWS);
  for (int i = 0; i < (int)(sizeof(rows) / sizeof(rows[0])); i++) {
    gs_call k = {.row = rows + i};
    prepare(&k);
    if (too_little) {
      printf("skipped,%d,memory\n", i);
      give_back();
      continue;
    }
    uint64_t turns[GS_REPEATS];
    uint32_t calls = 1;
    while ((int64_t)turn(&k, calls) < GS_TURN) calls *= 2;
    for (int r = 0; r < GS_REPEATS; r++) {
      int at = r;
      const uint64_t ticks = turn(&k, calls);
      for (; at && turns[at - 1] > ticks; at--) turns[at] = turns[at - 1];
      turns[at] = ticks;
    }
    printf("row,%d", i);
    print(turns[0], calls);
    print(turns[GS_REPEATS / 2], calls);
    const int64_t all = k.outputs ? k.outputs : 1;
    printf(",%d\n", (int)((1000 * (int64_t)k.open + all / 2) / all));
    fflush(stdout);
    give_back();
  }
  printf("end,%d\n", (int)(sizeof(rows) / sizeof(rows[0])));
  return 0;
}
