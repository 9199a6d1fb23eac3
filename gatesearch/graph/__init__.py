"""Analyses of a traced network: sites for gates, operators and their work, memory, hops of a stream."""
