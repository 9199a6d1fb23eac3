"""The hard negatives of a baseline are found once in a run folder, and again only for other weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch

from gatesearch.pipeline import training
from gatesearch.pipeline.run_dir import RunFolder
from tests.training.test_stream_windows import features as stream_features
from tests.training.test_stream_windows import gated

features = stream_features


def test_hard_negatives_are_found_once_for_each_baseline(features, tmp_path: Path, monkeypatch, capsys) -> None:
    mined = []

    def find(model, windows, positive):
        mined.append(torch.rand(1))
        return windows.negatives[:3] + len(mined)

    monkeypatch.setattr(training, "find_hard_negatives", find)
    settings = SimpleNamespace(seed=3, training=SimpleNamespace(hard_negatives=0.5))
    problem = SimpleNamespace(features=features, recipe=settings)
    folder, model, state = RunFolder(tmp_path), gated(features), torch.get_rng_state()
    for _ in range(3):  # sessions
        features.windows.baseline_hard = torch.zeros(0, dtype=torch.long)
        training.mine_hard_negatives(problem, model, folder)
        assert features.windows.baseline_hard.tolist() == (features.windows.negatives[:3] + 1).tolist()
    assert len(mined) == 1 and torch.equal(state, torch.get_rng_state())

    (tmp_path / training.HARD_NEGATIVES).write_text("{")
    training.mine_hard_negatives(problem, model, folder)
    assert len(mined) == 2 and mined[0] == mined[1]  # from the same seed
    assert "hard negatives are found again" in " ".join(capsys.readouterr().err.split())

    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    training.mine_hard_negatives(problem, model, folder)
    assert len(mined) == 3


def test_a_recipe_without_hard_negatives_writes_no_file(features, tmp_path: Path) -> None:
    settings = SimpleNamespace(seed=3, training=SimpleNamespace(hard_negatives=0.0))
    training.mine_hard_negatives(
        SimpleNamespace(features=features, recipe=settings), gated(features), RunFolder(tmp_path)
    )
    assert not (tmp_path / training.HARD_NEGATIVES).exists()
