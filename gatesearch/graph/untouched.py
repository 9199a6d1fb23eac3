"""Restores a module after tracing: removes attributes that its forward pass set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from gatesearch.errors import UserError


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Restore a module after the ``with`` block: modes, attributes, buffers and their values.

    Raises:
        UserError: the block changed a parameter or a buffer.
    """
    before = [(name, module, _Snapshot(module)) for name, module in model.named_modules()]
    changed: list[str] = []
    try:
        yield
    finally:
        for name, module, snapshot in before:
            changed += [f"{name}.{own}" if name else own for own in snapshot.restore(module)]
    if changed:
        raise UserError(
            f"backbone: {type(model).__name__} changes {changed[0]!r} in its forward; "
            "a network in use has no memory of earlier windows"
        )


class _Snapshot:
    """A copy of a module's own attributes, parameters and buffers, without those of its children."""

    def __init__(self, module: nn.Module) -> None:
        self.attributes: dict[str, Any] = dict(vars(module))
        self.tensors: dict[str, Tensor | None] = {**module._parameters, **module._buffers}
        self.buffers: dict[str, Tensor | None] = dict(module._buffers)
        self.values = {name: value.detach().clone() for name, value in self.buffers.items() if value is not None}
        self.versions = {
            name: value._version
            for name, value in self.tensors.items()
            if value is not None and not value.is_inference()
        }

    def restore(self, module: nn.Module) -> list[str]:
        """Restore the module; return the names of parameters and buffers that had changed."""
        now: dict[str, Any] = {**module._parameters, **module._buffers}
        names = [name for name, value in self.tensors.items() if now.get(name) is not value]
        names += [name for name, version in self.versions.items() if self.tensors[name]._version != version]  # type: ignore[union-attr]
        vars(module).clear()
        vars(module).update(self.attributes)
        module._buffers.clear()
        module._buffers.update(self.buffers)
        for name in dict.fromkeys(names):
            if name in self.values:
                self.buffers[name].data.copy_(self.values[name])  # type: ignore[union-attr]
        return list(dict.fromkeys(names))
