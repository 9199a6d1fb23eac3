"""Compiles a gated model into programs for cores: passes over its stages, then the back ends.

:mod:`gatesearch.compile.passes` lists the passes in their order. The back ends write the files:
:mod:`~gatesearch.compile.tflite`, :mod:`~gatesearch.compile.vela` and :mod:`~gatesearch.compile.onnx`.
"""
