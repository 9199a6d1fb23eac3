"""Runs a gate search from a Python program: ``gatesearch.run(model, data, ...)``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, overload

from torch import Tensor, nn

from gatesearch import frontends, recipe
from gatesearch._lib import console
from gatesearch.data import Dataset, check_dataset
from gatesearch.errors import UserError, quote

if TYPE_CHECKING:
    from gatesearch.devices.profile import Device
    from gatesearch.pipeline.forecast import Forecast
    from gatesearch.pipeline.result import RunResult
    from gatesearch.recipe import Recipe
    from gatesearch.recipe.schema import SearchSpace, Stream

WHERE = "gatesearch.run"
STAND_IN_KEYS = ("data", "backbone", "backbone_args")


@overload
def run(
    model: nn.Module,
    data: Dataset,
    *,
    space: str | Path | Mapping[str, Any] | SearchSpace,
    stream: Mapping[str, Any] | Stream,
    dry_run: Literal[True],
    device: str | Path | Device = "three_core",
    name: str | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    trust: bool = False,
    **groups: Any,
) -> Forecast: ...


@overload
def run(
    model: nn.Module,
    data: Dataset,
    *,
    space: str | Path | Mapping[str, Any] | SearchSpace,
    stream: Mapping[str, Any] | Stream,
    device: str | Path | Device = "three_core",
    name: str | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    trust: bool = False,
    dry_run: Literal[False] = False,
    **groups: Any,
) -> RunResult: ...


def run(
    model: nn.Module,
    data: Dataset,
    *,
    space: str | Path | Mapping[str, Any] | SearchSpace,
    stream: Mapping[str, Any] | Stream,
    device: str | Path | Device = "three_core",
    name: str | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    trust: bool = False,
    dry_run: bool = False,
    **groups: Any,
) -> RunResult | Forecast:
    """Find the gates of a network: search, retrain, export and report, as ``gatesearch run`` does.

    Args:
        model: a network that maps [n, *features] to logits [n, classes], or to a signal with ``goal="reconstruction"``.
            It can be any module that torch.fx can trace. Training starts from its weights and changes only a copy.
        data: the data set with three splits. Without a ``frontend``, the model gets the data set's inputs unchanged.
        space: name or path of a search space, its keys, or a result of ``gatesearch.recipe.load_space``.
        stream: the mix of windows that the device processes, such as
            ``{"period_s": 1.0, "shares": {"positive": 0.01, "other": 0.99}}``.
        device: name or path of a device profile, or the profile that ``gatesearch.load_device(name)`` returns.
        name: the name of the run; None for the name of the data.
        out: the run folder; None for runs/NAME-N.
        resume: a run folder to continue. The recipe in that folder applies. ``space``, ``stream``, ``device`` and the
            groups are ignored; a warning names each that differs from that recipe. ``out`` must then be None.
        trust: with ``resume``, whether to load the modules and connect to the clusters that the folder's recipe names;
            see docs/security.md.
        dry_run: whether to train nothing and to make no run folder. The checks of a run and the dry run of its export
            are done, and the result is a :class:`gatesearch.pipeline.forecast.Forecast`: the space, the range of
            prices, the expected time and the memory. ``resume`` must then be None.
        **groups: any other group of a recipe, such as ``search={"trials": 60}`` or ``constraints={...}``.

    Raises:
        UserError: an argument is not valid, or the run to resume had another network or other data. The message is one
            line. Nothing is written before all arguments are checked.

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
    folders = {"out": _read_path("out", out), "resume": _read_path("resume", resume)}
    for key, flag in {"trust": trust, "dry_run": dry_run}.items():
        if not isinstance(flag, bool):
            raise UserError(f"{WHERE}: {key}: {quote(flag)} is neither True nor False")
    if dry_run and resume is not None:
        raise UserError(f"{WHERE}: dry_run: resume={resume} goes on with a run that has begun; leave one of them out")
    for key in groups:
        if key in STAND_IN_KEYS:
            raise UserError(f"{WHERE}: {key}: this group stands for the model and data of the program; leave it out")
    # The recipe in the run folder cannot hold the model and the data. Instead, it names this module's functions `data`
    # and `backbone`, and identifies data and model by digests.
    stand_ins = {
        "data": {"name": f"{__name__}:data", "digest": _digest_data(data)},
        "backbone": f"{__name__}:backbone",
        "backbone_args": {"digest": _digest_network(model)},
    }
    tree = {
        "name": recipe.make_folder_name(data.name) if name is None else name,
        "title": f"{type(model).__name__} on {data.name}",
        **stand_ins,
        "stream": stream,
        "space": str(space) if isinstance(space, Path) else space,
        "device": _name_device(device),
        **groups,
    }
    checked = recipe.build_recipe(tree, WHERE)
    if folders["resume"] is not None:
        if out is not None:
            raise UserError(f"{WHERE}: out={out}: resume={resume} goes on in its own folder; leave one of them out")
        with console.collect_warnings() as warnings:
            _check_resumable(folders["resume"], checked, trust)
        inputs = Inputs(copy_network(model), data)
        return pipeline.resume(folders["resume"], inputs=inputs, trust=trust, warnings=warnings)
    # The pipeline checks the data as well. This earlier check refuses bad data before there is a run folder.
    check_dataset(data, warns=False)
    frontends.build_for(
        checked.frontend.name,
        checked.frontend.arguments,
        sample_rate=data.sample_rate,
        samples=data.train.inputs.shape[-1],
    )
    inputs = Inputs(copy_network(model), data)
    if dry_run:
        from gatesearch.pipeline.forecast import forecast

        return forecast(resolve_batch_size(checked), folders["out"], inputs)
    return pipeline.start(resolve_batch_size(checked), folders["out"], inputs)


def data(**_: Any) -> NoReturn:
    """Raise an error: this name in a recipe stands for a program's data, which the command line cannot load."""
    raise UserError(f"data: comes from a Python program; go on there with {WHERE}(model, data, ..., resume=RUN_DIR)")


def backbone(**_: Any) -> NoReturn:
    """Raise an error: this name in a recipe stands for a program's network, which the command line cannot build."""
    raise UserError(
        f"backbone: comes from a Python program; go on there with {WHERE}(model, data, ..., resume=RUN_DIR)"
    )


def _read_path(argument: str, written: object) -> Path | None:
    """Return the path of a folder that an argument names; None if the argument is None."""
    if written is None:
        return None
    if not isinstance(written, str | Path) or not str(written):
        raise UserError(f"{WHERE}: {argument}: {quote(written)} is not the path of a folder")
    return Path(written)


def _name_device(device: object) -> object:
    """Return the value of the recipe's key ``device``: the name of a loaded profile, or any other value as it is.

    A recipe can hold the name of a profile, but not the profile itself. The recipe checks names, paths and other
    values.
    """
    from gatesearch.devices import profile

    if not isinstance(device, profile.Device):
        return str(device) if isinstance(device, Path) else device
    if device.name in profile.names() and profile.load(device.name) == device:
        return device.name
    raise UserError(
        f"{WHERE}: device: the profile {device.name!r} cannot be loaded by its name; give the path of its file"
    )


def _check_resumable(folder: Path, arguments: Recipe, trust: bool) -> None:
    """Check that a folder holds a run of this data and this network; warn of other arguments that differ."""
    if not os.path.isfile(folder / "recipe.yaml"):  # also False if the path is too long for the file system
        raise UserError(f"{WHERE}: resume={folder}: holds no run")
    stored = recipe.load_run(folder, trust=trust)
    if stored.data.model_dump(exclude={"root"}) != arguments.data.model_dump(exclude={"root"}):
        raise UserError(f"{WHERE}: resume={folder}: the run had other data")
    if stored.backbone_args != arguments.backbone_args:
        raise UserError(f"{WHERE}: resume={folder}: the run had a network of other layers")
    for key in sorted(arguments.model_fields_set - {"data", "backbone", "backbone_args", "name", "title"}):
        if getattr(stored, key) != getattr(arguments, key):
            console.warn(f"{WHERE}: {key}: resume={folder} goes on with the {key} of its own recipe")


def _digest_data(dataset: Dataset) -> str:
    """Return a digest of a data set's classes, inputs and labels."""
    parts: list[str | Tensor] = [str((dataset.classes, dataset.positive))]
    for split in (dataset.train, dataset.validation, dataset.test):
        parts += [split.inputs, split.labels]
    return _digest(parts)


def _digest_network(model: nn.Module) -> str:
    """Return a digest of the names and shapes of a network's tensors.

    The values of the tensors do not count, so that a program with newly drawn weights can resume its run.
    """
    tensors = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items()]
    return _digest([type(model).__name__, *shapes])


def _digest(parts: Iterable[str | Tensor]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
