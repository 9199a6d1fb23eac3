"""Compressed matrices of linear and recurrent layers: hybrid, low-rank, pruned.

A recurrent layer has a matrix for each gate of its cell. PyTorch stores these matrices as one stack
[groups * rows, columns], and all of them get the same structure. Each class holds the factors of such a stack. Its
``dense`` returns the stack. Its ``forward`` multiplies by the factors, without forming the stack; export and timing use
``forward``.
"""

from gatesearch.gates.matrices.forms import Factors, HybridMatrix, LowRankMatrix, PrunedMatrix
from gatesearch.gates.matrices.products import PRODUCTS, TORCH, Array, Ops, block_edges
from gatesearch.gates.matrices.sizes import BEGIN, END, count_dense_rows, hybrid_parameters, low_rank, zhu_gupta

__all__ = [
    "BEGIN",
    "END",
    "PRODUCTS",
    "TORCH",
    "Array",
    "Factors",
    "HybridMatrix",
    "LowRankMatrix",
    "Ops",
    "PrunedMatrix",
    "block_edges",
    "count_dense_rows",
    "hybrid_parameters",
    "low_rank",
    "zhu_gupta",
]
