"""The source of latencies for this host, which times LiteRT programs and gatesearch's kernels."""
