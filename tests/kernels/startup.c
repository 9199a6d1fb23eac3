/* Starts a program on a Cortex-M: sets the stack, enables floating point, enters the C library.

   tests/kernels/test_cross.py links it with driver.c and defines STACK, the address where the stack begins. */
#include <stdint.h>

extern void _start(void);

/* Runs at power-on: allows access to the floating-point unit (register CPACR), then starts the program. */
static void reset(void) {
  *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
  _start();
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {(void *)STACK, (void *)reset};
