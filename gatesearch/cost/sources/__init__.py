"""Sources of latencies: each reads the pieces of a backbone on one kind of core."""
