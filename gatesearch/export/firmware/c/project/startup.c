/* Start-up code of an emulated Cortex-M, for the check alone: the vector table, and a reset handler. STACK is the top of
   the RAM. */
#include <stdint.h>

typedef void (*handler)(void);
extern void _start(void);
extern void SysTick_Handler(void);

/* Enable the units for floating-point and vector instructions (register CPACR), and start the program. */
static void reset(void) {
  *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
  _start();
}

/* Handle every other exception: stop. */
static void hang(void) {
  for (;;) {
  }
}

__attribute__((section(".vectors"), used)) static const handler vectors[16] = {
    (handler)(STACK), reset, hang, hang, hang, hang, hang, 0, 0, 0, 0, hang, hang, 0, hang, SysTick_Handler};
