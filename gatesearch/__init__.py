"""gatesearch finds where the gates go in always-on neural networks, under a hardware cost model.

A gate stops easy samples, or skips work that a sample does not need. ``gatesearch.run(model, data, space=...,
stream=..., device=...)`` does in Python what ``gatesearch run`` does on the command line; see
:func:`gatesearch.api.run`. A name is imported when a program first uses it. So ``import gatesearch`` and the command
line's help do not import PyTorch.

>>> import gatesearch
>>> print(gatesearch.GatePlan())
no gates on ?
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gatesearch._lib.version import __version__

if TYPE_CHECKING:
    from gatesearch.api import run
    from gatesearch.data import Dataset
    from gatesearch.devices.profile import load as load_device
    from gatesearch.errors import UserError
    from gatesearch.model import GatedModel
    from gatesearch.plan import GatePlan
    from gatesearch.runtime.bundle import Bundle
    from gatesearch.search.sampler.gate_sampler import GateSampler

__all__ = [
    "Bundle",
    "Dataset",
    "GatePlan",
    "GateSampler",
    "GatedModel",
    "UserError",
    "__version__",
    "load_device",
    "run",
]

_SOURCES = {
    "Bundle": ("runtime.bundle", "Bundle"),
    "Dataset": ("data", "Dataset"),
    "GatePlan": ("plan", "GatePlan"),
    "GateSampler": ("search.sampler.gate_sampler", "GateSampler"),
    "GatedModel": ("model", "GatedModel"),
    "UserError": ("errors", "UserError"),
    "load_device": ("devices.profile", "load"),
    "run": ("api", "run"),
}


def __getattr__(name: str) -> Any:
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _SOURCES[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return __all__
