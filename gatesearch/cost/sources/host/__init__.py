"""Prices measured on this host."""
