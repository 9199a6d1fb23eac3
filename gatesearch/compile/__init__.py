"""Compiles a gated model into programs for cores: passes rewrite its stages, back ends write files.

:mod:`gatesearch.compile.passes` lists the passes in their order. The back ends are
:mod:`~gatesearch.compile.tflite`, :mod:`~gatesearch.compile.vela` and :mod:`~gatesearch.compile.onnx`.
"""
