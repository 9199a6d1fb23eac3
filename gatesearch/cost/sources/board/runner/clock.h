/* The clock of a board. One file of this folder has it; -DGS_CLOCK_USER leaves it to yours. */
#ifndef GS_CLOCK_H
#define GS_CLOCK_H

#include <stdint.h>

void gs_start_clock(void); /* from nothing; before every turn */
uint64_t gs_now(void); /* ticks of GS_UNIT: "ns", "cycles" or "instructions" */

#endif
