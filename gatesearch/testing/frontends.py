"""The conformance suite of front ends: tests of the promises that a front end has to keep.

Derive a class in your own tests. pytest runs the tests that the class inherits. Each failure says which promise is
broken:

    class TestMyFeatures(FrontendConformance):
        name = "my_package.features:MyFeatures"
        arguments = {"bands": 8}

        def inputs(self):
            return torch.randn(20, 16000)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatesearch.frontends import Frontend, build, restore
from gatesearch.frontends.feature_steps import compute_features
from gatesearch.testing._suite import fixed_torch_seed


class FrontendConformance:
    """Tests the promises of :class:`gatesearch.frontends.Frontend`.

    Attributes:
        name: an entry point of the group ``gatesearch.frontends``, or ``package.module:Name``.
        arguments: the arguments of the front end's constructor.
        tolerance: largest difference of features between batch sizes. A front end that rounds features needs one step
            of its rounding.
    """

    name: str
    arguments: Mapping[str, Any] = {}
    tolerance: float = 1e-4

    def inputs(self) -> Tensor:
        """Return training samples [N, *input_shape] with N at least 2."""
        raise NotImplementedError

    def fit(self) -> tuple[Frontend, Tensor]:
        """Return a fitted front end and the samples on which it was fitted."""
        with fixed_torch_seed():
            inputs = self.inputs()
            return build(self.name, **self.arguments).fit(inputs), inputs

    def test_fit_returns_the_front_end_and_leaves_samples_as_they_are(self) -> None:
        """``fit`` returns its front end, sets ``input_shape`` and changes no sample."""
        with fixed_torch_seed():
            inputs = self.inputs()
            untouched, frontend = inputs.clone(), build(self.name, **self.arguments)
            fitted = frontend.fit(inputs)
        assert fitted is frontend, "fit() must return the front end"
        assert torch.equal(inputs, untouched), "fit() changes its samples in place"
        shape = tuple(inputs.shape[1:])
        assert tuple(frontend.input_shape) == shape, f"input_shape is {frontend.input_shape}, the samples have {shape}"

    def test_features_have_the_output_shape_and_range(self) -> None:
        """Features are finite floats with the declared shape, within the declared range."""
        frontend, inputs = self.fit()
        features = frontend(inputs)
        shape = (len(inputs), *frontend.output_shape)
        assert tuple(features.shape) == shape, f"features have shape {tuple(features.shape)}, not {shape}"
        assert features.is_floating_point(), f"features are {features.dtype}, not float"
        assert bool(features.isfinite().all()), "features are not finite"
        if frontend.output_range is not None:
            lowest, highest = frontend.output_range
            inside = lowest <= float(features.min()) and float(features.max()) <= highest
            assert inside, f"features leave the output range {frontend.output_range}"

    def test_features_depend_on_their_own_sample_alone(self) -> None:
        """A sample's features do not depend on the batch, and are the same at each call."""
        frontend, inputs = self.fit()
        together = frontend(inputs)
        assert torch.equal(frontend(inputs), together), "one input gives two answers"
        alone = torch.cat([frontend(sample) for sample in inputs.split(1)])
        same = torch.allclose(alone, together, rtol=0, atol=self.tolerance)
        assert same, "a sample's features depend on the rest of its batch"

    def test_a_description_restores_it_bit_for_bit(self) -> None:
        """``describe`` returns JSON-ready values from which ``restore`` rebuilds the same front end."""
        frontend, inputs = self.fit()
        description = frontend.describe()
        text = json.dumps(description)
        twin = restore(json.loads(text), trust=True)
        assert type(twin) is type(frontend), f"the description restores a {type(twin).__name__}"
        assert torch.equal(twin(inputs), frontend(inputs)), "the description does not restore the same features"
        assert json.dumps(twin.describe()) == text, "the description of a restored front end differs"

    def test_described_steps_compute_the_features(self) -> None:
        """The ``steps`` of :meth:`Frontend.describe` compute the features with NumPy, within rounding errors."""
        frontend, inputs = self.fit()
        description = frontend.describe()
        if description["steps"] is None:
            return  # the front end does not describe its steps
        for sample, expected in zip(inputs[:4], frontend(inputs[:4]), strict=True):
            error = np.abs(compute_features(description, sample.numpy()) - expected.numpy())
            step = max((each.get("step", 0.0) for each in description["steps"]), default=0.0)
            close = error <= 1e-4 * (1 + expected.abs().numpy())
            assert bool((close | (error <= step)).all()), "the described steps compute other features"
            assert close.mean() > 0.99, "the described steps compute other features"

    def test_macs_are_a_count(self) -> None:
        """``macs`` returns the number of multiply-accumulates, an integer; ``describe`` has the same number."""
        frontend, _ = self.fit()
        macs = frontend.macs()
        assert isinstance(macs, int) and macs >= 0, f"macs() is {macs!r}, not a count"
        assert frontend.describe()["macs"] == macs, "describe() and macs() give different MACs"
