"""Compiles a gated model into programs for cores: passes over the graphs of its stages, then the back ends.

:mod:`gatesearch.compile.passes` holds the order. Back ends: :mod:`~gatesearch.compile.tflite`,
:mod:`~gatesearch.compile.vela`, :mod:`~gatesearch.compile.onnx`.
"""
