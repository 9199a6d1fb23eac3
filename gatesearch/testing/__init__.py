"""Conformance suites for the authors of plug-ins: pytest classes, a module a plug point, as in ``optuna.testing``."""
