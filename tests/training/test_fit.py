"""Training a gated model: it resumes exactly, repeats for a seed, and stops if it diverges."""

from __future__ import annotations

import copy
import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.errors import UserError
from gatesearch.gates.modules import activation_sparsity
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.training import Features, GateSettings, Schedule, fit
from gatesearch.training.averaging import averaging_decay
from gatesearch.training.divergence import DivergedError
from gatesearch.training.fit import class_weights
from tests.nets import CLASSES

EPOCHS = 6


def model(*gates: PlacedGate, importance: torch.Tensor | None = None) -> GatedModel:
    torch.manual_seed(1)
    backbone = DSCNN(CLASSES, (1, 12, 6), width=8, blocks=1)
    sites = cut_sites(backbone, torch.zeros(1, 1, 12, 6))
    saliency = None if importance is None else {site.name: importance for site in sites}
    return GatedModel(backbone, GatePlan(gates), sites, CLASSES, saliency)


def half() -> GatedModel:
    return model(PlacedGate.of("gc", "stem", keep=0.5))


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


class KillAt:
    """A callback that raises KeyboardInterrupt at its call number ``epoch``, and counts its calls."""

    def __init__(self, epoch: int | None = None) -> None:
        self.epoch, self.run = epoch, 0

    def __call__(self) -> None:
        self.run += 1
        if self.run == self.epoch:
            raise KeyboardInterrupt


class Noise(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.randn_like(x)


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_training_interrupted_twice_ends_with_the_same_weights(features: Features, tmp_path: Path, averaging):
    schedule = Schedule(epochs=EPOCHS, batch_size=16, averaging=averaging)
    unbroken, broken = half(), half()
    curve = fit(unbroken, features, schedule, GateSettings(), seed=3, augment=Noise(), log_dir=tmp_path / "a")
    for kill in (KillAt(3), KillAt(2)):
        broken = half()
        with pytest.raises(KeyboardInterrupt):
            fit(
                broken,
                features,
                schedule,
                GateSettings(),
                seed=3,
                augment=Noise(),
                log_dir=tmp_path / "b",
                on_epoch=kill,
            )
        assert kill.run == kill.epoch
    broken, rest = half(), KillAt()
    # Random draws before the resumption must not matter.
    torch.randn(123)
    again = fit(
        broken, features, schedule, GateSettings(), seed=3, augment=Noise(), log_dir=tmp_path / "b", on_epoch=rest
    )
    assert rest.run == EPOCHS - 2 - 1  # the interrupted trainings stored two epochs and one
    assert again == curve
    assert len(curve.train_loss) == len(curve.validation_accuracy) == EPOCHS
    assert equal(unbroken, broken)


def test_a_finished_training_is_loaded_and_not_repeated(features: Features, tmp_path: Path):
    schedule = Schedule(epochs=3, batch_size=16, averaging=0.9)
    first, second, counter = half(), half(), KillAt()
    fit(first, features, schedule, GateSettings(), seed=3, log_dir=tmp_path)
    fit(second, features, schedule, GateSettings(), seed=3, log_dir=tmp_path, on_epoch=counter)
    assert counter.run == 0
    assert equal(first, second)


def test_logs_and_one_checkpoint_are_all_that_is_written(features: Features, tmp_path: Path):
    fit(half(), features, Schedule(epochs=3, batch_size=16), GateSettings(), seed=0, log_dir=tmp_path)
    names = sorted(path.name.split(".")[0] for path in tmp_path.iterdir())
    assert names == ["events", "hparams", "last"] or names == ["events", "last"]


def test_without_a_folder_nothing_is_written(features: Features, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    history = fit(half(), features, Schedule(epochs=1, batch_size=16), GateSettings(), seed=0)
    assert list(tmp_path.iterdir()) == []
    assert len(history.train_loss) == 1 and history.validation_accuracy == []


def test_ctrl_c_reaches_the_caller_and_the_signal_handler_is_restored(features: Features):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(half(), features, Schedule(epochs=3, batch_size=16), GateSettings(), seed=0, on_epoch=KillAt(2))
    assert signal.getsignal(signal.SIGINT) is before


def test_equal_seeds_give_equal_weights_and_another_seed_others(features: Features):
    schedule = Schedule(epochs=2, batch_size=16)
    models = [half() for _ in range(3)]
    for one, seed in zip(models, (5, 5, 6), strict=True):
        torch.randn(seed)
        fit(one, features, schedule, GateSettings(), seed=seed, augment=Noise())
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])


def test_a_trained_model_is_left_in_evaluation_mode_and_better_than_chance(features: Features):
    trained = half()
    history = fit(trained, features, Schedule(epochs=8, batch_size=16, learning_rate=0.01), GateSettings(), seed=0)
    assert not any(module.training for module in trained.modules())
    assert history.train_loss[-1] < history.train_loss[0]
    logits = trained(features.test.features).logits
    assert float((logits.argmax(1) == features.test.labels).float().mean()) > 0.6


@pytest.mark.parametrize("logged", [False, True])
def test_a_model_in_evaluation_mode_is_trained_in_training_mode(features: Features, tmp_path: Path, logged):
    trained, modes = half().eval(), []
    for module in trained.modules():
        module.register_forward_pre_hook(lambda module, _: modes.append((torch.is_grad_enabled(), module.training)))
    folder = tmp_path if logged else None
    fit(trained, features, Schedule(epochs=2, batch_size=16), GateSettings(), seed=0, log_dir=folder)
    assert {training for learning, training in modes if learning} == {True}
    assert not any(training for learning, training in modes if not learning)


def test_a_training_returns_the_moving_average_of_the_weights(features: Features):
    decay, states = 0.8, []
    trained, epochs = half(), 9  # 54 steps; a decay of 0.8 averages over 5 steps
    weight = trained.gate(0).linear.weight
    handle = register_optimizer_step_post_hook(lambda *_: states.append(weight.detach().clone()))
    fit(trained, features, Schedule(epochs=epochs, batch_size=16, averaging=decay), GateSettings(), seed=0)
    handle.remove()
    average = states[0]
    for value in states[1:]:
        average = decay * average + (1 - decay) * value
    assert len(states) == epochs * (96 // 16)
    torch.testing.assert_close(trained.gate(0).linear.weight.detach(), average)
    assert float(trained.gate(0).theta) == float("-inf")  # the average of -inf is -inf, not NaN


@pytest.mark.parametrize(("scale", "moves"), [(25.0, True), (1.0, False)])
def test_masks_need_25_times_the_learning_rate_of_weights(features: Features, scale, moves):
    trained = model(PlacedGate.of("gc", "stem", keep=0.5), importance=torch.arange(8.0).flip(0))
    logits = trained.gate(0).mask_logits
    start = logits.detach().clone()
    assert trained.gate(0).lower().channels == [0, 1, 2, 3]
    schedule = Schedule(epochs=8, batch_size=16, learning_rate=2e-3)
    fit(trained, features, schedule, GateSettings(learning_rate_scale=scale), seed=0)
    # The initial logits of neighbouring ranks differ by an eighth.
    assert (float((logits.detach() - start).abs().max()) > 1 / 8) is moves
    assert (trained.gate(0).lower().channels != [0, 1, 2, 3]) is moves
    assert len(trained.gate(0).lower().channels) == 4


@pytest.mark.parametrize("keep", [0.15, 0.25])
def test_training_drives_the_activation_mode_to_its_share(features: Features, keep):
    trained = model(PlacedGate.of("gc", "stem", mode="activation", keep=keep))
    positives = features.train.features[features.train.labels == 0]
    with torch.no_grad():
        untrained = float((trained.eval()(positives).gates[0].passed != 0).float().mean())
    fit(trained, features, Schedule(epochs=30, batch_size=16, learning_rate=5e-3), GateSettings(), seed=0)
    with torch.no_grad():
        output = trained(positives).gates[0]
        hidden = trained.stages[0](positives)
    density = float((output.passed != 0).float().mean())
    assert untrained > keep + 0.1
    assert density == pytest.approx(keep, abs=0.08)
    assert 1 - activation_sparsity(output.passed, hidden, 0)["ungated_element"] > density


def test_gates_are_trained_for_the_shares_of_the_stream(features: Features):
    assert class_weights(features, {}).tolist() == [1, 1, 1]
    weights = class_weights(features, {"positive": 0.1, "silence": 0.9})
    assert weights.tolist() == pytest.approx([0.1 * 3, 0.01 * 3, 0.9 * 3])


def test_a_backbone_without_gates_is_trained_as_well(features: Features):
    plain = model()
    before = copy.deepcopy(plain.state_dict())
    fit(plain, features, Schedule(epochs=1, batch_size=16), GateSettings(), seed=0)
    changed = [name for name, value in plain.named_parameters() if not torch.equal(before[name], value)]
    assert len(changed) == len(list(plain.parameters()))


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_training_without_logs_resumes_from_its_last_epoch(
    features: Features, tmp_path: Path, averaging: float
) -> None:
    schedule = Schedule(epochs=6, batch_size=16, averaging=averaging)
    whole, rest, again = half(), KillAt(), KillAt()
    fit(whole, features, schedule, GateSettings(), seed=3, augment=Noise())
    with pytest.raises(KeyboardInterrupt):
        fit(
            half(), features, schedule, GateSettings(), seed=3, augment=Noise(), checkpoints=tmp_path,
            on_epoch=KillAt(5),
        )  # fmt: skip
    end = half()
    fit(end, features, schedule, GateSettings(), seed=3, augment=Noise(), checkpoints=tmp_path, on_epoch=rest)
    assert rest.run == 2 and equal(end, whole)  # killed in the callback of the fifth epoch, which is trained again
    resumed = half()
    fit(resumed, features, schedule, GateSettings(), seed=3, augment=Noise(), checkpoints=tmp_path, on_epoch=again)
    assert again.run == 0 and equal(resumed, whole)  # the checkpoint holds the whole training
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("epochs", [1, 4, 40])
@pytest.mark.parametrize("decay", [0.9, 0.99, 0.9999])
def test_an_average_of_any_decay_is_as_good_as_the_last_weights_in_any_number_of_steps(
    features: Features, epochs: int, decay: float
) -> None:
    """A decay near 1 over few steps would return nearly untrained weights, so ``fit`` lowers the decay."""
    losses = []
    for averaging in (0.0, decay):
        trained = model()
        schedule = Schedule(epochs=epochs, batch_size=48, learning_rate=0.02, averaging=averaging)
        fit(trained, features, schedule, GateSettings(), seed=0)
        with torch.no_grad():
            logits = trained(features.train.features).logits
        losses.append(float(nn.functional.cross_entropy(logits, features.train.labels)))
    assert losses[1] < losses[0] + 0.02


@given(decay=st.floats(0, 0.99999), steps=st.integers(1, 10**6))
def test_the_first_half_of_a_training_has_less_than_one_percent_of_the_average(decay: float, steps: int) -> None:
    shortened = averaging_decay(decay, steps)
    assert 0 <= shortened <= decay
    assert shortened == 0 or shortened ** (steps / 2) < 0.01
    assert shortened == decay or steps * (1 - decay) < 10 + 1e-6  # long trainings keep the decay as it is


@pytest.mark.parametrize("rate", [1e9, 1e30])
def test_a_training_that_diverges_says_in_which_epoch_and_what_to_try(features: Features, tmp_path: Path, rate: float):
    schedule = Schedule(epochs=8, batch_size=16, learning_rate=rate, averaging=0.9)
    for folder in (None, tmp_path):
        with pytest.raises(
            DivergedError, match=r"^training diverged in epoch \d of 8: .*; try a learning_rate below 1e"
        ):
            fit(half(), features, schedule, GateSettings(), seed=0, log_dir=folder)


@given(
    sample=st.integers(0, 95),
    value=st.sampled_from([math.nan, math.inf, -math.inf]),
)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_value_that_is_not_finite_stops_the_training(features: Features, sample: int, value: float):
    bank = features.bank.clone()
    bank[sample, :, 0, 3, 2] = value
    with pytest.raises(UserError, match=r"epoch 1 of 2: the loss is (nan|inf)"):
        fit(half(), replace(features, bank=bank), Schedule(epochs=2, batch_size=16), GateSettings(), seed=0)


def test_weights_that_the_last_step_makes_not_finite_are_named(features: Features):
    trained = half()

    def poison(*_) -> None:
        with torch.no_grad():
            trained.gate(0).linear.bias.fill_(math.nan)

    with pytest.raises(DivergedError, match=r"epoch 1 of 1: gates\.0\.linear\.bias holds values that are not finite"):
        fit(trained, features, Schedule(epochs=1, batch_size=96), GateSettings(), seed=0, augment=OnLastStep(poison))


class OnLastStep(nn.Module):
    """An augmentation that calls a function after the optimizer's next step, when the loss is computed already."""

    def __init__(self, call) -> None:
        super().__init__()
        self.call = call

    def forward(self, x):
        handle = register_optimizer_step_post_hook(lambda *_: (self.call(), handle.remove()))
        return x


def test_batches_of_one_sample_are_refused_where_a_normalisation_needs_two(features: Features):
    with pytest.raises(UserError, match="batches of 1: a batch normalisation needs two values a channel"):
        fit(half(), features, Schedule(epochs=1, batch_size=1), GateSettings(), seed=0)
