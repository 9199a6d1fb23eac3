/* Cycles on a Cortex-M: the cycle counter of the debug unit with -DGS_DWT (M3 and up, 32 bits: no call may take longer
   than 2^32 cycles), else SysTick, whose interrupt counts how often its 24 bits have gone round. */
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

void SysTick_Handler(void) {}
#else
#define SYST_CSR (*(volatile uint32_t *)0xE000E010)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018)
#define RELOAD 0xFFFFFFu

static volatile uint32_t rounds;
void SysTick_Handler(void) { rounds++; }

void gs_start_clock(void) {
  SYST_CSR = 0;
  SYST_RVR = RELOAD;
  SYST_CVR = 0;
  rounds = 0;
  SYST_CSR = 7; /* the core's clock, its interrupt, on */
}

uint64_t gs_now(void) {
  uint32_t before, value;
  do {
    before = rounds;
    value = SYST_CVR;
  } while (before != rounds);
  return (uint64_t)before * (RELOAD + 1u) + (RELOAD - value);
}
#endif
