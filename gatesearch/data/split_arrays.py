"""Converts the arrays of a split to the types that the package uses, or refuses them with an error of one line.

A conversion changes the type alone. An array is refused if the conversion would change a value, or if the array could
mean two things.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatesearch.errors import DataError, quote

# Integer types whose full scale is also the full scale of images or sound, such as uint8 for images.
SCALED_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32)
LARGEST_LABEL = 2**31  # no data set has so many classes
LARGEST_NARROW_VALUE = 65535  # int32 values up to this are probably numbers of a narrower type


def to_inputs(values: Any, what: str = "inputs") -> Tensor:
    """Return inputs [N, ...] as a tensor: floats as float32, integers of at most 32 bits as they are.

    Args:
        values: a tensor or a numpy array.
        what: the word for the inputs in messages.

    Raises:
        DataError: the inputs are no tensor or numpy array, or their scale does not follow from their type.

    >>> to_inputs(np.zeros((2, 3))).dtype
    torch.float32
    """
    tensor = _to_tensor(values, what)
    if tensor.ndim < 2 or 0 in tensor.shape[1:]:
        raise DataError(f"{what} are {list(tensor.shape)}; wanted: [N, ...], at least one value a sample")
    if tensor.is_floating_point():
        return tensor.float()
    if tensor.dtype in (torch.bool, torch.complex64, torch.complex128):
        raise DataError(f"{what} are {_type(tensor)}; wanted: numbers, such as {what}.float()")
    if tensor.dtype not in SCALED_INTEGERS:
        # Integers are divided by their full scale, so that 255 of 2^63 would become almost 0.
        raise DataError(
            f"{what} are {_type(tensor)}; wanted: {_narrower(tensor)}, or float in the scale of the network"
        )
    if tensor.dtype == torch.int32 and tensor.numel() and 0 < _peak(tensor) <= LARGEST_NARROW_VALUE:
        raise DataError(
            f"{what} are int32 but reach {_peak(tensor)} of 2147483647; wanted: {_narrower(tensor)}, since integers "
            "are divided by their full scale"
        )
    return tensor


def to_labels(values: Any) -> Tensor:
    """Return labels [N] as int64.

    Args:
        values: whole numbers as a tensor, a numpy array or a list.

    Raises:
        DataError: the values are no class indices; the message says how to make class indices of them.

    >>> to_labels([0, 2, 1]).dtype, to_labels(np.array([1, 0], np.uint8)).tolist()
    (torch.int64, [1, 0])
    """
    if isinstance(values, list | tuple):
        whole = all(isinstance(value, int | np.integer) and not isinstance(value, bool) for value in values)
        if not whole:
            raise DataError(f"labels are {quote(values)}; wanted: class indices, whole numbers from 0")
        if any(abs(int(value)) > LARGEST_LABEL for value in values):
            raise DataError(f"labels are {quote(values)}; wanted: class indices, far smaller numbers")
        values = np.array([int(value) for value in values], np.int64)
    tensor = _to_tensor(values, "labels")
    if tensor.ndim == 2 and tensor.shape[1] == 1:
        raise DataError(f"labels are {list(tensor.shape)}; wanted: [N], such as labels[:, 0]")
    if tensor.ndim == 2:
        raise DataError(f"labels are {list(tensor.shape)}, one-hot or scores; wanted: labels.argmax(1)")
    if tensor.ndim != 1:
        raise DataError(f"labels are {list(tensor.shape)}; wanted: class indices [N]")
    if not len(tensor):
        return tensor.to(torch.int64)
    if tensor.dtype == torch.bool or tensor.is_floating_point() or tensor.is_complex():
        raise DataError(f"labels are {_type(tensor)}; wanted: class indices, such as torch.as_tensor(labels).long()")
    return tensor.to(torch.int64)


def to_names(values: Any) -> tuple[str, ...]:
    """Return the names of samples as a tuple.

    Raises:
        DataError: the names are one string, or a name is not text.

    >>> to_names(["a", "b"])
    ('a', 'b')
    """
    if isinstance(values, str | bytes) or not isinstance(values, Sequence | np.ndarray):
        raise DataError(f"names are {quote(values)}; wanted: one text a sample, such as tuple(map(str, range(N)))")
    names = tuple(values.tolist() if isinstance(values, np.ndarray) else values)
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise DataError(f"names[{index}] is {quote(name)}; wanted: text")
    return names


def _to_tensor(values: Any, what: str) -> Tensor:
    """Return values as a dense tensor on the CPU, or raise an error that names the call that converts them."""
    if isinstance(values, np.ma.MaskedArray):
        raise DataError(f"{what} are a masked array; wanted: {what}.filled(...), since a tensor has no mask")
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "buifc":
            raise DataError(f"{what} are a numpy array of {values.dtype}; wanted: numbers, all samples of one shape")
        native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        if native.dtype in (np.longdouble, np.clongdouble):
            native = native.astype(np.float64)
        return torch.tensor(native)  # a copy, because the program may still write to its array
    if not isinstance(values, Tensor):
        hint = f"; wanted: torch.stack({what})" if isinstance(values, list | tuple) else "; wanted: a tensor [N, ...]"
        raise DataError(f"{what} are a {type(values).__name__}{hint}")
    if values.layout != torch.strided or values.is_quantized:
        raise DataError(f"{what} are a {values.layout} tensor of {_type(values)}; wanted: a dense one of plain numbers")
    if values.device.type != "cpu":
        raise DataError(f"{what} are on {values.device}; wanted: {what}.cpu()")
    if not values.ndim:
        raise DataError(f"{what} are one number; wanted: a tensor [N, ...]")
    return values.detach()


def _narrower(tensor: Tensor) -> str:
    """Return the name of the narrowest type that fits the values."""
    if not tensor.numel():
        return "uint8 or int16"
    values = tensor.numpy()  # torch cannot compare each unsigned type
    low, high = int(values.min()), int(values.max())
    if low >= 0 and high <= 255:
        return "uint8"
    return "int16" if low >= -32768 and high <= 32767 else "int32"


def _peak(tensor: Tensor) -> int:
    return max(int(tensor.max()), -int(tensor.min()))


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
