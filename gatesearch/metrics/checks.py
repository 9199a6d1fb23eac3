"""Checks the inputs of metrics: integers in their range, finite values, tensors of one length."""

from __future__ import annotations

from torch import Tensor

from gatesearch.errors import DataError


def check_finite(what: str, **values: Tensor) -> None:
    """Check that tensors [N, ...] are finite; keywords are the names of the tensors in the message.

    Raises:
        DataError: a value is not finite.

    >>> import torch
    >>> check_finite("fidelity", outputs=torch.tensor([[1.0], [float("nan")]]))
    Traceback (most recent call last):
    ...
    gatesearch.errors.DataError: fidelity: outputs are not finite for 1 of 2 samples, first sample 1
    """
    for name, tensor in values.items():
        wrong = (~tensor.reshape(len(tensor), -1).isfinite().all(1)).nonzero().flatten().tolist() if len(tensor) else []
        if wrong:
            of_all = f"{len(wrong)} of {len(tensor)} samples, first sample {wrong[0]}"
            raise DataError(f"{what}: {name} are not finite for {of_all}")


def check_indices(what: str, values: Tensor, count: int) -> None:
    """Check that values are integers [N] from 0 to below ``count``; an index of -1 would count as the last index.

    Raises:
        DataError: the values have another type or shape, or a number is out of range.
    """
    if values.is_floating_point() or values.is_complex() or values.ndim != 1:
        raise DataError(f"quality: {what} are {values.dtype} {list(values.shape)}; wanted: whole numbers [N]")
    outside = ((values < 0) | (values >= count)).nonzero().flatten().tolist()
    if outside:
        raise DataError(
            f"quality: {what} hold {int(values[outside[0]])} for sample {outside[0]}; wanted: 0 to {count - 1}"
        )


def check_lengths(what: str, **values: Tensor) -> None:
    """Check that all tensors have the same number of samples, at least one.

    Raises:
        DataError: the lengths differ, or are 0.
    """
    lengths = {name: len(tensor) for name, tensor in values.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        counts = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise DataError(f"{what}: {counts}; wanted: as many of each, and one at least")
