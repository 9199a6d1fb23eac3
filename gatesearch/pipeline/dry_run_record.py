"""Stores the gates that a dry run refused, so that a resumed run with the same network can skip it."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from gatesearch._lib.revision import revision
from gatesearch.graph.trace import trace
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.search.reduced_space import Variant

DRY_RUN_FILE = "logs/dry_run.json"


class Refusal(NamedTuple):
    """A variant of gates that cannot be exported.

    Args:
        variant: the gate kind, and the values of the parameters that change the exported program.
        slots: labels of the slots that lose the variant.
        site: the site where the variant was tried.
        reason: the reason, in one line.
    """

    variant: Variant
    slots: tuple[str, ...]
    site: str
    reason: str

    def describe(self) -> str:
        """Return the line that a user reads."""
        return f"{self.variant.name} at {self.site!r} cannot be exported, and is not searched: {self.reason}"


def read_record(problem: Problem, folder: RunFolder) -> list[Refusal] | None:
    """Return the refusals of an earlier dry run of the same problem; None if there was no such dry run."""
    stored = folder.load(DRY_RUN_FILE, _parse, "the dry run is repeated")
    if stored is None:
        # A run of an older version has no record. If it has a best plan, its network can be exported.
        return [] if (folder / "best/plan.json").exists() else None
    digest, refusals = stored
    return refusals if digest == _digest(problem) else None


def write_record(problem: Problem, folder: RunFolder, refusals: Sequence[Refusal]) -> None:
    """Write the refusals of a dry run."""
    rows = [
        {
            "kind": refusal.variant.kind,
            "params": dict(refusal.variant.params),
            "slots": list(refusal.slots),
            "site": refusal.site,
            "reason": refusal.reason,
        }
        for refusal in refusals
    ]
    folder.write_json(DRY_RUN_FILE, {"digest": _digest(problem), "refusals": rows})


def _parse(content: bytes) -> tuple[str, list[Refusal]]:
    """Return the digest of a dry run, and its refusals."""
    stored = json.loads(content)
    refusals = [
        Refusal(
            variant=Variant(row["kind"], tuple(row["params"].items())),
            slots=tuple(row["slots"]),
            site=str(row["site"]),
            reason=str(row["reason"]),
        )
        for row in stored["refusals"]
    ]
    return str(stored["digest"]), refusals


def _digest(problem: Problem) -> str:
    """Return a digest of everything on which a dry run depends: network, space, device and formats, not the weights."""
    network = problem.backbone
    content = [
        revision(),
        str(trace(network).graph),
        repr(network),
        [(name, tuple(value.shape)) for name, value in network.state_dict().items()],
        sorted({_source(type(module)) for module in network.modules()}),
        [repr(slot) for slot in problem.space.slots],
        problem.space.cores,
        problem.device.model_dump_json(),
        problem.recipe.export.formats,
        problem.frontend.output_range,
    ]
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _source(kind: type[nn.Module]) -> str:
    """Return the source code of a module's class, or the name of a class of PyTorch.

    The digest needs the source code, because a trace may show only a part of what the code can do.
    """
    if kind.__module__.startswith("torch."):
        return kind.__qualname__
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return f"{kind.__module__}.{kind.__qualname__}"
