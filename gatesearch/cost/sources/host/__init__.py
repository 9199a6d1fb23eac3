"""The latency source for this host, the machine that runs gatesearch: it times LiteRT programs and kernels."""
