"""Writes Lightning's checkpoints completely or not at all, and checks their digests when it loads them.

Lightning itself writes a checkpoint into the folder for temporary files and then moves it. If that folder is on another
file system, the move is a copy, and a kill leaves half a file.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from gatesearch._lib import console
from gatesearch._lib.files import DamagedFile, read_bytes, seal, set_aside, unseal, write_whole
from gatesearch.errors import first_line


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes and reads the checkpoints of a ``pl.Trainer``; pass it as a plugin."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint completely or not at all."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_whole(Path(path), seal(buffer.getvalue()))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Return a checkpoint.

        Raises:
            DamagedFile: the file is missing, or differs from what was written.
        """
        return read_checkpoint(Path(path), map_location)


def read_checkpoint(path: Path, map_location: Any = None) -> dict[str, Any]:
    """Return a checkpoint of tensors and plain values.

    Raises:
        DamagedFile: the file is missing, or differs from what was written.
    """
    content = read_bytes(path)
    if content is None:
        raise DamagedFile(path, "is not there")
    payload = unseal(path, content)
    try:
        checkpoint: dict[str, Any] = torch.load(io.BytesIO(payload), map_location or "cpu", weights_only=True)
        checkpoint["state_dict"].items()
    except Exception as error:  # PyTorch raises many types of error for a damaged archive
        line = first_line(error)
        raise DamagedFile(path, f"is damaged: no checkpoint: {line}") from error
    return checkpoint


def find_checkpoint(path: Path, weights: Mapping[str, Tensor]) -> Path | None:
    """Return the path of the checkpoint from which a training resumes; None if it starts from the first epoch.

    A checkpoint that is damaged or of another network is renamed to NAME.damaged, with a warning.

    Args:
        path: path of the checkpoint.
        weights: weights of the training's task, by name.
    """
    try:
        if read_bytes(path) is None:
            return None
        stored = read_checkpoint(path)["state_dict"]
        difference = describe_difference(stored, weights)
        if difference is None:
            return path
        reason = f"{path}: is of another network: {difference}"
    except DamagedFile as error:
        reason = str(error)
    aside = set_aside(path)
    console.warn(f"{reason}; this training starts again; the damaged file is now {aside.name}")
    return None


def describe_difference(stored: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str | None:
    """Return a line about the first name or shape that differs between stored weights and a network's weights.

    >>> describe_difference({"a": torch.zeros(2)}, {"a": torch.zeros(3)})
    'a is [2], where the network has [3]'
    """
    for name in stored.keys() ^ weights.keys():
        return f"{name} is {'unknown to the network' if name in stored else 'missing'}"
    for name, tensor in weights.items():
        if not isinstance(stored[name], Tensor):
            return f"{name} is no tensor"
        if stored[name].shape != tensor.shape:
            return f"{name} is {list(stored[name].shape)}, where the network has {list(tensor.shape)}"
    return None
