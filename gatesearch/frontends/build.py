"""Builds the front end that a recipe names, and rebuilds a fitted one from a bundle's description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatesearch._lib.plugins import check_types, fail_plugin, load_plugin, parameters_of, unknown_argument
from gatesearch.errors import UserError, unknown
from gatesearch.frontends.base import ARITHMETICS, FIXED_POINT, FLOAT, Frontend

GROUP = "gatesearch.frontends"


def build(name: str, **arguments: Any) -> Frontend:
    """Build the front end that a recipe names.

    Args:
        name: an entry point of the group ``gatesearch.frontends``, or ``package.module:Name``.
        **arguments: the arguments of the front end's constructor.

    Raises:
        UserError: the name or an argument is unknown, or an argument is not valid.

    >>> build("mfcc", coefficients=13).output_shape
    (1, 49, 13)
    """
    return build_for(name, arguments)


def build_for(name: str, arguments: Mapping[str, Any], *, sample_rate: int | None = None, samples: int = 0) -> Frontend:
    """Build a front end for the clips of a data set, with the clips' sample rate and length as its defaults.

    Args:
        name: an entry point of the group ``gatesearch.frontends``, or ``package.module:Name``.
        arguments: the arguments of the front end's constructor.
        sample_rate: samples per second of the clips; None if the data are not signals in time.
        samples: number of samples in a clip.

    Raises:
        UserError: the name or an argument is unknown, an argument is not valid, or the arguments name another sample
            rate than ``sample_rate``.
    """
    factory = load_plugin(GROUP, name, "frontend.name")
    if not callable(factory):
        raise UserError(f"frontend.name: {name} is a {type(factory).__name__}, not a class or a function")
    parameters = parameters_of(factory)
    if key := unknown_argument(parameters, arguments):
        raise unknown("frontend", f"key of {name}", key, parameters)
    clip: dict[str, Any] = {}
    if sample_rate is not None:
        clip = {"sample_rate": sample_rate, "seconds": samples / sample_rate}
        rate_argument = arguments.get("sample_rate", sample_rate)
        if rate_argument != sample_rate:
            raise UserError(f"frontend.sample_rate: {rate_argument!r}, but the data are sampled at {sample_rate} Hz")
    check_types("frontend", parameters, arguments)
    try:
        frontend = factory(**{key: value for key, value in clip.items() if key in parameters} | dict(arguments))
    except Exception as error:
        fail_plugin(f"frontend: {name}", error)
    if not isinstance(frontend, Frontend):
        raise UserError(
            f"frontend.name: {name} returned a {type(frontend).__name__}, not a gatesearch.frontends.Frontend"
        )
    frontend.name = name  # the name in the recipe, so that `restore` can load the same class
    return frontend


def restore(description: Mapping[str, Any], *, trust: bool = False) -> Frontend:
    """Rebuild a fitted front end from its description, which a bundle's manifest holds.

    Args:
        description: the result of :meth:`Frontend.describe`.
        trust: whether the description may name its front end as ``package.module:Name``, which runs the code of that
            module. Without trust, only names of installed front ends are valid.

    Raises:
        UserError: the description names a module without ``trust``, or does not fit the front end; or the front end
            cannot compute in the arithmetic that the description states.

    >>> import torch
    >>> fitted = build("mfcc").fit(torch.randn(4, 16000))
    >>> clip = torch.randn(1, 16000)
    >>> torch.equal(restore(fitted.describe())(clip), fitted(clip))
    True
    """
    name = description["name"]
    if ":" in name and not trust:
        raise UserError(f"frontend: {name!r} runs code of a module; if you trust it: restore(..., trust=True)")
    frontend = build(name, **description["args"])
    frontend.restore_fit(description)
    arithmetic = description.get("arithmetic", FLOAT)  # bundles of version 0.2 and before do not state it
    if arithmetic not in ARITHMETICS:
        raise unknown("frontend", "arithmetic", arithmetic, ARITHMETICS)
    if arithmetic == FIXED_POINT and not frontend.use_fixed_point():
        raise UserError(f"frontend: {name} has no form in fixed point, which its description states")
    if frontend.arithmetic != arithmetic:
        raise UserError(f"frontend: {name} computes in {frontend.arithmetic} alone, not in {arithmetic}")
    return frontend
