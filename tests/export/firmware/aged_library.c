/* The library, and a function that sets the counters of a stream that has run for years. */
#include "gatesearch.c"

extern int64_t age_stream(int turns);

/* Let the stream be as old as if its ring of samples had been filled this many times more; return the number of hops. */
int64_t age_stream(int turns) {
  const int64_t hops = (int64_t)turns * PLAN->ring_size * PLAN->phases;
  now.read += hops * PLAN->hop;
  now.hop += hops;
  now.next_hop += hops;
  if (now.frames_hop >= 0) now.frames_hop += hops;
  return hops;
}
