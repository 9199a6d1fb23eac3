"""Tests of the audio codec: it is causal, can be cut at every site, and learns its codebooks."""

from __future__ import annotations

import pytest
import torch

from gatesearch.backbones.codec import Codec
from gatesearch.backbones.quantiser import ResidualQuantiser
from gatesearch.graph.sites import cut_sites
from gatesearch.testing.backbones import check_backbone

SHAPE = (1, 256, 1)


def test_the_codec_can_be_cut_at_every_site_and_its_quantiser_is_one_part():
    def build() -> Codec:
        torch.manual_seed(0)
        return Codec(SHAPE, width=4, strides=(2, 4), dimension=6, levels=2, codes=8)

    check_backbone(build, torch.randn(3, *SHAPE), SHAPE)
    names = {site.name: site for site in cut_sites(build(), torch.randn(1, *SHAPE))}
    assert {"encoder", "quantiser", "decoder.stem", "decoder.0"} <= set(names)
    assert names["quantiser"].shape == (6, 32, 1) and names["quantiser"].output == SHAPE


@pytest.mark.parametrize("at", [64, 200])
def test_a_frame_does_not_depend_on_samples_after_it(at):
    torch.manual_seed(0)
    codec = Codec(SHAPE, width=4, strides=(2, 4), levels=2, codes=8).eval()
    x = torch.randn(1, *SHAPE)
    changed = x.clone()
    changed[:, :, at:] = torch.randn(1, 1, SHAPE[1] - at, 1)
    with torch.no_grad():
        before, after = codec(x), codec(changed)
    assert torch.allclose(before[:, :, :at], after[:, :, :at], atol=1e-6)
    assert not torch.allclose(before[:, :, at:], after[:, :, at:])


def test_bits_are_those_of_all_codebooks():
    assert Codec((1, 4096, 1), levels=8, codes=64).bits_per_second(8000) == 8 * 6 * 8000 / 64


@pytest.mark.parametrize("shape", [(1, 250, 1), (2, 256, 1), (256,), (1, 256, 2)])
def test_inputs_that_are_not_waveforms_are_refused(shape):
    with pytest.raises(ValueError, match="input_shape must be"):
        Codec(shape, strides=(2, 4))


def fitted(levels: int, steps: int = 60) -> tuple[ResidualQuantiser, torch.Tensor]:
    torch.manual_seed(0)
    quantiser = ResidualQuantiser(3, levels, codes=8)
    vectors = torch.randn(4, 3, 32, 1)
    optimizer = torch.optim.Adam(quantiser.parameters(), 0.02)
    for _ in range(steps):
        quantiser(vectors)
        optimizer.zero_grad()
        quantiser.extra_loss().backward()
        optimizer.step()
    return quantiser.eval(), vectors


def test_each_vector_gets_its_nearest_codeword():
    quantiser, vectors = fitted(levels=1)
    flat = vectors.squeeze(3).transpose(1, 2).reshape(-1, 3)
    nearest = quantiser.codebooks[0][torch.cdist(flat, quantiser.codebooks[0]).argmin(1)]
    torch.testing.assert_close(quantiser(vectors).squeeze(3).transpose(1, 2).reshape(-1, 3), nearest)


def test_more_levels_leave_a_smaller_error_and_training_moves_the_codewords():
    errors = []
    for levels in (1, 2, 3):
        quantiser, vectors = fitted(levels)
        errors.append((quantiser(vectors) - vectors).square().mean().item())
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.5 * errors[0]
    before, _ = fitted(levels=1, steps=1)
    after, vectors = fitted(levels=1)
    assert (after(vectors) - vectors).square().mean() < (before(vectors) - vectors).square().mean()


def test_the_gradient_passes_straight_through_and_the_extra_loss_pulls_both_sides():
    torch.manual_seed(0)
    quantiser = ResidualQuantiser(3, 2, 8)
    vectors = torch.randn(2, 3, 5, 1, requires_grad=True)
    upstream = torch.randn(2, 3, 5, 1)
    quantiser(vectors).backward(upstream)
    torch.testing.assert_close(vectors.grad, upstream)
    assert quantiser.codebooks.grad is None
    vectors.grad = None
    quantiser(vectors)
    quantiser.extra_loss().backward()
    assert vectors.grad is not None and quantiser.codebooks.grad.abs().sum() > 0
    quantiser.eval()(vectors)
    assert quantiser.extra_loss().item() == 0.0


def test_unused_codewords_are_reset_to_vectors_of_the_batch():
    quantiser = ResidualQuantiser(2, 1, 4)
    with torch.no_grad():
        quantiser.codebooks.fill_(100.0)
    vectors = torch.randn(3, 2, 6, 1)
    quantiser.train()(vectors)  # no vector is near a codeword, so all codewords are unused
    flat = vectors.squeeze(3).transpose(1, 2).reshape(-1, 2)
    assert all((flat - code).abs().sum(1).min() < 1e-6 for code in quantiser.codebooks[0])
    codewords = quantiser.codebooks.detach().clone()
    quantiser(vectors)
    assert torch.equal(quantiser.codebooks, codewords)  # codewords that were just reset stay
