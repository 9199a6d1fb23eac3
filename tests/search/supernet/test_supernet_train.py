from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from supernets import supernet

from gatesearch.search.supernet.network import Supernet
from gatesearch.search.supernet.train import SupernetTask
from gatesearch.training import Features, GateSettings, Schedule, fit
from gatesearch.training.fit import CHECKPOINT_EVERY

EPOCHS = CHECKPOINT_EVERY + 2


def trained(
    features: Features, log_dir: Path | None = None, stop: int | None = None, seed: int = 0, plans: int = 1
) -> Supernet:
    net, _, space = supernet()
    epochs = 0

    def ended() -> None:
        nonlocal epochs
        epochs += 1
        if epochs == stop:
            raise KeyboardInterrupt

    fit(
        net,
        features,
        Schedule(epochs=EPOCHS, batch_size=32),
        GateSettings(),
        seed=1,
        log_dir=log_dir,
        on_epoch=ended,
        task=partial(SupernetTask, space=space, plans=plans, seed=seed),
    )
    return net


def test_a_training_that_was_cut_off_ends_as_one_that_was_not(features: Features, tmp_path: Path):
    whole = trained(features, tmp_path / "whole").state_dict()
    with pytest.raises(KeyboardInterrupt):
        trained(features, tmp_path / "cut", stop=CHECKPOINT_EVERY + 1)
    resumed = trained(features, tmp_path / "cut").state_dict()
    assert all(torch.equal(whole[name], value) for name, value in resumed.items())
    other = trained(features, seed=1).state_dict()
    assert any(not torch.equal(whole[name], value) for name, value in other.items())


def test_every_gate_and_the_backbone_learn(features: Features):
    before, after = supernet()[0], trained(features, plans=6)
    moved = {name for name, p in after.named_parameters() if not torch.equal(p, before.get_parameter(name))}
    assert {name.split(".")[1] for name in moved if name.startswith("gates.")} == {
        str(k) for k in range(len(after.gates))
    }
    assert any(name.startswith("stages.") for name in moved)


def test_steps_are_sandwiches_that_depend_on_seed_and_number_alone(features: Features):
    net, _, space = supernet()
    settings = (Schedule(), GateSettings())

    def task(seed: int) -> SupernetTask:
        return SupernetTask(net, None, features.positive, torch.ones(3), *settings, space=space, plans=3, seed=seed)

    steps = [task(0).drawn(step) for step in range(20)]
    assert steps == [task(0).drawn(step) for step in range(20)]
    assert steps != [task(1).drawn(step) for step in range(20)]
    for every, *others in steps:
        assert len(every) == len(space.sites)
        assert len(others) <= 3 and all(0 < len(gates) <= space.most for gates in others)
