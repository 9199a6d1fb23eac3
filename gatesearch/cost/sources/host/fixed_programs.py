"""Small programs that are timed beside every backbone; they are converted once and cached.

The probes among them show how many channels LiteRT computes together (:mod:`gatesearch.cost.sources.host.tiles`). The
others stand in for stages while the code that calls a bundle's programs is timed
(:mod:`gatesearch.cost.sources.host.dispatch`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from gatesearch._lib import timing, user_cache
from gatesearch.compile.batch_convert import BatchConverter
from gatesearch.cost.sources.host import dispatch, tiles

FixedPrograms = Mapping[str, bytes]
"""Float .tflite models by name."""


def load(converter: BatchConverter, cache: Path | None = None) -> FixedPrograms:
    """Return the programs, from a cache or converted now.

    Args:
        converter: a function that makes float .tflite models of modules, given an example of the input of each.
        cache: the folder of latency tables; the programs lie in a folder inside it. None converts the programs anew.
    """
    with torch.random.fork_rng(devices=[]):  # random numbers after this call are the same with and without a cache
        torch.manual_seed(0)
        networks = {**tiles.probe_networks(), **dispatch.stage_networks()}
    folder = None if cache is None else user_cache.close_folder(user_cache.close_folder(cache) / "programs")
    stems = {name: _stem(name, *network) for name, network in networks.items()}
    stored = (
        {} if folder is None else {name: user_cache.read_file(folder, stem, ".tflite") for name, stem in stems.items()}
    )
    models = {name: model for name, model in stored.items() if model is not None}
    missing = [name for name in networks if name not in models]
    modules, examples = [networks[name][0].eval() for name in missing], [networks[name][1] for name in missing]
    for name, model in zip(missing, converter(modules, examples) if missing else [], strict=True):
        models[name] = model
        if folder is not None:
            user_cache.store_file(folder, stems[name], ".tflite", model)
    return models


def _stem(name: str, module: nn.Module, example: torch.Tensor) -> str:
    """Return the name of a program's file, which holds a digest of everything that the program depends on."""
    versions = timing.fingerprint()["versions"]
    content = json.dumps([versions, type(module).__qualname__, str(module), list(example.shape)])
    weights = b"".join(parameter.detach().numpy().tobytes() for parameter in module.parameters())
    return f"{name}-{hashlib.sha256(content.encode() + weights).hexdigest()[:16]}"
