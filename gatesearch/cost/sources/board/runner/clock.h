/* The clock of a board. Its ticks have the unit that the macro GS_UNIT names, such as "cycles" (see main.c).

   Each file clock_*.c of this folder defines these two functions for one kind of machine; a file of your own may define
   them instead. */
#ifndef GS_CLOCK_H
#define GS_CLOCK_H

#include <stdint.h>

void gs_start_clock(void); /* called before each timing; sets the clock to zero, if the clock can be set */
uint64_t gs_now(void);     /* returns the clock's ticks; the difference of two calls is the time between them */

#endif
