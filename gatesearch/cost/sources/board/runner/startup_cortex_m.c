/* Start-up code of a Cortex-M: the vector table, and a reset handler that starts the program.

   The handler first enables the units for floating-point and vector instructions. The build defines STACK as the top of
   the RAM. If the build defines GS_OWN_STARTUP, this code is left out, for boards with start-up code of their own. */
#include <stdint.h>

#ifndef GS_OWN_STARTUP
extern void _start(void);
extern void SysTick_Handler(void);

/* Enable the coprocessors of the floating-point and vector units (register CPACR), and start the program. */
static void reset(void) {
  *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
  _start();
}

/* Handle every other exception: stop. */
static void hang(void) {
  for (;;) {
  }
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    (void *)STACK, (void *)reset, (void *)hang, (void *)hang, (void *)hang, (void *)hang, (void *)hang, 0,
    0,             0,             0,            (void *)hang, (void *)hang, 0,            (void *)hang, (void *)SysTick_Handler};
#endif
