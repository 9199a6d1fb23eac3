"""Conformance suites for authors of plug-ins: pytest classes, with one module for each plug point.

A failed test says which promise of an interface a plug-in breaks.
"""
