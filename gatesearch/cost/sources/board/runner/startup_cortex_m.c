/* What a Cortex-M needs before main: a stack, an entry, its floating-point unit and vector unit switched on, SysTick's
   interrupt. Leave this file out where your board's start-up code brings all that (-DGS_OWN_STARTUP). */
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
