/* The clock of a Cortex-M, in cycles: SysTick or, with GS_DWT defined, the debug unit's counter.

   SysTick has 24 bits; its interrupt counts the overflows. The debug unit's counter (Cortex-M3 and later) has 32 bits;
   no timing may take more than 2^32 cycles. */
#include "clock.h"

#ifdef GS_DWT
#define DEMCR (*(volatile uint32_t *)0xE000EDFC)
#define DWT_CTRL (*(volatile uint32_t *)0xE0001000)
#define DWT_CYCCNT (*(volatile uint32_t *)0xE0001004)

static uint32_t before;
static uint64_t whole;

void gs_start_clock(void) {
  DEMCR |= 1u << 24;
  DWT_CYCCNT = 0;
  DWT_CTRL |= 1;
  before = 0;
  whole = 0;
}

uint64_t gs_now(void) {
  const uint32_t now = DWT_CYCCNT;
  whole += now - before; /* modulo 2^32 */
  before = now;
  return whole;
}

void SysTick_Handler(void) {} /* the start-up code refers to it, but no SysTick interrupt occurs */
#else
#define SYST_CSR (*(volatile uint32_t *)0xE000E010)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018)
#define RELOAD 0xFFFFFFu

static volatile uint32_t overflows;
void SysTick_Handler(void) { overflows++; }

void gs_start_clock(void) {
  SYST_CSR = 0;
  SYST_RVR = RELOAD;
  SYST_CVR = 0;
  overflows = 0;
  SYST_CSR = 7; /* count the core's clock, interrupt on overflow, start */
}

uint64_t gs_now(void) {
  uint32_t before, value;
  do {
    before = overflows;
    value = SYST_CVR;
  } while (before != overflows);
  return (uint64_t)before * (RELOAD + 1u) + (RELOAD - value);
}
#endif
