"""Tests that CIFAR ResNets have the size of their paper (He et al. 2016), and can be gated and cut."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gatesearch.backbones.resnet_cifar import ResNetCifar, Shortcut, resnet20
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.testing.backbones import check_backbone

BLOCKS = [f"stage{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1, 2)]


def test_resnet20_has_the_published_size() -> None:
    net = resnet20()
    sites = layer_sites(net, torch.zeros(1, 3, 32, 32))
    assert sum(site.macs for site in sites) == 40_551_040
    assert sum(p.numel() for p in net.parameters()) == 269_722  # 0.27M in Table 6 of the paper
    assert len(sites) == 20
    first = [site for site in sites if site.name.endswith("conv1")]
    assert [site.name for site in first] == [f"{block}.conv1" for block in BLOCKS]
    # Precision gating can gate the first convolution of each block: 46.5 % of all MACs.
    assert round(sum(site.macs for site in first) / 40_551_040, 3) == 0.465


@pytest.mark.parametrize(("depth", "params"), [(32, 464_154), (56, 853_018)])
def test_deeper_networks_have_more_of_the_same_blocks(depth: int, params: int) -> None:
    net = ResNetCifar(depth=depth)
    assert len(net.stage3) == (depth - 2) // 6
    assert sum(p.numel() for p in net.parameters()) == params


def test_a_block_can_be_gated_inside_and_cut_behind() -> None:
    net = resnet20()
    sites = cut_sites(net, torch.zeros(1, 3, 32, 32))
    # The site behind the last block of a stage has the name of the stage. Between the last block of the network and the
    # classifier there is only pooling, so the site behind that block is "flatten".
    behind = ["stage1.0", "stage1.1", "stage1", "stage2.0", "stage2.1", "stage2", "stage3.0", "stage3.1"]
    assert [site.name for site in sites] == ["input", "stem", *behind, "flatten"]
    assert [site.shape for site in sites[2::3]] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    layers = {site.name: site for site in layer_sites(net, torch.zeros(1, 3, 32, 32))}
    for block in BLOCKS:
        conv1, conv2 = layers[f"{block}.conv1"], layers[f"{block}.conv2"]
        assert (conv1.norm, conv1.activation) == (f"{block}.norm1", f"{block}.relu1")
        assert (conv2.norm, conv2.activation) == (f"{block}.norm2", None)  # a sum lies between norm2 and the activation
        assert (conv1.source, conv2.source) == (None, f"{block}.conv1")


def test_the_shortcut_subsamples_and_pads_channels() -> None:
    hidden = torch.randn(2, 4, 7, 8)
    out = Shortcut(4, 8, 2)(hidden)
    assert out.shape == (2, 8, 4, 4)
    assert torch.equal(out[:, 2:6], hidden[:, :, ::2, ::2])
    assert (out[:, :2] == 0).all() and (out[:, 6:] == 0).all()
    assert Shortcut(4, 4, 1)(hidden) is hidden
    assert not list(Shortcut(4, 8, 2).parameters())


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 33, 31), (1, 5, 3)])
def test_any_size_of_image_ends_as_one_position(shape: tuple[int, ...]) -> None:
    net = ResNetCifar(7, shape, depth=8, width=4).eval()
    hidden = net.stage3(net.stage2(net.stage1(net.stem(torch.zeros(2, *shape)))))
    assert net.pool(hidden).shape == (2, 16, 1, 1)
    assert net(torch.zeros(2, *shape)).shape == (2, 7)


def test_weights_start_with_the_deviation_of_he_et_al() -> None:
    torch.manual_seed(0)
    for layer in ResNetCifar(width=32).modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 5000:
            fan_in = layer.weight[0].numel()
            assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)


def test_it_can_be_cut_everywhere() -> None:
    check_backbone(lambda: ResNetCifar(4, (3, 8, 8), depth=8, width=4), torch.randn(3, 3, 8, 8), 4)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"depth": 18}, r"depth must be 8, 14, 20, ... \(6n \+ 2\), not 18"),
        ({"depth": 2}, "not 2"),
        ({"input_shape": (40,)}, "input_shape"),
    ],
)
def test_errors_name_wrong_arguments(args: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResNetCifar(**args)  # type: ignore[arg-type]
