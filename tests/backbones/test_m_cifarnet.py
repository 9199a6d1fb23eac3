"""Tests that M-CifarNet has the layers and size of Gao et al. 2019, and can be gated and cut."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gatesearch.backbones.m_cifarnet import MCifarNet, scale_channels
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.testing.backbones import check_backbone

TABLE = {  # the published network: output shape of every layer, and its millions of multiply-accumulates
    "conv0.0": ((64, 30, 30), 1.555),
    "conv1.0": ((64, 30, 30), 33.178),
    "conv2.0": ((128, 15, 15), 16.589),
    "conv3.0": ((128, 15, 15), 33.178),
    "conv4.0": ((128, 15, 15), 33.178),
    "conv5.0": ((192, 8, 8), 14.156),
    "conv6.0": ((192, 8, 8), 21.234),
    "conv7.0": ((192, 8, 8), 21.234),
    "classifier": ((10,), 0.002),
}


def test_every_layer_is_as_published() -> None:
    sites = layer_sites(MCifarNet(), torch.zeros(1, 3, 32, 32))
    assert {site.name: (site.shape, round(site.macs / 1e6, 3)) for site in sites} == TABLE
    assert round(sum(site.macs for site in sites) / 1e6, 2) == 174.30


def test_the_number_of_weights_is_as_published() -> None:
    net = MCifarNet()
    weights = sum(m.weight.numel() for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    assert weights == 1_293_888
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert sum(norm.num_features for norm in norms) == 1088  # the paper's number of biases in FBS
    assert sum(p.numel() for p in net.parameters()) == weights + 2 * 1088 + 10


def test_every_layer_site_names_its_norm_its_activation_and_its_source_layer() -> None:
    sites = layer_sites(MCifarNet(), torch.zeros(1, 3, 32, 32))[:-1]
    assert [site.norm for site in sites] == [f"conv{i}.1" for i in range(8)]
    assert [site.activation for site in sites] == [f"conv{i}.2" for i in range(8)]
    assert [site.source for site in sites] == [None, *(f"conv{i}.0" for i in range(7))]


def test_cut_sites_are_named_after_the_convolutions() -> None:
    sites = cut_sites(MCifarNet(), torch.zeros(1, 3, 32, 32))
    assert [site.name for site in sites] == ["input", *(f"conv{i}" for i in range(7)), "flatten"]
    assert sites[4].shape == (128, 15, 15) and sites[-1].shape == (192,)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 33, 40), (1, 31, 9), (2, 5, 3)])
def test_any_size_of_image_ends_as_one_position(shape: tuple[int, ...]) -> None:
    net = MCifarNet(7, shape, width=0.0625).eval()
    hidden = torch.zeros(2, *shape)
    for name, layer in net.named_children():
        hidden = layer(hidden)
        if name == "pool":
            assert hidden.shape == (2, 12, 1, 1)
    assert hidden.shape == (2, 7)


def test_images_below_32_pixels_are_padded_in_the_first_layer() -> None:
    sites = layer_sites(MCifarNet(10, (1, 8, 8), width=0.25), torch.zeros(1, 1, 8, 8))
    assert [site.shape for site in sites[:-1]] == [(16, 8, 8)] * 2 + [(32, 4, 4)] * 3 + [(48, 2, 2)] * 3


def test_dropout_is_behind_conv3_and_conv6() -> None:
    net = MCifarNet(dropout=0.25)
    assert {name: m.p for name, m in net.named_modules() if isinstance(m, nn.Dropout)} == {
        "conv3.3": 0.25,
        "conv6.3": 0.25,
    }


@pytest.mark.parametrize(
    ("width", "channels"),
    [(2.0, (128, 256, 384)), (0.75, (48, 96, 144)), (0.5, (32, 64, 96)), (0.3, (16, 32, 64)), (0.125, (8, 16, 32))],
)
def test_narrow_layers_keep_to_multiples_of_16(width: float, channels: tuple[int, ...]) -> None:
    assert tuple(scale_channels(full, width) for full in (64, 128, 192)) == channels
    net = MCifarNet(width=width)
    assert (net[0][0].out_channels, net[2][0].out_channels, net[7][0].out_channels) == channels


def test_it_can_be_cut_everywhere() -> None:
    check_backbone(lambda: MCifarNet(10, (1, 8, 8), width=0.0625), torch.randn(3, 1, 8, 8), 10)


@pytest.mark.parametrize(
    ("args", "message"), [({"width": 0.0}, "width must be above 0, not 0"), ({"input_shape": (40,)}, "input_shape")]
)
def test_errors_name_wrong_arguments(args: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MCifarNet(**args)  # type: ignore[arg-type]
