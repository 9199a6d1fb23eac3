"""Where the latency of a block on a core comes from: one source for each kind of knowledge about cores."""
