"""Conformance checks for plug-ins."""
