"""Times LiteRT programs and kernels on this host, the machine that runs gatesearch."""
