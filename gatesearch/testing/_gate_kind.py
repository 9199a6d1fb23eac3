"""The conformance tests for every gate kind, at cut sites and at layer sites."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatesearch.compile import tflite
from gatesearch.errors import first_line
from gatesearch.gates import GateError, GateKind, GateParams
from gatesearch.graph.sites import CutSite, LayerSite, Site
from gatesearch.plan import Scalar
from gatesearch.runtime.program import Program
from gatesearch.testing._suite import fixed_torch_seed

SAMPLES = 32
PROGRAM_SAMPLES = 4  # number of samples that a .tflite program runs
# Largest mean error of a program, as a share of the largest output. Single errors have no bound, because rounding may
# change single decisions at a threshold.
PROGRAM_TOLERANCE = 0.01


class GateConformance:
    """Tests the promises of :class:`gatesearch.gates.GateKind`; :mod:`gatesearch.testing.gates` shows its use.

    Attributes:
        kind: an instance of the gate kind.
        site: the site of the gates that the tests build.
        params: parameters of these gates, as in a plan; other parameters have their defaults.
    """

    kind: GateKind[Any, Any]
    site: Site
    params: Mapping[str, Scalar] = {}

    def layer(self) -> nn.Module | None:
        """Return the layer that a gate at the site replaces, with ``batch_first`` for an LSTM; None at a cut site."""
        return None

    def norm(self) -> nn.BatchNorm2d | None:
        """Return the trained batch normalisation behind the layer; None if there is none."""
        return None

    def build(self, **changes: Scalar) -> Any:
        """Return a gate with the suite's parameters and some changes of them."""
        return self.kind.build(self.site, self.read(**changes), self.layer(), self.norm())

    def read(self, **changes: Scalar) -> GateParams:
        """Return the suite's parameters with some changes, after the kind has checked them."""
        params = self.kind.Params.read({**self.params, **changes})
        self.kind.check(self.site, params)
        return params

    def test_kind_is_complete(self) -> None:
        """The kind has a name, parameters and a type of site, and fits the suite's site."""
        kind = self.kind
        assert isinstance(kind, GateKind), f"{type(kind).__name__} is not derived from GateKind"
        assert isinstance(kind.name, str) and kind.name, "name must be a text"
        assert issubclass(kind.Params, GateParams), "Params must be derived from GateParams"
        assert kind.site_type in (CutSite, LayerSite), "site_type must be CutSite or LayerSite"
        assert isinstance(self.site, kind.site_type), f"the site is no {kind.site_type.__name__}"
        assert kind.fits(self.site), f"fits() refuses site {self.site.name!r}"

    def test_parameters_are_described(self) -> None:
        """Every field is declared by ``param()``; its default and its choices are valid values, and JSON."""
        for name, rule in self.kind.Params.fields().items():
            assert rule.doc, f"{name} has no doc"
            for value in (rule.default, *rule.choices):
                rule.check(name, value)
                assert json.loads(json.dumps(value)) == value, f"{name}: {value!r} is not JSON"

    def test_choices_are_parameters(self) -> None:
        """Every combination of the choices at the site is valid, and every choice can be built."""
        choices, parameters = self.kind.choices(self.site), self.kind.Params.fields()
        for name, values in choices.items():
            assert name in parameters, f"choices() names {name!r}, which is no parameter"
            assert values, f"choices(): {name} has no choice"
        for values in product(*choices.values()):
            self.read(**dict(zip(choices, values, strict=True)))
        with fixed_torch_seed():
            for name, values in choices.items():
                for value in values:
                    self.build(**{name: value})

    def test_unknown_parameter_is_refused(self) -> None:
        """An unknown parameter raises an error of one line."""
        try:
            self.read(no_such_parameter=1)
        except GateError as error:
            assert "\n" not in str(error), "an error for the user must be one line"
        else:
            raise AssertionError("Params.read() accepts a parameter that does not exist")

    def test_state_is_whole(self) -> None:
        """A gate that loads the state of another gate with the same parameters computes the same outputs."""
        with self.trained() as (gate, inputs):
            file, twin = io.BytesIO(), self.build()
            torch.save(gate.state_dict(), file)
            file.seek(0)
            twin.load_state_dict(torch.load(file, weights_only=True))
            same = torch.equal(self.output(twin.eval(), inputs), self.output(gate, inputs))
            assert same, "state_dict() does not hold all of the gate's state"

    def test_tunable_parameters_need_no_training(self) -> None:
        """A trained gate computes the same with another value of a parameter that is tunable after training."""
        for name, rule in self.kind.Params.fields().items():
            for value in self.kind.choices(self.site).get(name, ()) if rule.tunable_after_training else ():
                with self.trained() as (gate, inputs):
                    other = self.build(**{name: value})
                    other.load_state_dict(gate.state_dict())
                    same = torch.equal(self.output(other.eval(), inputs), self.output(gate, inputs))
                    assert same, f"{name} is tunable after training, yet {value!r} changes what the gate does"

    def test_control_parameters_are_the_gates_own_and_listed_once(self) -> None:
        """``control_parameters()`` yields parameters of the gate, each once."""
        with fixed_torch_seed():
            gate = self.build()
        own, steering = {id(p) for p in gate.parameters()}, [id(p) for p in gate.control_parameters()]
        assert own >= set(steering), "control_parameters() yields an object that is no parameter of the gate"
        assert len(set(steering)) == len(steering), "control_parameters() yields a parameter twice"

    def trained(self) -> AbstractContextManager[tuple[Any, Tensor]]:
        """Yield a gate after a few training steps, in evaluation mode, and inputs for it, [N, ...]."""
        raise NotImplementedError

    def output(self, gate: Any, inputs: Tensor) -> Tensor:
        """Return the outputs of a gate as one tensor [N, ...]."""
        raise NotImplementedError


def check_gradients(module: nn.Module, leaf: Tensor) -> None:
    """Check that gradients are finite and reach ``leaf``, the activations that enter the gate."""
    for name, parameter in [("the activations", leaf), *module.named_parameters()]:
        finite = parameter.grad is None or bool(torch.isfinite(parameter.grad).all())
        assert finite, f"the gradient of {name} is not finite"
    assert leaf.grad is not None, "no gradient flows back to the layers before the gate"


def check_export(module: nn.Module, inputs: Tensor, what: str) -> None:
    """Check that ``torch.export`` accepts a module, and that the module's .tflite program computes the same in LiteRT.

    Args:
        module: the module that a bundle would contain.
        inputs: samples [n, ...].
        what: name of the module in messages.
    """
    try:
        torch.export.export(module.eval(), (inputs[:1],))
        if find_spec("litert_torch") is None:  # without the extra "export"
            return
        program = Program(tflite.convert(module, inputs[:1]))
        results = [
            program(tflite.channel_last(x.numpy()).astype(np.float32)) for x in inputs[:PROGRAM_SAMPLES].split(1)
        ]
    except Exception as error:
        line = first_line(error)
        raise AssertionError(f"{what} cannot be exported: {line}") from error
    with torch.no_grad():
        returned = module(inputs[:PROGRAM_SAMPLES])
    tensors = [
        value for value in (returned if isinstance(returned, tuple) else (returned,)) if isinstance(value, Tensor)
    ]
    for i, expected in enumerate(tensors):
        actual = torch.cat([torch.from_numpy(tflite.channel_first(result[i])) for result in results])
        scale = max(1.0, float(expected.abs().max()))
        same = actual.shape == expected.shape and float((actual - expected).abs().mean()) <= PROGRAM_TOLERANCE * scale
        assert same, f"{what} computes something else as a .tflite"
