"""Runs bundles on this host: the cascade of stages on windows and on streams, in NumPy."""
