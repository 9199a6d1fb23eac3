"""The way in for Python programs that hold a network and data themselves: ``gatesearch.run(model, data, ...)``."""

from __future__ import annotations

import copy
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
    """Find the gates of a network: the search, the retrained plan, the bundle and the report, as ``gatesearch run``.

    Args:
        model: maps [n, *features] to logits [n, classes] (or to a signal, with ``goal="reconstruction"``); any module
            that torch.fx can trace. It is copied, and training starts from the weights that it has.
        data: three splits; without a ``frontend`` their inputs are what the model sees.
        space: name or path of a search space, or its keys.
        stream: what the device sees in use, ``{"period_s": 1.0, "shares": {"positive": 0.01, "other": 0.99}}``.
        device: name or path of a device profile.
        name: of the run; None for the name of the data.
        out: run folder; None for runs/NAME-N.
        resume: run folder to go on with; the recipe in it holds, and all else but model and data is left out.
        **groups: any other group of a recipe, such as ``search={"trials": 60}`` or ``constraints={...}``.

    Raises:
        UserError: one line that says what cannot be used, or that a resumed run had another network or other data.

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
    from gatesearch.batch_study import outcome
    from gatesearch.pipeline import run as pipeline
    from gatesearch.pipeline.problem import Inputs

    known = {
        "data": {"name": f"{__name__}:data", "digest": _digest_of_data(data)},
        "backbone": f"{__name__}:backbone",
        "backbone_args": {"digest": _digest_of_network(model)},
    }
    inputs = Inputs(copy.deepcopy(model), data)
    if resume is not None:
        folder = Path(resume)
        if not (folder / "recipe.yaml").is_file():
            raise UserError(f"{WHERE}: resume={resume}: holds no run")
        made = recipe.load_run(folder)
        if made.data.model_dump(exclude={"root"}) != known["data"]:
            raise UserError(f"{WHERE}: resume={resume}: the run had other data")
        if made.backbone_args != known["backbone_args"]:
            raise UserError(f"{WHERE}: resume={resume}: the run had a network of other layers")
        return pipeline.resume(folder, inputs=inputs)
    tree = {
        "name": name or data.name,
        "title": f"{type(model).__name__} on {data.name}",
        **known,
        "stream": dict(stream),
        "space": space if isinstance(space, Mapping) else str(space),
        "device": str(device),
        **groups,
    }
    checked = outcome.resolved(recipe.build_recipe(tree, WHERE))
    return pipeline.start(checked, Path(out) if out is not None else None, inputs)


def data(**_: Any) -> NoReturn:
    """Stand in a recipe for data that a program holds; the command line cannot load it."""
    raise UserError(f"data: was given by a Python program; go on there with {WHERE}(model, data, ..., resume=RUN_DIR)")


def backbone(**_: Any) -> NoReturn:
    """Stand in a recipe for a network that a program holds; the command line cannot build it."""
    raise UserError(f"backbone: was given by a Python program; go on there with {WHERE}(model, data, ..., resume=...)")


def _digest_of_data(given: Dataset) -> str:
    splits = (given.train, given.validation, given.test)
    return _digest(
        [str((given.classes, given.positive)), *(tensor for split in splits for tensor in (split.inputs, split.labels))]
    )


def _digest_of_network(model: nn.Module) -> str:
    """Names and shapes alone: a program that draws its weights anew goes on with those of the run."""
    return _digest([type(model).__name__, *(f"{name} {tuple(t.shape)}" for name, t in model.state_dict().items())])


def _digest(parts: Iterable[str | Tensor]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else part.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
