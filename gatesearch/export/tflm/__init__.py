"""The later cores of a plan in TensorFlow Lite Micro (TFLM): models as C arrays, and the glue to the firmware."""

from gatesearch.export.tflm.project import Tflm, write_tflm

__all__ = ["Tflm", "write_tflm"]
