"""Tests that the channel axis and the class token of a tensor are found."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gatesearch.backbones.kwt import KWT
from gatesearch.graph.channel_axes import along, select
from gatesearch.graph.sites import cut_sites
from tests.nets import VisionTransformer


class Applied(nn.Module):
    def __init__(self, *layers: nn.Module, operation=lambda x: x) -> None:
        super().__init__()
        self.before, self.after, self.operation = layers[0], layers[1], operation

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.operation(self.before(x))).flatten(1)[:, :3]


def axes(model: nn.Module, *shape: int) -> list[tuple[tuple[int, ...], int]]:
    return [(site.shape, site.channel_axis) for site in cut_sites(model, torch.zeros(1, *shape))]


@pytest.mark.parametrize(
    ("before", "after", "shape", "expected"),
    [
        # The first three inputs have the same shape; the layers around a tensor tell which axis has the channels.
        (nn.Conv1d(7, 6, 1), nn.Conv1d(6, 2, 1), (7, 6), [((7, 6), 0), ((6, 6), 0)]),
        (nn.Linear(6, 6), nn.Linear(6, 2), (7, 6), [((7, 6), 1), ((7, 6), 1)]),
        (nn.Linear(6, 6), nn.Conv1d(7, 2, 1), (7, 6), [((7, 6), 1), ((7, 6), 1)]),  # the layer before decides first
        (nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), (3, 5, 5), [((3, 5, 5), 0), ((4, 5, 5), 0)]),
    ],
)
def test_the_layers_around_a_tensor_say_which_axis_has_its_channels(before, after, shape, expected):
    assert axes(Applied(before, after), *shape) == expected


def test_the_axis_goes_through_transpositions_and_sums():
    moved = Applied(nn.Conv1d(7, 4, 1), nn.Linear(4, 2), operation=lambda x: x.transpose(1, 2) + 1.0)
    assert axes(moved, 7, 6) == [((7, 6), 0), ((6, 4), 1)]
    permuted = Applied(nn.Linear(6, 4), nn.Conv1d(4, 2, 1), operation=lambda x: x.permute(0, 2, 1).relu())
    assert axes(permuted, 7, 6) == [((7, 6), 1), ((4, 7), 0)]


def test_an_input_that_is_transposed_first_has_the_axis_of_its_reader():
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = nn.Conv1d(6, 4, 1), nn.Conv1d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.conv(x.transpose(1, 2))).mean(2)

    assert axes(Turned(), 7, 6) == [((7, 6), 1), ((4, 7), 0)]


def test_every_site_between_the_blocks_of_a_vision_transformer_has_its_channels_last_behind_a_class_token():
    sites = cut_sites(VisionTransformer(), torch.zeros(2, 3, 16, 16))
    assert {"blocks.0", "blocks.1"} < {site.name for site in sites}
    tokens = [site for site in sites if site.shape == (17, 8)]
    assert len(tokens) == 6 and all(site.channel_axis == 1 and site.class_token for site in tokens)
    assert all(site.channels == 8 for site in tokens)
    assert [(s.shape, s.channel_axis, s.class_token) for s in sites if s not in tokens] == [
        ((3, 16, 16), 0, False),
        ((8,), 0, False),
    ]


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_class_token_is_found_by_its_parameter_and_not_by_its_name(class_token, norm):
    model = KWT(3, (1, 12, 6), width=8, blocks=2, heads=2, norm=norm, class_token=class_token)
    tokens = [site for site in cut_sites(model, torch.zeros(1, 1, 12, 6)) if len(site.shape) == 2]
    assert tokens and all(site.class_token == class_token for site in tokens)


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU])
def test_steps_of_a_recurrent_layer_have_their_features_last(layer):
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = layer(6, 4, batch_first=True), nn.Conv1d(7, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x)[0]).mean(2)

    assert axes(Recurrent(), 7, 6) == [((7, 6), 1), ((7, 4), 1)]


def test_a_concatenation_of_two_halves_has_no_class_token():
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.cat([self.a(x), self.b(x)], 1)).mean(1)

    joined = cut_sites(Halves(), torch.zeros(1, 5, 6))[1]
    assert joined.shape == (10, 6) and not joined.class_token and joined.channel_axis == 1


def test_fused_attention_counts_its_two_products():
    sites = {site.name: site for site in cut_sites(VisionTransformer(), torch.zeros(1, 3, 16, 16))}
    projections, products = 17 * (8 * 24 + 8 * 8), 2 * 17 * 17 * 8
    assert sites["add_1"].macs_before - sites["add"].macs_before == projections + products


def test_along_and_select_work_on_any_axis():
    hidden = torch.arange(24.0).view(2, 3, 4)
    assert torch.equal(hidden * along(torch.tensor([1.0, 0, 0, 2]), 3, 2), hidden * torch.tensor([1.0, 0, 0, 2]))
    assert torch.equal(select(hidden, [2, 0], 1), hidden[:, [2, 0]])
    assert select(hidden, None, 1) is hidden
