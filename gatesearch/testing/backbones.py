"""The conformance suite of backbones: tests of the promises that a backbone has to keep.

Derive a class in your own tests. pytest runs the tests that the class inherits. Each failure says which promise is
broken:

    class TestMyNet(BackboneConformance):
        input_shape = (1, 49, 10)
        outputs = 12

        def build(self):
            return MyNet(num_classes=12)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gatesearch.graph.sites import INPUT, cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.testing._suite import fixed_torch_seed, run_suite

SAMPLES = 4


class BackboneConformance:
    """Tests that a backbone can be cut at each of its sites, and that samples of a batch do not affect each other.

    Attributes:
        input_shape: the shape of one sample.
        outputs: shape of the output for one sample, or the number of classes.
    """

    input_shape: Sequence[int]
    outputs: int | Sequence[int]

    def build(self) -> nn.Module:
        """Return a new model at each call."""
        raise NotImplementedError

    def example(self) -> Tensor:
        """Return inputs [N, *input_shape] with N at least 2."""
        return torch.randn(SAMPLES, *self.input_shape)

    def test_models_share_no_parameters(self) -> None:
        """Each call of ``build`` returns a model of its own."""
        with fixed_torch_seed():
            model, twin = self.build(), self.build()
        own = {id(parameter) for parameter in model.parameters()}
        shared = any(id(parameter) in own for parameter in twin.parameters())
        assert not shared, "two models of the factory share parameters"

    def test_tracing_leaves_the_model_as_it_is(self) -> None:
        """The search for cut sites does not change the model, and finds at least one site besides the input."""
        with fixed_torch_seed():
            model = self.build()
            before, training = copy.deepcopy(model.state_dict()), model.training
            sites = cut_sites(model, self.example())
        assert _same_state(model, before) and model.training is training, "tracing changed the model"
        assert any(site.name != INPUT for site in sites), "the model offers no cut site but its input"

    @torch.no_grad()
    def test_takes_any_batch_size(self) -> None:
        """A sample's logits have the right shape and do not depend on the batch size."""
        with fixed_torch_seed():
            model, example = self.build().eval(), self.example()
            logits = model(example)
            alone = torch.cat([model(sample) for sample in example.split(1)])
        self._check_shape(logits, len(example))
        assert torch.allclose(alone, logits, atol=1e-4), "a sample's logits depend on the rest of its batch"

    @torch.no_grad()
    def test_evaluation_is_deterministic(self) -> None:
        """Equal inputs have equal logits, and evaluation changes neither the model nor the input."""
        with fixed_torch_seed():
            model, example = self.build().eval(), self.example()
            before, untouched = copy.deepcopy(model.state_dict()), example.clone()
            first, second = model(example), model(example)
        assert torch.equal(first, second), "evaluation gives two answers for one input"
        assert _same_state(model, before), "evaluation changes the state of the model"
        assert torch.equal(example, untouched), "the model changes its input in place"

    @torch.no_grad()
    def test_state_dict_holds_the_whole_state(self) -> None:
        """A second model with the same state computes the same logits."""
        with fixed_torch_seed():
            model, twin, example = self.build().eval(), self.build().eval(), self.example()
            twin.load_state_dict(model.state_dict())
            same = torch.equal(twin(example), model(example))
        assert same, "state_dict() does not hold all of the model's state"

    def test_gradients_are_finite(self) -> None:
        """A step of training has finite gradients."""
        with fixed_torch_seed():
            model = self.build().train()
            model(self.example()).square().mean().backward()
        for name, parameter in model.named_parameters():
            finite = parameter.grad is None or bool(torch.isfinite(parameter.grad).all())
            assert finite, f"the gradient of {name} is not finite"

    @torch.no_grad()
    def test_a_gate_that_stops_nothing_changes_nothing(self) -> None:
        """With an open gate at any cut site, the logits stay equal bit for bit."""
        with fixed_torch_seed():
            model, example = self.build(), self.example()
            sites = cut_sites(model, example)
            logits = model.eval()(example)
            self._check_shape(logits, len(example))
            for site in sites:
                plan = GatePlan((PlacedGate.of("gc", site.name, keep=1.0),))
                gated = GatedModel(model, plan, sites, self.outputs).eval()
                assert torch.equal(gated(example).logits, logits), f"cut at {site.name!r} the logits change"
                assert torch.equal(gated.cascade(example).logits, logits), f"the cascade at {site.name!r} changes them"

    def _check_shape(self, logits: Tensor, samples: int) -> None:
        outputs = (self.outputs,) if isinstance(self.outputs, int) else tuple(self.outputs)
        shape = (samples, *outputs)
        assert tuple(logits.shape) == shape, f"logits have shape {tuple(logits.shape)}, not {shape}"


def check_backbone(factory: Callable[[], nn.Module], example: Tensor, outputs: int | Sequence[int]) -> None:
    """Run all tests on one backbone, for code that checks many backbones in a loop.

    Args:
        factory: function that builds a new model at each call.
        example: inputs [N, *shape] with N at least 2.
        outputs: shape of the model's output for one sample, or the number of classes.

    Raises:
        AssertionError: a promise is broken; the message says which.
        gatesearch.errors.UserError: the model cannot be traced, or takes or returns more than one tensor.

    >>> check_backbone(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 4), 3)
    """
    suite = BackboneConformance()
    suite.outputs = outputs
    suite.build = factory  # type: ignore[method-assign]
    suite.example = example.clone  # type: ignore[method-assign]
    run_suite(suite)


def _same_state(model: nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(state[name], value) for name, value in model.state_dict().items())
