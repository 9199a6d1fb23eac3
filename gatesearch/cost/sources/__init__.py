"""Sources of latencies: each gives the latency of a block on one type of core."""
