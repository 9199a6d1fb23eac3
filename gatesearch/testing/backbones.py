"""The conformance check of backbones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gatesearch.graph.sites import INPUT, cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.testing._gate_kind import seeded


def check_backbone(factory: Callable[[], nn.Module], example: Tensor, outputs: int | Sequence[int]) -> None:
    """Check that a backbone can be cut at each of its sites.

    Args:
        factory: builds the model anew at each call.
        example: inputs [N, *shape], N at least 2.
        outputs: shape of the model's output for one sample; a number stands for so many classes.

    Raises:
        AssertionError: a promise is broken; the message says which.
        gatesearch.errors.UserError: the model cannot be traced, or takes or returns more than one tensor.

    >>> check_backbone(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 4), 3)
    """
    with seeded():
        model, twin = factory(), factory()
        own = {id(p) for p in model.parameters()}
        assert not any(id(p) in own for p in twin.parameters()), "two models of the factory share parameters"
        before, training = copy.deepcopy(model.state_dict()), model.training
        sites = cut_sites(model, example)
        unchanged = all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert unchanged and model.training is training, "tracing changed the model"
        assert any(site.name != INPUT for site in sites), "the model offers no cut site but its input"
        model.eval()
        with torch.no_grad():
            logits = model(example)
            shape = (len(example), *((outputs,) if isinstance(outputs, int) else outputs))
            assert tuple(logits.shape) == shape, f"logits have shape {tuple(logits.shape)}, not {shape}"
            alone = torch.cat([model(sample) for sample in example.split(1)])
            assert torch.allclose(alone, logits, atol=1e-4), "a sample's logits depend on the rest of its batch"
            for site in sites:
                plan = GatePlan((PlacedGate.of("gc", site.name, keep=1.0),))
                gated = GatedModel(model, plan, sites, outputs).eval()
                assert torch.equal(gated(example).logits, logits), f"cut at {site.name!r} the logits change"
                assert torch.equal(gated.cascade(example).logits, logits), f"the cascade at {site.name!r} changes them"
