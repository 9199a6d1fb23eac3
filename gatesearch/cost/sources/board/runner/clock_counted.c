/* Instructions, in an emulator that plugin.c was loaded into: a system call of no number that Linux has asks for them. */
#define _GNU_SOURCE
#include <unistd.h>

#include "clock.h"

void gs_start_clock(void) {}

uint64_t gs_now(void) {
  static volatile uint64_t count;
  syscall(0x6773, &count);
  return count;
}
