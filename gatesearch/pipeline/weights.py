"""Writes and reads the weights of a run's models, and checks that they fit and are finite."""

from __future__ import annotations

import io
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gatesearch._lib import console
from gatesearch._lib.files import digest
from gatesearch.errors import UserError
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.training.checkpoints import describe_difference


def load_weights(model: nn.Module, name: str, folder: RunFolder) -> bool:
    """Load weights from a file into a model, and return True; return False if there is no usable file.

    Args:
        model: the model; it does not change if the function returns False.
        name: the name of the file in the run folder; a damaged file is set aside with a warning.
        folder: the folder of the run.

    Raises:
        UserError: the weights belong to another network, or are not finite.
    """
    stored = folder.load(name, parse_weights, "the training is repeated")
    if stored is None:
        return False
    again = f"delete {folder / name} to train it again, or begin a new run"
    difference = describe_difference(stored, model.state_dict())
    if difference is not None:
        raise UserError(
            f"{folder / name}: holds weights of another network: {difference}; put the recipe back, or {again}"
        )
    check_finite(stored, model, f"{folder / name}", again)
    model.load_state_dict(stored)
    model.eval()
    return True


def store_weights(model: nn.Module, name: str, folder: RunFolder) -> None:
    """Write a model's weights; warn if they differ from the weights that an earlier session wrote.

    Raises:
        UserError: the weights are not finite.
    """
    check_finite(
        model.state_dict(),
        model,
        f"{folder / name}",
        "lower training.learning_rate, or look for extreme values in the data",
    )
    content = state_bytes(model)
    before = folder.checksums.expected_digests(name)
    if before and digest(content) not in before:
        console.warn(
            f"{folder / name}: this training gave other weights than an earlier one of this run; results from the "
            "earlier weights stay as they are"
        )
    folder.write(name, content)


def check_finite(weights: Mapping[str, Tensor], model: nn.Module, where: str, remedy: str) -> None:
    """Check that every weight is a finite number; a buffer may be infinite, such as the threshold of an open gate.

    Raises:
        UserError: a weight is not finite; the error names the first tensor with such a weight.
    """
    parameters = dict(model.named_parameters())
    for name, tensor in weights.items():
        wrong = ~tensor.isfinite() if name in parameters else tensor.isnan()
        count = int(wrong.sum())
        if count:
            raise UserError(f"{where}: {count} of {tensor.numel()} values of {name} are not finite; {remedy}")


def parse_weights(content: bytes) -> dict[str, Tensor]:
    """Return the weights of a checkpoint by name."""
    weights = torch.load(io.BytesIO(content), weights_only=True)
    return {str(name): tensor for name, tensor in weights.items()}


def state_bytes(model: nn.Module) -> bytes:
    """Return the weights of a model as the bytes of a checkpoint."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.getvalue()
