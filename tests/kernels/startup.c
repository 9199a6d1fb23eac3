/* What a Cortex-M needs before main: a stack, an entry, and its floating-point unit switched on. */
#include <stdint.h>

extern void _start(void);

static void reset(void) {
  *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
  _start();
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {(void *)STACK, (void *)reset};
