"""Latency sources: each times or estimates the modules of a backbone on one kind of core."""
