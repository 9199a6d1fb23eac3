"""The Python entry for programs that have a network and data in memory: ``gatesearch.run(model, data, ...)``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from torch import Tensor, nn

from gatesearch import recipe
from gatesearch.data import Dataset
from gatesearch.errors import UserError

if TYPE_CHECKING:
    from gatesearch.pipeline.result import RunResult

WHERE = "gatesearch.run"


def run(
    model: nn.Module,
    data: Dataset,
    *,
    space: str | Path | Mapping[str, Any],
    stream: Mapping[str, Any],
    device: str | Path = "three_core",
    name: str | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    **groups: Any,
) -> RunResult:
    """Find the gates of a network: search, retrain, export and report, as ``gatesearch run`` does.

    Args:
        model: maps [n, *features] to logits [n, classes] (or to a signal, with ``goal="reconstruction"``); any module
            that torch.fx can trace. Training starts from its weights, on a copy.
        data: three splits; without a ``frontend``, the model sees their inputs as they are.
        space: name or path of a search space, or its keys.
        stream: the windows that the device sees, ``{"period_s": 1.0, "shares": {"positive": 0.01, "other": 0.99}}``.
        device: name or path of a device profile.
        name: of the run; None for the name of the data.
        out: run folder; None for runs/NAME-N.
        resume: run folder to continue; its recipe applies, and all arguments but model and data are ignored.
        **groups: any other group of a recipe, such as ``search={"trials": 60}`` or ``constraints={...}``.

    Raises:
        UserError: an argument cannot be used, or a resumed run had another network or other data; one line says which.

    >>> import gatesearch, torch
    >>> from gatesearch.data import Dataset, Split
    >>> split = Split(torch.zeros(2, 4), torch.tensor([0, 1]), ("a", "b"))
    >>> data = Dataset("two", "made here", True, ("wake", "other"), (True, False), split, split, split)
    >>> model = torch.nn.Linear(4, 2)
    >>> gatesearch.run(model, data, space="kws_gv", stream={"shares": {"positive": 1.0}})
    Traceback (most recent call last):
    ...
    gatesearch.errors.UserError: gatesearch.run: space: unknown search space 'kws_gv'; nearest: 'kws_gc' ...
    """
    from gatesearch.backbones import check_network
    from gatesearch.batch_study.auto_batch import resolve_batch_size
    from gatesearch.graph.plain_weights import copy_network
    from gatesearch.pipeline import run as pipeline
    from gatesearch.pipeline.problem import Inputs

    check_network(model, f"{WHERE}: model")
    if not isinstance(data, Dataset):
        raise UserError(f"{WHERE}: data is a {type(data).__name__}, not a gatesearch.data.Dataset")
    # The recipe of the run folder names the two stand-ins below, and identifies what they stand for by digests.
    stand_ins = {
        "data": {"name": f"{__name__}:data", "digest": _digest_data(data)},
        "backbone": f"{__name__}:backbone",
        "backbone_args": {"digest": _digest_network(model)},
    }
    inputs = Inputs(copy_network(model), data)
    if resume is not None:
        folder = Path(resume)
        _check_resumable(folder, stand_ins)
        return pipeline.resume(folder, inputs=inputs)
    tree = {
        "name": name or data.name,
        "title": f"{type(model).__name__} on {data.name}",
        **stand_ins,
        "stream": dict(stream),
        "space": space if isinstance(space, Mapping) else str(space),
        "device": str(device),
        **groups,
    }
    checked = resolve_batch_size(recipe.build_recipe(tree, WHERE))
    return pipeline.start(checked, Path(out) if out is not None else None, inputs)


def data(**_: Any) -> NoReturn:
    """Stand in a recipe for the data of a program; the command line cannot load it."""
    raise UserError(f"data: comes from a Python program; go on there with {WHERE}(model, data, ..., resume=RUN_DIR)")


def backbone(**_: Any) -> NoReturn:
    """Stand in a recipe for the network of a program; the command line cannot build it."""
    raise UserError(
        f"backbone: comes from a Python program; go on there with {WHERE}(model, data, ..., resume=RUN_DIR)"
    )


def _check_resumable(folder: Path, stand_ins: Mapping[str, Any]) -> None:
    """Check that a folder holds a run of this data and this network."""
    if not (folder / "recipe.yaml").is_file():
        raise UserError(f"{WHERE}: resume={folder}: holds no run")
    stored = recipe.load_run(folder)
    if stored.data.model_dump(exclude={"root"}) != stand_ins["data"]:
        raise UserError(f"{WHERE}: resume={folder}: the run had other data")
    if stored.backbone_args != stand_ins["backbone_args"]:
        raise UserError(f"{WHERE}: resume={folder}: the run had a network of other layers")


def _digest_data(dataset: Dataset) -> str:
    """Return a digest of classes, inputs and labels."""
    parts: list[str | Tensor] = [str((dataset.classes, dataset.positive))]
    for split in (dataset.train, dataset.validation, dataset.test):
        parts += [split.inputs, split.labels]
    return _digest(parts)


def _digest_network(model: nn.Module) -> str:
    """Return a digest of names and shapes; a program that draws new weights can still resume its run."""
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in model.state_dict().items()]
    return _digest([type(model).__name__, *shapes])


def _digest(parts: Iterable[str | Tensor]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
