"""Tests of GateSampler in Optuna studies: its proposals, also in resumed studies and in threads."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase
from optuna.trial import TrialState

from gatesearch.errors import UserError
from gatesearch.graph.sites import LayerSite
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.search.sampler.gate_sampler import GateSampler
from gatesearch.search.sampler.initial import simplest_gates
from tests.search.small_spaces import small

DEPTH = {"input": 0.0, "stem": 1 / 3, "block": 2 / 3}
REFERENCE = (0.5, 1.2, 1.2)


def passed(plan: GatePlan) -> dict[str, list[float]]:
    """Return, for each kind of window, the share that reaches each stage.

    Deeper gates stop more noise. No gate stops a positive.
    """
    noise = [1.0]
    for gate in plan.gates:
        noise.append(noise[-1] * (0.9 - 0.6 * DEPTH[gate.site]))
    return {"positive": [1.0] * len(noise), "noise": noise}


SHARES = {"positive": 0.0, "noise": 1.0}


def runs(plan: GatePlan) -> list[tuple[float, float]]:
    """Return pairs (latency, energy): first the costs that every window has, then the costs that each stage adds.

    Every window takes a latency of one third for each stage. A stage takes energy only for windows that reach it.
    """
    weights = {"mcu": 0.3, "npu": 1.0}
    return [(len(plan.cores) / 3, 0.0), *((0.0, weights[core] / 3) for core in plan.cores)]


def price(plan: GatePlan, shares: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    every, *stages = runs(plan)
    return every[0], sum(stage[1] * share for stage, share in zip(stages, shares["noise"], strict=True))


def accuracy(plan: GatePlan) -> float:
    return 0.9 - sum(0.3 * (1 - gate["keep"]) * (1 - DEPTH[gate.site]) for gate in plan.gates)


def sampler(seed: int = 0, **changes: object) -> GateSampler:
    arguments = {"shares": SHARES, "seed": seed, "candidates": 60, **changes}
    return GateSampler(small(), runs, **arguments)  # type: ignore[arg-type]


def run_study(own: GateSampler, trials: int, study: optuna.Study | None = None, least: float = 0.75) -> optuna.Study:
    """Run trials of a study with a sampler, and return the study; ``least`` is the least feasible accuracy."""
    study = study or optuna.create_study(directions=["maximize", "minimize", "minimize"])
    study.sampler = own
    space = small()

    def objective(trial: optuna.Trial) -> tuple[float, float, float]:
        plan = space.propose(trial)
        shares = passed(plan)
        trial.set_user_attr("passed", shares)
        trial.set_user_attr("plan", plan.to_json())
        trial.set_constraint("accuracy", least - accuracy(plan))
        return accuracy(plan), *price(plan, shares)

    study.optimize(objective, n_trials=trials)
    return study


def plans(study: optuna.Study) -> list[str]:
    return [trial.user_attrs["plan"] for trial in study.trials]


class TestOptunaBasics(BasicSamplerTestCase):
    """Optuna's conformance suite, with parameters that do not belong to the search space."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return sampler


class TestOptunaMultiObjective(MultiObjectiveSamplerTestCase):
    """Optuna's conformance suite for several objectives, with parameters that do not belong to the search space."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return sampler


def test_no_plan_is_repeated_before_all_were_proposed():
    own = sampler()
    everything = len(small())
    result = plans(run_study(own, everything))
    assert len(set(result)) == everything


def test_the_same_seed_and_trials_give_the_same_proposal_in_a_resumed_study():
    whole = plans(run_study(sampler(3), 20))
    study = run_study(sampler(3), 9)
    cut_off = study.ask()
    study.tell(cut_off, state=TrialState.FAIL)
    resumed = run_study(sampler(3), 11, study)
    assert [
        p for t, p in zip(resumed.trials, [t.user_attrs.get("plan") for t in resumed.trials], strict=True) if p
    ] == whole
    assert plans(run_study(sampler(4), 20)) != whole


def test_gate_sampler_finds_the_best_plans_sooner_than_random_search():
    def volume(study: optuna.Study) -> float:
        from gatesearch.search import pareto

        points = [(1 - t.values[0], t.values[1], t.values[2]) for t in study.trials if t.values and t.values[0] >= 0.75]
        return pareto.hypervolume([points[i] for i in pareto.front(points)], REFERENCE)

    best = volume(run_study(sampler(), len(small())))
    guided = [volume(run_study(sampler(seed), 14)) for seed in range(5)]
    chance = [volume(run_random_study(seed, 14)) for seed in range(5)]
    assert sum(guided) > sum(chance)
    assert sorted(guided)[2] > 0.95 * best


def run_random_study(seed: int, trials: int) -> optuna.Study:
    return run_study(optuna.samplers.RandomSampler(seed), trials)  # type: ignore[arg-type]


def test_parallel_workers_propose_different_plans():
    study = run_study(sampler(), 8)
    space = small()
    proposed = []
    for seed in range(6):  # each worker has a sampler of its own
        study.sampler = sampler(seed)
        proposed.append(space.propose(study.ask()))
    assert len(set(proposed)) == 6


def test_plans_that_their_cost_rules_out_are_not_proposed():
    study = run_study(sampler(allowed=lambda plan: "npu" not in plan.cores), 12)
    assert not any("npu" in GatePlan.from_json(plan).cores for plan in plans(study))


def test_trials_of_another_space_are_ignored():
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    study.optimize(lambda t: (t.suggest_float("x", 0, 1), 1.0, 1.0), n_trials=6)
    assert len(run_study(sampler(), 5, study).trials) == 11


def test_the_first_plans_use_the_cheapest_cores():
    initial = [(), (PlacedGate.of("gc", "block", mode="channel", keep=1.0, recall=0.99),)]
    result = [GatePlan.from_json(plan) for plan in plans(run_study(sampler(initial=initial), 3))]
    assert result[0] == GatePlan((), ("mcu",)) and result[1].gates == initial[1]
    assert result[2].gates not in initial


def test_gentle_gates_are_proposed_first_and_as_long_as_no_plan_is_feasible():
    gentle = simplest_gates(small())
    second = GatePlan.from_json(plans(run_study(sampler(initial=[()]), 2))[1])
    assert second.gates in gentle[1:]
    result = [GatePlan.from_json(plan).gates for plan in plans(run_study(sampler(), len(gentle), least=1.0))]
    assert set(result) == set(gentle)
    proposed = [GatePlan.from_json(plan).gates for plan in plans(run_study(sampler(), len(gentle)))]
    assert set(proposed) != set(gentle)  # once a plan is feasible, the sampler proposes by its predictions
    mcu = sampler(initial=[()], allowed=lambda plan: "block" not in {gate.site for gate in plan.gates})
    assert "block" not in str(plans(run_study(mcu, 8, least=1.0)))


def test_if_cores_trade_latency_for_energy_gates_are_tried_on_several():
    def traded(plan: GatePlan) -> list[tuple[float, float]]:
        return [(0.0, 0.0), *((1 / 3, 0.1) if core == "mcu" else (1 / 9, 1 / 3) for core in plan.cores)]

    own, space = GateSampler(small(), traded, shares=SHARES), small()
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=own)

    def objective(trial: optuna.Trial) -> tuple[float, float, float]:
        plan = space.propose(trial)
        shares = passed(plan)
        trial.set_user_attr("passed", shares)
        reach = [1.0, *shares["noise"]]
        costs = [sum(r * run[c] for r, run in zip(reach, traded(plan), strict=True)) for c in (0, 1)]
        return accuracy(plan), costs[0], costs[1]

    study.optimize(objective, n_trials=20)
    best = [space.propose(optuna.trial.FixedTrial(trial.params)) for trial in study.best_trials]
    assert len({plan.gates for plan in best}) < len(best)


def test_a_plan_that_cannot_be_priced_is_not_proposed():
    def impossible_costs(plan: GatePlan) -> list[tuple[float, float]]:
        return [(np.inf, np.inf)] * (len(plan.cores) + 1) if "npu" in plan.cores else runs(plan)

    own = GateSampler(small(), impossible_costs, shares=SHARES)
    result = [GatePlan.from_json(plan) for plan in plans(run_study(own, 15))]
    assert not any("npu" in plan.cores for plan in result)


def test_the_surrogate_covers_layer_gates():
    layers = tuple(LayerSite(name, "conv2d", (8, 8, 8), (8, 8, 8), 36864, 9) for name in ("a", "b", "c"))
    kinds = {"pg": {"bits": [8], "high_bits": [2, 4], "mask": ["3d"], "target": [0.0]}}
    space = small(kinds=kinds, max_gates=0, layer_sites=layers, cores=("mcu",))

    def error(plan: GatePlan) -> float:
        return 0.1 + sum(0.1 * (gate["high_bits"] == 2) for gate in plan.gates if gate.site == "a")

    def cost(plan: GatePlan) -> tuple[float, float]:
        remaining = 3 - sum(0.3 if gate["high_bits"] == 4 else 0.6 for gate in plan.gates)
        return remaining, remaining

    study = optuna.create_study(
        directions=["maximize", "minimize", "minimize"],
        sampler=GateSampler(space, lambda plan: [cost(plan), (0.0, 0.0)], reference=(0.5, 3.1, 3.1)),
    )

    def objective(trial: optuna.Trial) -> tuple[float, float, float]:
        plan = space.propose(trial)
        return 1 - error(plan), *cost(plan)

    study.optimize(objective, n_trials=16)  # the space has 27 plans
    assert min(t.values[1] for t in study.trials) == pytest.approx(1.2)


def distinct_plans(study: optuna.Study) -> int:
    return len({small().read(trial.params) for trial in study.trials})


def test_a_batch_of_proposals_has_no_duplicates():
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler())
    batch = [study.ask() for _ in range(12)]  # no trial has asked for its parameters yet
    proposed = [small().propose(trial) for trial in batch]
    assert len(set(proposed)) == 12


class Draws(optuna.samplers.RandomSampler):
    """A random sampler that records the names of the parameters that it draws."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.names: list[str] = []

    def sample_independent(self, study, trial, param_name, param_distribution):
        self.names.append(param_name)
        return super().sample_independent(study, trial, param_name, param_distribution)


def watched_sampler(**changes: object) -> tuple[GateSampler, list[str]]:
    """Return a sampler, and a list that grows by the name of each parameter that the sampler draws at random."""
    own, draws = sampler(**{"candidates": 30, **changes}), Draws()  # type: ignore[arg-type]
    own._random = draws
    return own, draws.names


def test_threads_propose_different_plans_and_draw_none_at_random():
    space, (own, drawn) = small(), watched_sampler()
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=own)

    def objective(trial: optuna.Trial) -> tuple[float, float, float]:
        time.sleep(0.01)  # another thread starts its trial before this one proposes
        plan = space.propose(trial)
        time.sleep(0.01)
        return accuracy(plan), *price(plan, passed(plan))

    study.optimize(objective, n_trials=20, n_jobs=4)
    assert not drawn and distinct_plans(study) == 20


def test_a_pickled_sampler_makes_the_same_proposals():
    own = GateSampler(small(), runs, shares=SHARES, seed=5)
    study = run_study(own, 6)
    copy = pickle.loads(pickle.dumps(own))
    assert copy.propose(study, 6) == own.propose(study, 6)


@pytest.mark.parametrize("directions", [["minimize"], ["minimize"] * 3, ["maximize", "minimize"]])
def test_other_directions_are_refused_where_plans_are_proposed(directions: list[str]):
    study = optuna.create_study(directions=directions, sampler=sampler())
    line = (
        rf"^GateSampler: the study's directions are \[{', '.join(directions)}\]; plans are searched with "
        r"\[maximize, minimize, minimize\]: accuracy, then two costs$"
    )
    with pytest.raises(UserError, match=line):
        small().propose(study.ask())
    assert study.ask().suggest_float("learning_rate", 0.0, 1.0) <= 1.0


def test_one_sampler_serves_two_studies():
    own = sampler(3)
    first = plans(run_study(own, 8))
    assert plans(run_study(own, 8)) == first
