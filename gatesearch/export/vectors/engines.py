"""The engine that runs each core's programs for test vectors: kernels of LiteRT that any client can run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatesearch.runtime.open_listener import HOST_ENGINE

REFERENCE = "reference"


def vector_engines(manifest: Mapping[str, Any], host: bool) -> dict[str, str]:
    """Return the engine by core.

    LiteRT's reference kernels round as a microcontroller does. A stage in parts runs its whole program, because a
    client has no kernels for parts; with the engine ``reference``, a bundle does so, too.

    Args:
        manifest: the manifest of the bundle.
        host: whether LiteRT's fast kernels run every other core, as when a host listens.
    """
    engines: dict[str, str] = {}
    for stage in manifest["stages"]:
        fast = HOST_ENGINE if host or stage["engine"] == HOST_ENGINE else REFERENCE
        engine = REFERENCE if stage.get("parts") or stage.get("kernel_parts") else fast
        if engines.get(stage["core"]) != REFERENCE:
            engines[stage["core"]] = engine
    return engines
