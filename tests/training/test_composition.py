"""Tests that a plan composed of heads has the figures of the assembled model with the same heads."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch import frontends
from gatesearch.gates import trained_form
from gatesearch.graph.sites import CutSite, cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.training import GOALS, Classification, Features, GateSettings, Goal, Operation, Schedule, fit, prepare
from gatesearch.training.composition import Heads, HeadsModel
from tests.nets import build
from tests.training.test_detection import Energy, data

RECALLS = (0.8, 0.9, 1.0)


class Setup:
    """A network with trained heads at all of its sites.

    Args:
        network: a trained network in evaluation mode.
        features: the features that train the heads.
        goal: the goal of the network.
    """

    def __init__(self, network: nn.Module, features: Features, goal: Goal) -> None:
        self.network, self.features, self.goal = network, features, goal
        self.sites = cut_sites(network, features.train.features[:1])
        classes = network(features.train.features[:2]).shape[1]
        torch.manual_seed(0)
        self.model = HeadsModel(network, [trained_form(gate(site)) for site in self.sites], self.sites, classes)
        with self.model.unchanged_network():
            schedule = Schedule(epochs=2, batch_size=16, averaging=0.9)
            fit(self.model, features, schedule, GateSettings(independent=True), seed=0, goal=goal)
        self.heads = Heads.record(self.model, features.validation, goal)

    def plans(self) -> st.SearchStrategy[GatePlan]:
        """Return plans of any of the sites, each with any recall."""
        recalls = st.tuples(*(st.sampled_from((None, *RECALLS)) for _ in self.sites))
        return recalls.map(
            lambda drawn: GatePlan(
                tuple(gate(site, recall) for site, recall in zip(self.sites, drawn, strict=True) if recall is not None)
            )
        )

    def assemble(self, plan: GatePlan) -> GatedModel:
        """Return the gated model of a plan, which runs, with the weights of the trained heads."""
        model = GatedModel(self.network, plan, self.sites, self.model.output_shape).eval()
        for placed, module in zip(plan.gates, model.gates, strict=True):
            module.load_state_dict(self.heads.states[self.heads.columns[trained_form(placed)]])
        return model


def gate(site: CutSite, recall: float = 0.9) -> PlacedGate:
    return PlacedGate.of("gc", site.name, mode="channel", keep=1.0, recall=recall)


def clips(features: Features) -> Setup:
    return Setup(build("ds_cnn")[0], features, Classification(features.positive, features.kind_names))


def test_a_composed_plan_equals_the_hard_cascade_of_the_assembled_model(features: Features) -> None:
    setup = clips(features)

    @settings(max_examples=30)
    @given(setup.plans())
    def check(plan: GatePlan) -> None:
        composed, assembled = setup.heads.compose(plan), setup.assemble(plan)
        for model, split in ((composed, setup.heads.validation), (assembled, features.validation)):
            setup.goal.calibrate(model, split, features.positive)
        assert composed.answers.equal(assembled.answers)
        expected = setup.goal.assess(assembled, features.validation)
        assert setup.heads.goal.assess(composed, setup.heads.validation) == expected

    check()


def test_a_composed_plan_equals_the_assembled_model_on_a_stream() -> None:
    bursts = data()
    features = prepare(bursts, frontends.build("identity").fit(bursts.train.inputs), augment=None, renditions=1, seed=0)
    setup = Setup(Energy(), features, GOALS["detection"](features, bursts.classes, 60.0))
    operation = Operation(
        price=lambda parts: sum(part.open_share + 4 * part.openings for part in parts), reference=1.0, max_miss_rise=0.1
    )

    @settings(max_examples=8)
    @given(setup.plans())
    def check(plan: GatePlan) -> None:
        composed, assembled, heads = setup.heads.compose(plan), setup.assemble(plan), setup.heads
        doubts = [
            heads.goal.calibrate(composed, heads.validation, features.positive, operation),
            setup.goal.calibrate(assembled, features.validation, features.positive, operation),
        ]
        assert doubts[0] == doubts[1] and composed.stream == assembled.stream
        assert heads.goal.assess(composed, heads.validation) == setup.goal.assess(assembled, features.validation)

    check()


def test_the_training_of_heads_changes_no_weight_and_no_statistic_of_the_network(features: Features) -> None:
    setup = clips(features)
    plain = GatedModel(setup.network, setup.model.plan, setup.sites, setup.model.output_shape)
    for name, tensor in plain.stages.state_dict().items():
        assert tensor.equal(setup.model.stages.state_dict()[name]), name
    torch.manual_seed(0)
    untrained = HeadsModel(setup.network, setup.model.plan.gates, setup.sites, setup.model.output_shape)
    for before, after in zip(untrained.gates, setup.model.gates, strict=True):
        assert not before.get_parameter("linear.weight").equal(after.get_parameter("linear.weight"))


def test_plans_with_other_gates_are_not_covered(features: Features) -> None:
    heads, site = clips(features).heads, clips(features).sites[0]
    assert heads.covers(GatePlan()) and heads.covers(GatePlan((gate(site, 0.995),)))
    masked = PlacedGate.of("gc", site.name, mode="channel", keep=0.5, recall=0.9)
    assert not heads.covers(GatePlan((masked,)))
