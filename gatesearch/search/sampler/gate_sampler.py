"""GateSampler: an Optuna sampler that knows what gates are.

Generic samplers see names and choices. This one sees plans: it believes something of their quality and of how many
windows their gates let through, from where gates stand and how they are turned; what they cost follows exactly; and it
proposes the plan that is expected to raise the hypervolume most, under the constraints, none twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from gatesearch.plan import GatePlan, Scalar
from gatesearch.search import pareto
from gatesearch.search.pruner import RUNGS, Course, Standing, forecast, read
from gatesearch.search.sampler.ehvi import LogNormal, expected_improvement
from gatesearch.search.sampler.encoding import Features
from gatesearch.search.sampler.initial import starts
from gatesearch.search.sampler.neighbours import Candidates, Gates, cores_of, replay
from gatesearch.search.sampler.pass_rates import Passed
from gatesearch.search.sampler.posterior import Belief, Memory, Tried
from gatesearch.search.space import Space

Array = npt.NDArray[np.float64]
Runs = Callable[[GatePlan], Sequence[Sequence[float]]]
PASSED = "passed"  # user attribute of a trial: for each kind the share of windows that reach stage k, the first being 1
FEWEST = 2  # combinations of gates that were tried, before anything is believed
ROUNDS = 50  # of drawing on, where all that was drawn was tried before
MARGIN = 0.1  # of the believed front's range: how far beyond its ends volume counts where no reference is given
LEAST_RANGE = 0.01  # of a value
NOTHING = 1e-12  # of volume
WHOLE = -1  # in place of the epoch to which a trial was trained that was not given up


class Seen(NamedTuple):
    """A finished trial; ``course`` is what it had come to at the rungs of a pruner, by epoch."""

    plan: GatePlan
    minimised: tuple[float, ...] | None  # error and costs; None where it was not tried
    violations: Mapping[str, float]
    passed: Passed | None
    course: Course


class GateSampler(BaseSampler):
    """Proposes the plans of a space in a study that maximises accuracy and minimises two costs.

    The objective function has to let the space choose, and may tell what the gates let through::

        sampler = GateSampler(space, cost.runs, shares={"positive": 0.1, "silence": 0.9})
        study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)

        def objective(trial):
            plan = space.propose(trial)
            ...
            trial.set_user_attr("passed", {"positive": [1.0, 0.99], "silence": [1.0, 0.02]})
            return accuracy, latency_us, energy_uj

    A trial that a pruner gave up is learned from as well, where it tells its rungs
    (:data:`gatesearch.search.pruner.RUNGS`): it is taken to have gone on as those did that were trained to the end.

    After what it is given to begin with it tries a gentle gate, where that costs least, and more of
    :func:`gatesearch.search.sampler.initial.starts` while nothing keeps the constraints: few plans do where training
    is short and the constraint tight, and those are the likeliest. On made-up tables in which no gates at all break
    it, it so has .55 to .72 of the hypervolume after 10 evaluations (means), and .39 to .49 by drawing the second plan.

    Parameters that are not the space's are drawn at random. Proposals depend on the seed and on the trials so far
    alone, so that a study that was cut off goes on as if it had not been.

    Args:
        space: of plans.
        runs: what the two costs of a plan are made of: first what every window costs, then what one that reaches stage
            k adds, [1 + stages, 2]; infinite where that cannot be. :meth:`gatesearch.cost.model.CostModel.runs`.
        shares: of each kind of window in the stream.
        unknown: for each kind, the share that a gate is taken to let through of which nothing is known.
        reference: error (1 - accuracy) and costs up to which volume counts; None: a little beyond the
            front that is believed in.
        allowed: whether a plan may be proposed at all; ask what cost alone rules out.
        first: gates to begin with, on the cores that cost least.
        seed: of every random choice.
        count: combinations of gates to choose among, each time; each is looked at on all cores.
    """

    def __init__(
        self,
        space: Space,
        runs: Runs,
        *,
        shares: Mapping[str, float] | None = None,
        unknown: Mapping[str, float] | None = None,
        reference: Sequence[float] | None = None,
        allowed: Callable[[GatePlan], bool] = lambda plan: True,
        first: Sequence[Gates] = (),
        seed: int = 0,
        count: int = 100,
    ) -> None:
        self._space, self._runs, self._allowed = space, runs, allowed
        self._reference, self._seed, self._count = reference, seed, count
        self._shares = dict(shares or {"positive": 1.0})
        self._unknown = {kind: 1.0 if kind == "positive" else 0.5 for kind in self._shares} | dict(unknown or {})
        self._first, self._gentle = tuple(first), starts(space)
        self._features, self._candidates, self._memory = Features(space), Candidates(space), Memory()
        self._rest = RandomSampler(seed)
        self._priced: dict[Gates, Array] = {}
        self._cores: dict[int, list[tuple[str, ...]]] = {}
        self._seen: dict[int, Seen] = {}
        self._heard: list[tuple[Seen, Tried | None]] = []
        self._courses: list[Course] = []
        self._chosen: dict[int, dict[str, Scalar]] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return nothing: which parameters there are depends on the plan, which is chosen before."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing; see :meth:`before_trial`."""
        return {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Choose the plan."""
        if len(study.directions) == 3:
            plan = self.propose(study, trial.number)
            self._chosen = {} if plan is None else {trial.number: self._space.named(plan)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return what the chosen plan needs."""
        chosen = self._chosen.get(trial.number, {})
        offered = param_distribution.choices if isinstance(param_distribution, CategoricalDistribution) else ()
        if param_name in chosen and chosen[param_name] in offered:
            return chosen[param_name]
        return self._rest.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Part ways with copies of this sampler in other threads, as far as foreign parameters go."""
        self._rest.reseed_rng()

    def propose(self, study: Study, number: int) -> GatePlan | None:
        """Return the plan that the trial of that number should try; None where all were.

        Args:
            study: with the trials so far; running ones are taken to come out as believed.
            number: of the trial that asks.
        """
        seen, running = self._read(study, number)
        generator = Random(self._seed * 1_000_003 + len(seen) + len(running))
        # What was given up can be trained on.
        barred = {one.plan for one in seen if one.minimised or not one.course} | set(running)
        complete = [one for one in seen if one.minimised is not None]
        tried = self._said(seen)
        belief = Belief(self._features, self._space, tried, self._shares, self._unknown, self._memory)
        gone = {one.plan.gates for one in seen} | {plan.gates for plan in running}
        front = [one.plan.gates for one in _front(complete)]
        offered = [gates for gates in self._first if gates not in gone][:1]
        early = not offered and (belief.combinations < FEWEST or not front)
        gentle = [gates for gates in self._gentle if gates not in gone and self._able(gates)] if early else []
        offered = offered or gentle
        if not offered:
            drawn = self._candidates(self._count, generator, front)
            # What was tried is known on all cores.
            offered = list(dict.fromkeys([*drawn, *(one.gates for one in tried)]))
        for _ in range(ROUNDS):
            index, cores, worth = self._worth(offered, belief, complete, running, ordered=not gentle)
            for i in np.argsort(-worth, kind="stable"):
                plan = GatePlan(offered[index[i]], cores[i])
                if plan not in barred and self._allowed(plan):
                    return plan
            # Where little is left, it is where few gates and good parents do not lead.
            offered, gentle = list(dict.fromkeys(self._candidates.evenly(self._count, generator))), []
        return None

    def _able(self, gates: Gates) -> bool:
        return any(self._allowed(GatePlan(gates, cores)) for cores in self._cores_of(gates))

    def _worth(
        self,
        offered: Sequence[Gates],
        belief: Belief,
        complete: Sequence[Seen],
        running: Sequence[GatePlan],
        ordered: bool,
    ) -> tuple[npt.NDArray[np.intp], list[tuple[str, ...]], Array]:
        """Return the plans that gates make on all cores, by index and cores, and what each is worth, [m].

        Where nothing can be believed yet, those that cost least: of all, or of the gates that come first (``ordered``).
        """
        runs = [self._runs_of(gates) for gates in offered]
        index = np.repeat(np.arange(len(offered)), [len(row) for row in runs])
        cores = [cores for gates in offered for cores in self._cores_of(gates)]
        costs = _expected(np.concatenate(runs), belief.reach(offered)[index])
        if belief.combinations < FEWEST or len(offered) == 1:
            able = np.isfinite(costs.sum(1))
            cheap = (costs / np.maximum(costs.min(0, where=able[:, None], initial=np.inf), NOTHING)).sum(1)
            dear = np.divide(cheap, 1 + cheap, out=np.full(len(cheap), np.inf), where=able)
            return index, cores, -dear - index * ordered
        quality, kept = belief.quality(offered)
        front = [one.minimised for one in _front(complete) if one.minimised]
        for plan in running:
            error = float(np.exp(belief.quality([plan.gates])[0].mean[0]))
            made = self._runs_of(plan.gates)[self._cores_of(plan.gates).index(plan.cores)]
            front.append((error, *_expected(made[None], belief.reach([plan.gates]))[0]))
        can = np.isfinite(costs).all(1)
        likely = can & (kept[index] > 0.5)
        points = np.column_stack([np.exp(quality.mean[index]), costs])[likely if likely.any() else can]
        scale = self._corner(np.vstack([points, *front]))
        believed = LogNormal(quality.mean[index] - np.log(scale[0]), quality.deviation[index])
        scaled = [tuple(np.array(point) / scale) for point in front]
        worth = expected_improvement(believed, costs / scale[1:], scaled, (1.0, 1.0, 1.0)) * kept[index]
        # Where no improvement is to be hoped for, what comes nearest to one.
        hoped = np.column_stack([np.exp(believed.mean - believed.deviation), costs / scale[1:]])
        return index, cores, worth - NOTHING * hoped.max(1)

    def _said(self, seen: Sequence[Seen]) -> list[Tried]:
        """Return what finished trials say, those that were given up by a forecast from the trials before them alone.

        So what a trial says stays the same, whatever comes after it.
        """
        if [id(one) for one in seen[: len(self._heard)]] != [id(heard) for heard, _ in self._heard]:
            self._heard, self._courses = [], []  # one that began earlier has ended since
        for one in seen[len(self._heard) :]:
            self._heard.append((one, _tried(one, self._courses)))
            if one.minimised is not None:
                self._courses.append({**one.course, WHOLE: Standing(one.minimised, one.violations)})
        return [tried for _, tried in self._heard if tried is not None]

    def _corner(self, points: Array) -> Array:
        """Return up to where volume counts, given what was observed and what is believed."""
        if self._reference is not None:
            return np.array(self._reference)
        front = pareto.unbeaten(points)
        worst = front.max(0)
        corner: Array = worst + MARGIN * np.maximum(worst - front.min(0), LEAST_RANGE * np.abs(worst))
        return corner

    def _cores_of(self, gates: Gates) -> list[tuple[str, ...]]:
        stages = sum(gate.kind in self._space.kinds for gate in gates) + 1
        if stages not in self._cores:
            self._cores[stages] = cores_of(self._space, gates)
        return self._cores[stages]

    def _runs_of(self, gates: Gates) -> Array:
        """Return what the costs of the plans of these gates are made of, [cores, 1 + most stages, 2]."""
        if gates not in self._priced:
            every = [np.array(self._runs(GatePlan(gates, cores))) for cores in self._cores_of(gates)]
            found = self._priced[gates] = np.zeros((len(every), self._space.most + 2, 2))
            found[:, : len(every[0])] = every
        return self._priced[gates]

    def _read(self, study: Study, number: int) -> tuple[list[Seen], list[GatePlan]]:
        """Return the finished trials, and the plans of those that are running."""
        running = []
        for trial in study.get_trials(deepcopy=False):
            if trial.number in self._seen or trial.number == number:
                continue
            # None where the trial is not of this space, or has not chosen yet.
            plan = replay(self._space, trial.params)
            if plan is None:
                continue
            if trial.state == TrialState.RUNNING:
                running.append(plan)
            elif trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                minimised = (1.0 - trial.values[0], *trial.values[1:]) if trial.values else None
                course = read(trial.user_attrs.get(RUNGS, {}))
                passed = trial.user_attrs.get(PASSED)
                self._seen[trial.number] = Seen(plan, minimised, trial.constraints, passed, course)
        return [self._seen[key] for key in sorted(self._seen)], running


def _expected(runs: Array, reach: Array) -> Array:
    """Return the expected costs [m, 2] of runs [m, 1 + stages, 2] of which these shares of the stream reach a stage."""
    with np.errstate(invalid="ignore"):  # nobody reaches what cannot be: infinite all the same
        costs: Array = runs[:, 0] + np.nan_to_num(reach[:, :, None] * runs[:, 1:], nan=np.inf, posinf=np.inf).sum(1)
    return costs


def _front(seen: Sequence[Seen]) -> list[Seen]:
    feasible = [one for one in seen if one.minimised and all(over <= 0 for over in one.violations.values())]
    kept = pareto.front([one.minimised for one in feasible if one.minimised])
    return [feasible[i] for i in kept]


def _tried(one: Seen, before: Sequence[Course]) -> Tried | None:
    """Return what a finished trial says, given whole trainings before it; None where nothing can be said of its end."""
    if one.minimised is not None:
        return Tried(one.plan.gates, one.minimised[0], one.violations, one.passed)
    at = max(one.course, default=0)
    found = forecast(at, WHOLE, one.course[at], before) if at else None
    if found is None:
        return None
    return Tried(one.plan.gates, found.standing.minimised[0], found.standing.violations, one.passed, found.deviation)
