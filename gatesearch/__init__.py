"""gatesearch finds where the gates go: search for gated, always-on neural networks under a hardware cost model.

``gatesearch.run(model, data, space=..., stream=..., device=...)`` does from Python what the command line does; see
:func:`gatesearch.api.run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatesearch.api import run

__all__ = ["__version__", "run"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "run":  # not before it is wanted: help and a bad recipe answer without torch
        from gatesearch.api import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
