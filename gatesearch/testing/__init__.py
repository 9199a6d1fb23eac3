"""Conformance suites for the authors of plug-ins: pytest classes, one module for each plug point."""
