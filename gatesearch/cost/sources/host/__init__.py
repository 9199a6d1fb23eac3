"""The source of latencies for this host: times programs and kernels with LiteRT and gatesearch's kernels."""
