from __future__ import annotations

import copy
import signal
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.gates.modules import activation_sparsity
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.training import Features, GateSettings, Schedule, fit
from gatesearch.training.fit import CHECKPOINT_EVERY, class_weights
from tests.nets import CLASSES

EPOCHS = 2 * CHECKPOINT_EVERY + 2


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
    """Ctrl-C at the end of an epoch, counted from the start of this process."""

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
def test_a_training_cut_off_twice_goes_on_to_the_same_weights(features: Features, tmp_path: Path, averaging):
    schedule = Schedule(epochs=EPOCHS, batch_size=16, averaging=averaging)
    unbroken, broken = half(), half()
    curve = fit(unbroken, features, schedule, GateSettings(), seed=3, augment=Noise(), log_dir=tmp_path / "a")
    for kill in (KillAt(CHECKPOINT_EVERY + 2), KillAt(CHECKPOINT_EVERY + 1)):
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
    # What the process did before it went on must not matter.
    torch.randn(123)
    again = fit(
        broken, features, schedule, GateSettings(), seed=3, augment=Noise(), log_dir=tmp_path / "b", on_epoch=rest
    )
    assert rest.run == EPOCHS - 2 * CHECKPOINT_EVERY
    assert again == curve
    assert len(curve.train_loss) == len(curve.validation_accuracy) == EPOCHS
    assert equal(unbroken, broken)


def test_a_training_that_was_finished_gives_the_same_model_again(features: Features, tmp_path: Path):
    schedule = Schedule(epochs=CHECKPOINT_EVERY, batch_size=16, averaging=0.9)
    first, second, counter = half(), half(), KillAt()
    fit(first, features, schedule, GateSettings(), seed=3, log_dir=tmp_path)
    fit(second, features, schedule, GateSettings(), seed=3, log_dir=tmp_path, on_epoch=counter)
    assert counter.run == 0
    assert equal(first, second)


def test_logs_and_one_checkpoint_are_all_that_is_written(features: Features, tmp_path: Path):
    fit(half(), features, Schedule(epochs=CHECKPOINT_EVERY, batch_size=16), GateSettings(), seed=0, log_dir=tmp_path)
    names = sorted(path.name.split(".")[0] for path in tmp_path.iterdir())
    assert names == ["events", "hparams", "last"] or names == ["events", "last"]


def test_without_a_folder_nothing_is_written(features: Features, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    history = fit(half(), features, Schedule(epochs=1, batch_size=16), GateSettings(), seed=0)
    assert list(tmp_path.iterdir()) == []
    assert len(history.train_loss) == 1 and history.validation_accuracy == []


def test_ctrl_c_reaches_the_caller_and_the_next_one_works_again(features: Features):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(half(), features, Schedule(epochs=3, batch_size=16), GateSettings(), seed=0, on_epoch=KillAt(2))
    assert signal.getsignal(signal.SIGINT) is before


def test_deterministic_for_a_seed_and_different_for_another(features: Features):
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
def test_what_was_evaluated_before_is_trained_in_training_mode(features: Features, tmp_path: Path, logged):
    trained, modes = half().eval(), []
    for module in trained.modules():
        module.register_forward_pre_hook(lambda module, _: modes.append((torch.is_grad_enabled(), module.training)))
    folder = tmp_path if logged else None
    fit(trained, features, Schedule(epochs=2, batch_size=16), GateSettings(), seed=0, log_dir=folder)
    assert {training for learning, training in modes if learning} == {True}
    assert not any(training for learning, training in modes if not learning)


def test_what_is_kept_is_the_moving_average_of_the_weights(features: Features):
    decay, seen = 0.8, []
    trained = half()
    weight = trained.gate(0).linear.weight
    handle = register_optimizer_step_post_hook(lambda *_: seen.append(weight.detach().clone()))
    fit(trained, features, Schedule(epochs=2, batch_size=16, averaging=decay), GateSettings(), seed=0)
    handle.remove()
    average = seen[0]
    for value in seen[1:]:
        average = decay * average + (1 - decay) * value
    assert len(seen) == 2 * (96 // 16)
    torch.testing.assert_close(trained.gate(0).linear.weight.detach(), average)
    assert float(trained.gate(0).theta) == float("-inf")  # an average of infinities, not NaN


@pytest.mark.parametrize(("scale", "moves"), [(25.0, True), (1.0, False)])
def test_masks_move_at_25_times_the_rate_of_weights_and_do_not_at_the_same(features: Features, scale, moves):
    trained = model(PlacedGate.of("gc", "stem", keep=0.5), importance=torch.arange(8.0).flip(0))
    logits = trained.gate(0).mask_logits
    start = logits.detach().clone()
    assert trained.gate(0).lower().channels == [0, 1, 2, 3]
    schedule = Schedule(epochs=8, batch_size=16, learning_rate=2e-3)
    fit(trained, features, schedule, GateSettings(learning_rate_scale=scale), seed=0)
    # An eighth lies between one rank and the next.
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


def test_the_backbones_own_weights_are_trained_without_gates_as_well(features: Features):
    plain = model()
    before = copy.deepcopy(plain.state_dict())
    fit(plain, features, Schedule(epochs=1, batch_size=16), GateSettings(), seed=0)
    changed = [name for name, value in plain.named_parameters() if not torch.equal(before[name], value)]
    assert len(changed) == len(list(plain.parameters()))


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_training_with_checkpoints_alone_goes_on_from_its_last_epoch(
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
    seen = half()
    fit(seen, features, schedule, GateSettings(), seed=3, augment=Noise(), checkpoints=tmp_path, on_epoch=again)
    assert again.run == 0 and equal(seen, whole)  # all of it is there
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
