"""Test vectors of a bundle: input, features and decisions, so that a client in any language can check itself.

Modules: ``windows`` decides single windows and ``hops`` decides a stretch of stream; ``margins`` avoids inputs whose
features lie at a rounding border; ``files`` writes and reads; ``check`` decides stored vectors again.
"""

from gatesearch.export.vectors.check import check_vectors
from gatesearch.export.vectors.files import VECTORS, list_files, write_vectors
from gatesearch.export.vectors.source import VectorSource

__all__ = ["VECTORS", "VectorSource", "check_vectors", "list_files", "write_vectors"]
