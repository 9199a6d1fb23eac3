/* Says for which instruction sets the kernels are compiled, and which of these sets this processor has.

   gatesearch/kernels/library.py calls both functions to load the best kernels. The build defines GS_SETS as the names
   of the sets with commas between, the best first. */
#include <string.h>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

/* Return the names of the compiled sets, with commas between, the best first. */
const char *gs_sets(void) { return GS_SETS; }

/* Return whether this processor has the instruction set of the given name. */
int gs_supports(const char *set) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  if (!strcmp(set, "avx512vnni")) {
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
  if (!strcmp(set, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#elif defined(__aarch64__) && defined(__linux__)
  if (!strcmp(set, "dotprod")) return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  if (!strcmp(set, "neon")) return 1;
#elif defined(__aarch64__)
  if (!strcmp(set, "dotprod") || !strcmp(set, "neon")) return 1; /* every Apple processor has both */
#endif
  return !strcmp(set, "portable");
}
