"""Recipe keys on the search: how plans are proposed, and where and how long they are tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from gatesearch.recipe.errors import invalid
from gatesearch.recipe.schema.group import Group
from gatesearch.recipe.schema.values import Count, NonNegative, Positive, Text, Workers


class Executor(Group):
    """The executor of trials: how many workers try plans at a time, and the CPUs and GPUs of each."""

    name: Literal["local", "ray"] = Field(
        default="local", description="local: processes of this machine; ray: a Ray cluster, which needs the extra ray."
    )
    workers: Workers = Field(
        default=1,
        description="Plans that are tried at the same time; more workers are faster, but each proposal rests on "
        "fewer outcomes.",
    )
    cpus: Workers = Field(default=1, description="CPU cores of each worker.")
    gpus: NonNegative = Field(
        default=0.0, description="GPUs of each worker, such as 0.5 for half of one; for ray only."
    )
    address: Text | None = Field(
        default=None,
        description="Address of a Ray cluster, such as auto; null starts Ray on this machine; for ray only.",
    )

    @model_validator(mode="after")
    def _fits_its_name(self) -> Executor:
        if self.name != "ray":
            for key in ("address", "gpus"):
                if getattr(self, key):
                    raise invalid(f"is for name: ray, and name is {self.name}", key, "name")
        return self


def _check_storage(storage: str) -> str:
    """Accept ``journal``, an SQLite file or a PostgreSQL server, without a password in it."""
    if storage == "journal":
        return storage
    kind, _, rest = storage.partition("://")
    if kind.split("+")[0] not in ("sqlite", "postgresql") or not rest.strip("/"):
        raise invalid(f"{storage!r} is none of: journal, sqlite:///FILE, postgresql://USER@HOST/DATABASE")
    if ":" in rest.partition("@")[0] and "@" in rest:
        raise invalid("has a password in it, which run folders would show; set PGPASSWORD or write ~/.pgpass")
    return storage


# Keys of `search` that were removed, each with the reason. Older recipes hold all of these keys, switched off.
REMOVED_SEARCH_KEYS: Mapping[str, str] = {
    "engine": "every plan that is kept is trained",
    "halving": "every trial is trained to its end",
    "supernet": "every plan that is kept is trained",
}


def find_removed_keys(search: Mapping[str, Any]) -> list[str]:
    """Return the removed keys of a ``search`` group that are switched on.

    >>> find_removed_keys({"engine": "trials", "halving": None, "supernet": {"plans": 2}})
    []
    >>> find_removed_keys({"engine": "auto", "halving": {"first": 1}})
    ['engine', 'halving']
    """
    switched_on = {
        "engine": search.get("engine", "trials") != "trials",
        "halving": search.get("halving") is not None,
        # Keys under `supernet` had no effect with engine `trials`; any other engine is reported by itself.
        "supernet": "supernet" in search and "engine" not in search,
    }
    return [key for key in REMOVED_SEARCH_KEYS if switched_on[key]]


class Search(Group):
    """Settings of the search: how many plans are tried, how long each trains, and where."""

    sampler: Literal["gate", "tpe", "nsga2", "random"] = Field(
        default="gate", description="Proposes the plans: gate is gatesearch's own, the others are Optuna's."
    )
    trials: Count = Field(default=40, description="Plans that are trained; the time of a search grows in proportion.")
    proposals: Count = Field(
        default=1000,
        description="Most plans that are proposed and priced; only those whose price keeps the constraints are "
        "trained.",
    )
    epochs: Count = Field(
        default=2,
        description="Epochs of a trial's training, which starts from the baseline's weights; more epochs rank plans "
        "better.",
    )
    compose: bool = Field(
        default=False,
        description="Whether gates that train alone, such as gc with keep 1.0, are trained once, and plans of these "
        "gates are composed of them in place of a training.",
    )
    finalists: Count = Field(
        default=4,
        description="Composed plans that are trained after the search, as a trial is, to compare the order of both.",
    )
    executor: Executor = Field(default=Executor(), description="Where plans are tried, and how many at a time.")
    storage: Annotated[Text, AfterValidator(_check_storage)] = Field(
        default="journal",
        description="Where the study lies: journal in the run folder, sqlite:///FILE or "
        "postgresql://USER@HOST/DATABASE.",
    )
    learning_rate: Positive | None = Field(
        default=None, description="Largest learning rate of a trial's training; null as in training."
    )

    @model_validator(mode="before")
    @classmethod
    def _without_removed_keys(cls, written: Any) -> Any:
        if not isinstance(written, Mapping):
            return written
        for key in find_removed_keys(written):
            raise invalid(f"this key was removed: {REMOVED_SEARCH_KEYS[key]}; delete it", key)
        return {key: value for key, value in written.items() if key not in REMOVED_SEARCH_KEYS}
