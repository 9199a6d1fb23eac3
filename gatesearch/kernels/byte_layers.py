"""The layers between bytes that kernels run in the int8 parts of a stage: gated layers and recurrent layers."""

from __future__ import annotations

from collections.abc import Mapping

from gatesearch.kernels.gated_u8 import BYTE_LAYERS, ByteLayer
from gatesearch.kernels.recurrent_u8 import RecurrentBytes

PartLayer = ByteLayer | RecurrentBytes
PART_LAYERS: Mapping[str, type[ByteLayer] | type[RecurrentBytes]] = {
    **BYTE_LAYERS,
    "gru": RecurrentBytes,
    "lstm": RecurrentBytes,
}
"""By name of a kernel: the class of its layers between bytes."""
