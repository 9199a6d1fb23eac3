/* Start-up code of a Cortex-M: the vector table with stack, entry and SysTick's interrupt, and a reset handler that
   switches on the floating-point and vector units. -DGS_OWN_STARTUP leaves it out, for boards with start-up code of
   their own. */
#include <stdint.h>

#ifndef GS_OWN_STARTUP
extern void _start(void);
extern void SysTick_Handler(void);

static void reset(void) {
  *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
  _start();
}

static void hang(void) {
  for (;;) {
  }
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    (void *)STACK, (void *)reset, (void *)hang, (void *)hang, (void *)hang, (void *)hang, (void *)hang, 0,
    0,             0,             0,            (void *)hang, (void *)hang, 0,            (void *)hang, (void *)SysTick_Handler};
#endif
