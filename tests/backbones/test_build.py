"""Tests of building the backbone that a recipe names, and of the size of the shipped DS-CNN."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from torch import nn

from gatesearch.backbones import build
from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.errors import UserError

WRONG = "backbone_args.{0}: own_nets:Tiny takes no argument {0!r}"


@pytest.fixture(autouse=True)
def own_nets(monkeypatch):
    module = types.ModuleType("own_nets")

    class Tiny(nn.Module):
        def __init__(self, num_classes: int, width: int = 4) -> None:
            super().__init__()
            if width < 1:
                raise ValueError("width must be positive")
            self.linear = nn.Linear(width, num_classes)

    def anything(**kwargs):
        return nn.Linear(len(kwargs["input_shape"]), kwargs["num_classes"])

    module.Tiny, module.anything, module.number, module.wrong = Tiny, anything, 3, lambda: "a net"
    monkeypatch.setitem(sys.modules, "own_nets", module)
    return module


def make(name: str, **args) -> nn.Module:
    return build(name, num_classes=5, input_shape=(1, 49, 10), args=args)


def test_a_backbone_is_built_by_the_name_of_its_entry_point():
    net = make("ds_cnn", width=16, blocks=2)
    assert isinstance(net, DSCNN)
    assert net(torch.zeros(2, 1, 49, 10)).shape == (2, 5)
    assert len(net.blocks) == 2


def test_a_class_by_import_path_gets_the_arguments_that_it_has_parameters_for(own_nets):
    net = make("own_nets:Tiny", width=7)
    assert isinstance(net, own_nets.Tiny)
    assert (net.linear.in_features, net.linear.out_features) == (7, 5)
    assert make("own_nets:anything", colour="red").in_features == 3
    assert make("own_nets:Tiny", num_classes=2).linear.out_features == 2  # an argument of the recipe takes precedence


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("ds_cn", {}, "backbone: unknown backbone 'ds_cn'; nearest: 'ds_cnn'"),
        ("own_net:Tiny", {}, "backbone: cannot import 'own_net' of 'own_net:Tiny': No module named 'own_net'"),
        ("own_nets:Tinny", {}, "backbone: own_nets: unknown name 'Tinny'; nearest: 'Tiny'"),
        ("own_nets:", {}, "backbone: own_nets: unknown name ''"),
        (":Tiny", {}, "backbone: cannot import '' of ':Tiny'"),
        (".own_nets:Tiny", {}, "backbone: cannot import '.own_nets' of '.own_nets:Tiny'"),
        ("own_nets:number", {}, "backbone: own_nets:number is a int, not a class or a function"),
        ("own_nets:wrong", {}, "backbone: own_nets:wrong returned a str, not a torch.nn.Module"),
        ("own_nets:Tiny", {"widht": 3}, f"{WRONG.format('widht')}; nearest: 'width'"),
        ("own_nets:Tiny", {"zzz": 3}, f"{WRONG.format('zzz')}; it takes: num_classes, width"),
        ("own_nets:Tiny", {"width": 0}, "backbone: own_nets:Tiny(width=0): width must be positive"),
        ("own_nets:Tiny", {"width": "wide"}, "backbone: own_nets:Tiny(width='wide'): "),
    ],
)  # fmt: skip
def test_errors_name_a_backbone_that_cannot_be_built_in_one_line(name, args, message):
    with pytest.raises(UserError) as error:
        make(name, **args)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(1, 49, 10), (1, 12, 6), (1, 13, 7), (3, 20, 5)])
def test_ds_cnn_pools_to_one_position_whatever_the_front_end(shape):
    net = DSCNN(4, shape, width=8, blocks=1).eval()
    hidden = net.pool(net.blocks(net.stem(torch.zeros(2, *shape))))
    assert hidden.shape == (2, 8, 1, 1)
    assert net(torch.zeros(2, *shape)).shape == (2, 4)


def test_ds_cnn_l_of_hello_edge_has_the_multiplications_of_its_paper() -> None:
    large = DSCNN(12, width=276, blocks=5, stem_stride=(2, 1), first_stride=(2, 2)).eval()
    macs = []

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        macs.append(layer.weight[0].numel() * output.numel())

    for layer in large.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    assert large(torch.zeros(1, 1, 49, 10)).shape == (1, 12)
    assert 2 * sum(macs) == pytest.approx(56.9e6, rel=0.02)  # operations in Table 5 of Zhang et al. 2017, "Hello Edge"


def test_ds_cnn_has_the_size_of_mlperf_tiny():
    own = sum(p.numel() for p in DSCNN(12).parameters())
    block = 9 * 64 + 2 * 64 + 64 * 64 + 2 * 64
    assert own == 40 * 64 + 2 * 64 + 4 * block + 64 * 12 + 12


def half_precision() -> nn.Module:
    return nn.Linear(3, 2).half()


def test_a_module_that_a_run_cannot_train_is_refused():
    with pytest.raises(UserError, match=r"^backbone: Linear: weight is float16; a run trains in float32"):
        build(f"{__name__}:half_precision", num_classes=2, input_shape=(3,), args={})
