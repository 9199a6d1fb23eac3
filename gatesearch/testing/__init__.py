"""Conformance suites for authors of plug-ins: pytest classes, with one module for each kind of plug-in.

A failed test says which promise of its interface a plug-in breaks.
"""
