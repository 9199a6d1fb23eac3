/* The clock of an emulated program, in instructions: QEMU with the plugin of plugin.c counts them.

   A system call with a number that Linux does not have makes the plugin write the count. */
#define _GNU_SOURCE
#include <unistd.h>

#include "clock.h"

void gs_start_clock(void) {}

uint64_t gs_now(void) {
  static volatile uint64_t count;
  syscall(0x6773, &count);
  return count;
}
