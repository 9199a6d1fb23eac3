"""Tests that layers with hybrid (HMD), low-rank or pruned matrices equal dense layers with them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gatesearch.errors import UserError
from gatesearch.gates import build_gate, fits, kind_of, kinds, work_of
from gatesearch.gates.cells import cells
from gatesearch.gates.factored import FactoredRNN, replace_layer
from gatesearch.gates.matrices import Factors
from gatesearch.graph.operators import recurrent_macs
from gatesearch.graph.sites import CutSite, LayerSite, layer_sites
from gatesearch.plan import PlacedGate
from tests.testing.gate_suites import check_gate

T, F, H = 7, 12, 40
LAYERS: dict[str, Callable[[], nn.RNNBase]] = {
    "lstm": lambda: nn.LSTM(F, H, batch_first=True),
    "gru": lambda: nn.GRU(F, H, batch_first=True),
    "lstm both ways": lambda: nn.LSTM(F, H, batch_first=True, bidirectional=True),
    "deep gru both ways": lambda: nn.GRU(F, H, num_layers=2, batch_first=True, bidirectional=True),
    "lstm without biases": lambda: nn.LSTM(F, H, batch_first=True, bias=False),
}
KINDS = ("hmd", "lmf", "pruned")


class Output(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.rnn(x)
        return output


def placed(name: str, kind: str, **params: object) -> tuple[nn.RNNBase, LayerSite, FactoredRNN]:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    [site] = layer_sites(Output(layer), torch.zeros(1, T, F))
    gate = build_gate(site, PlacedGate.of(kind, "rnn", **params), layer)
    assert isinstance(gate, FactoredRNN)
    return layer, site, gate.eval()


def test_the_kinds_are_installed():
    assert set(KINDS) <= set(kinds())


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_kinds_conform(name, kind):
    layer, site, _ = placed(name, kind)
    check_gate(kind_of(kind), site, layer, factor=2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_kinds_conform_in_the_place_of_a_linear_layer(kind):
    layer = nn.Linear(30, 40)
    site = LayerSite("0", "linear", (30,), (40,), 1200, 1240)
    check_gate(kind_of(kind), site, layer, factor=3)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("kind", KINDS)
def test_both_forms_equal_the_dense_layer_with_those_matrices(name, kind):
    _, _, gate = placed(name, kind, factor=3)
    rebuilt = LAYERS[name]()
    weights = [w for number in range(len(gate.cells)) for w in gate._dense(number)]
    with torch.no_grad():
        for parameter, value in zip(rebuilt.parameters(), weights, strict=True):
            parameter.copy_(value)
    x = torch.randn(3, T, F)
    expected, state = rebuilt(x)
    for result, end in (gate(x), gate.factored(x)):
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)
        for ours, theirs in zip(*((s,) if isinstance(s, Tensor) else s for s in (end, state)), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["lstm", "deep gru both ways"])
def test_a_recurrent_layer_continues_from_a_state(name):
    _, _, gate = placed(name, "hmd")
    x = torch.randn(2, T, F)
    whole, _ = gate(x)
    for run in (gate, gate.factored):
        _, state = run(x[:, :4])
        rest, _ = run(x[:, 4:], state)
        ahead = slice(0, H)
        if gate.directions == 1:  # a layer that reads backwards in time cannot continue
            torch.testing.assert_close(rest[..., ahead], whole[:, 4:, ahead], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(gate(x, state)[0], gate.factored(x, state)[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_every_matrix_has_the_same_rich_rows_and_the_parameters_that_the_work_says(name, factor):
    layer, site, gate = placed(name, "hmd", factor=factor)
    for number, cell in enumerate(cells(site)):
        of_input, of_state, _ = gate.cell_of(number)
        assert len(of_input.rich) == len(of_state.rich) == cell.groups * cell.dense_rows(factor, 2)
    work = work_of(site, PlacedGate.of("hmd", "rnn", factor=factor))
    held = sum(p.numel() for p in gate.parameters())
    assert work.stored * site.params == pytest.approx(held)
    [call] = work.calls
    matrices = sum(p.numel() for matrix in gate.matrices() for p in matrix.parameters())
    assert call.size * site.macs == pytest.approx(T * matrices)
    assert call.size <= 1 / factor and call.remaining == ()
    assert recurrent_macs(layer, T) == site.macs


@pytest.mark.parametrize("kind", ["hmd", "lmf"])
def test_a_smaller_matrix_costs_less_even_on_a_core_that_skips_no_work(kind):
    from gatesearch.cost.layers import layer_changes
    from gatesearch.devices.profile import Kernels

    _, site, _ = placed("lstm", kind)
    [change] = layer_changes([PlacedGate.of(kind, "rnn", factor=4)], [site], {}).values()
    assert 0.2 < change.cost(Kernels()) <= 0.25
    assert change.macs_change == pytest.approx(site.macs * (change.cost(Kernels()) - 1))
    assert -site.params < change.params_change < -0.5 * site.params


def test_pruning_costs_less_only_where_weights_can_be_skipped():
    from gatesearch.cost.layers import layer_changes
    from gatesearch.devices.profile import Kernels

    _, site, _ = placed("lstm", "pruned")
    [change] = layer_changes([PlacedGate.of("pruned", "rnn", factor=4)], [site], {}).values()
    assert change.cost(Kernels()) == 1.0 and change.cost(Kernels(skips=("weight",))) == 0.25
    assert -0.25 * site.params < change.params_change < 0  # indices of the remaining weights take memory, too


@pytest.mark.parametrize("kind", ["hmd", "lmf"])
def test_a_fitted_start_is_closer_to_the_trained_layer_than_chance(kind):
    layer, _, fitted = placed("lstm", kind, init="fitted")
    *_, random = placed("lstm", kind, init="random")
    x = torch.randn(4, T, F)
    expected, _ = layer(x)
    assert (fitted(x)[0] - expected).norm() < 0.8 * (random(x)[0] - expected).norm()


def test_dense_factors_are_the_layer_itself():
    for make in LAYERS.values():
        layer = make().eval()
        x = torch.randn(2, T, F)
        assert torch.equal(replace_layer(layer, Factors).eval()(x)[0], layer(x)[0])


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("hmd", {"factor": 1}, "factor: 1 is not a number above 1"),
        ("hmd", {"factor": 60}, "factor: 60 leaves no dense row"),
        ("hmd", {"blocks": 0}, "blocks: 0 is not a whole number"),
        ("hmd", {"init": "fited"}, "nearest: 'fitted'"),
        ("lmf", {"factor": True}, "factor: True"),
        ("lmf", {"factor": 900}, "leaves no rank"),
        ("pruned", {"facto": 2}, "nearest: 'factor'"),
    ],
)
def test_impossible_parameters_give_an_error_of_one_line(kind, params, message):
    with pytest.raises(UserError) as error:
        placed("lstm", kind, **params)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_the_kinds_fit_layers_with_matrices_only():
    small = LayerSite("a", "lstm", (T, 3), (T, 4), 0, 0)
    conv = LayerSite("b", "conv2d", (3, 8, 8), (4, 6, 6), 0, 0)
    cut = CutSite("c", (4,), 1, 1, 1, 1, "c")
    _, site, _ = placed("lstm", "hmd")
    for kind in KINDS:
        assert fits(kind, site)
        assert not fits(kind, conv) and not fits(kind, cut)
    assert not fits("hmd", small)
