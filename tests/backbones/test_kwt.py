"""Tests of the keyword transformer: cut sites, size, and attention compared with PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gatesearch.backbones import build
from gatesearch.errors import UserError
from gatesearch.graph.sites import cut_sites
from gatesearch.testing.backbones import check_backbone

SHAPE = (1, 12, 6)


def kwt(**args: object) -> nn.Module:
    arguments = {"width": 8, "blocks": 2, "heads": 2, **args}
    return build("kwt", num_classes=3, input_shape=SHAPE, args=arguments)


@pytest.mark.parametrize(
    "args",
    [{}, {"norm": "post"}, {"class_token": False}, {"patch": 5}, {"heads": 1, "mlp_ratio": 0.5}],
)
def test_a_keyword_transformer_can_be_cut_anywhere(args):
    check_backbone(lambda: kwt(**args), torch.randn(4, *SHAPE), 3)


def test_there_is_a_site_behind_the_tokens_and_behind_each_block():
    sites = {site.name: site.shape for site in cut_sites(kwt(blocks=3, patch=2), torch.zeros(1, *SHAPE))}
    # The classifier reads the class token alone, so the last site has one token.
    expected = {"tokens": (7, 8), "blocks.0": (7, 8), "blocks.1": (7, 8), "readout": (8,)}
    assert expected.items() <= sites.items()


def test_macs_and_parameters_equal_hand_counts():
    model = kwt(blocks=1, class_token=False)
    site = cut_sites(model, torch.zeros(1, *SHAPE))[0]
    tokens, width, hidden = 12, 8, 16
    block = tokens * (4 * width * width + 2 * width * hidden) + 2 * tokens * tokens * width
    assert site.macs_after == tokens * 6 * width + block + 3 * width
    embedding = 6 * width + width + tokens * width
    own = 4 * (width * width + width) + 2 * width * hidden + hidden + width + 2 * 2 * width
    assert site.params_after == embedding + own + 2 * width + 3 * width + 3


def test_attention_equals_that_of_torch():
    torch.manual_seed(0)
    ours = kwt(dropout=0.0).blocks[0].attention[0]
    theirs = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0], atol=1e-6, rtol=1e-5)


def test_a_patch_holds_consecutive_frames_and_no_layer_normalises_over_the_batch():
    model = kwt(patch=5, class_token=False).tokens
    x = torch.randn(2, *SHAPE)
    first = model.embed(x[:, 0, :5].flatten(1)) + model.position[:, 0]
    torch.testing.assert_close(model(x)[:, 0], first)
    assert model(x).shape == (2, 2, 8)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in kwt().modules())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"heads": 3}, "width 8 does not divide among 3 heads"),
        ({"patch": 13}, "patch must be 1 to 12 frames, not 13"),
        ({"norm": "both"}, "norm must be pre or post, not 'both'"),
    ],
)
def test_arguments_that_do_not_fit_give_an_error_of_one_line(args, message):
    with pytest.raises(UserError, match=message):
        kwt(**args)
