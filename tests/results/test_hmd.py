"""Tests of hmd, the benchmark of hybrid matrices: methods of equal size, trainings, timings and the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gatesearch.errors import UserError
from gatesearch.gates.factored import FactoredRNN
from gatesearch.gates.matrices import Factors, HybridMatrix, LowRankMatrix, PrunedMatrix
from gatesearch.pipeline.run_dir import RunFolder
from results import run
from results.benchmark import public_argument
from results.hmd import latency, tasks
from results.hmd.page import compare_with_other_methods
from results.hmd.protocol import DATA_SETS, SHORT
from results.hmd.quality import QUALITY
from results.hmd.rows import FACTORS, METHODS, SPECS, TASKS, Spec
from results.hmd.run import Bench, _matrix_params, _stored
from results.hmd.tasks import Task, load
from results.hmd.train import score, train

PROTOCOL = SHORT.model_copy(update={"width": 0.3, "lm_steps": 8, "characters": 4000, "batch_size": 4})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(RunFolder(tmp_path / "runs"), PROTOCOL, {"speech": None, "har": None})


def test_there_is_a_row_for_every_method_factor_and_task():
    assert len(SPECS) == len(TASKS) * (1 + (len(METHODS) - 1) * len(FACTORS)) == 52
    assert set(tasks.LOADERS) == set(TASKS) == set(QUALITY)


@pytest.mark.parametrize("factor", FACTORS)
def test_methods_are_compared_at_equal_parameters(bench, factor):
    bench = Bench(bench.folder, SHORT.model_copy(update={"characters": 4000}), bench.roots)
    dense = _matrix_params(bench.model(SPECS["lm-dense"], 0))
    for method in ("smaller", "lmf", "hmd"):
        held = _matrix_params(bench.model(Spec("lm", method, factor), 0))
        assert 0.94 * dense / factor < held <= dense / factor, method


def test_the_text_is_pythons_own_and_the_task_says_so():
    task = load("lm", PROTOCOL, {})
    assert "pydoc_data.topics" in task.source and "sha256" in task.source and not task.synthetic
    assert [len(task.splits[split][0]) for split in tasks.SPLITS] == [3200, 400, 400]


def test_a_network_with_zero_weights_needs_the_bits_of_a_random_guess():
    task = load("lm", PROTOCOL, {})
    net = task.build(4, 0.0)
    with torch.no_grad():
        net.classifier.weight.zero_()
        net.classifier.bias.zero_()
    from gatesearch.model import GatedModel
    from gatesearch.plan import GatePlan

    result = score(GatedModel(net, GatePlan(), (), 1), task, "test")
    assert result.quality == pytest.approx(np.log2(net.classifier.out_features)) and result.better == -result.quality


def test_the_stored_weights_are_the_best_on_validation_after_pruning(bench):
    task = Task(
        "har_bilstm",
        {split: (torch.randn(24, 5, 6), torch.arange(24) % 3) for split in tasks.SPLITS},
        load("har_bilstm", PROTOCOL.model_copy(update={"windows_per_subject": 5}), {}).build,
        64,
        "noise",
        True,
    )
    protocol = PROTOCOL.model_copy(update={"har_epochs": 6})
    bench = Bench(bench.folder, protocol, bench.roots, {"har_bilstm": task})
    model = bench.model(SPECS["har_bilstm-pruned-4"], 0)
    at = train(model, task, protocol, 0)
    assert 5 <= at <= 6  # the epoch of the best check; the checks begin after 70 % of the training
    for layer in model.layer_gates.values():
        for matrix in layer.matrices():
            assert int(matrix.mask.sum()) == int(matrix.eval().dense().count_nonzero())


@pytest.mark.parametrize(
    "matrix",
    [
        Factors(torch.randn(12, 7), 4),
        HybridMatrix(torch.randn(12, 7), 4, 1, 2),
        HybridMatrix(torch.randn(12, 7), 2, 3, 1),
        LowRankMatrix(torch.randn(12, 7), 4, 2),
        PrunedMatrix(torch.randn(12, 7), 4, 0.4),
    ],
    ids=lambda m: type(m).__name__,
)
def test_the_product_is_timed(matrix):
    products = latency.numpy_call(matrix.eval())()
    if isinstance(products, tuple):  # the dense (rich) rows of all gates, then the other rows
        products = np.concatenate([part.reshape(matrix.groups, -1) for part in products], 1)
    with torch.no_grad():
        expected = matrix(torch.from_numpy(latency._vector(matrix)))
    np.testing.assert_allclose(np.ravel(products), expected.numpy(), atol=1e-5)


def test_a_step_is_all_matrices_of_a_network(bench):
    net = bench.model(SPECS["lm-hmd-2"], 0)
    assert len([matrix for layer in latency.recurrent(net) for matrix in layer.matrices()]) == 2
    for runtime in latency.RUNTIMES:
        timings = latency.measure({"a": net, "b": bench.model(SPECS["lm-dense"], 0)}, runtime, rounds=2)
        assert timings["a"].rounds == 2 and timings["b"].minimum_us > 0


FORMS = {
    "dense": Factors,
    "hybrid": lambda weight, groups: HybridMatrix(weight, groups, 2, 2),
    "low rank": lambda weight, groups: LowRankMatrix(weight, groups, 5),
    "pruned": lambda weight, groups: PrunedMatrix(weight, groups, 0.4),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layer", [nn.GRU, nn.LSTM])
def test_steps_that_are_timed_are_those_of_the_layer(layer, form):
    torch.manual_seed(0)
    rnn = FactoredRNN(layer(6, 9, batch_first=True, bidirectional=True), FORMS[form]).eval()
    x, state = torch.randn(6), [torch.randn(9) for _ in range(2 if rnn.is_lstm else 1)]
    start = [part.expand(2, 1, 9).contiguous() for part in state]
    with torch.no_grad():
        output, _ = rnn(x.expand(1, 1, 6), tuple(start) if rnn.is_lstm else start[0])
    steps = latency.steps(rnn)
    for step, expected in zip(steps, output[0, 0].split(9), strict=True):
        after = [part.numpy().copy() for part in state]
        step(x.numpy(), *after)
        np.testing.assert_allclose(after[0], expected.numpy(), atol=1e-5)
    assert sum(step.parameters for step in steps) == sum(map(_stored, rnn.matrices()))


def test_without_a_compiler_products_are_timed_and_the_page_says_so(bench, monkeypatch):
    monkeypatch.setattr(latency.kernels, "load", lambda: None)
    assert latency.runtime() == latency.PRODUCTS and not bench.timed("lm")
    assert "no C compiler" in latency.describe_runtime(latency.runtime(), "kernels: none")


def test_rows_are_run_once_and_pages_name_missing_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = ["width=0.3", "lm_steps=8", "characters=4000", "batch_size=4"]
    run("hmd", ["rows=lm-dense,lm-hmd-2", *settings])
    first = json.loads((tmp_path / "runs/bench-hmd/short/lm-hmd-2-0/result.json").read_text())
    run("hmd", ["rows=lm-dense,lm-hmd-2", *settings])
    assert json.loads((tmp_path / "runs/bench-hmd/short/lm-hmd-2-0/result.json").read_text()) == first
    page = (tmp_path / "results/hmd/README.md").read_text()
    assert "not run" in page and "2.32" in page and latency.runtime() in page
    assert "| fewer units, dense | 0 of 0" not in page and "hybrid matrices against" not in page  # no other method ran
    assert "gatesearch bench hmd rows=lm-dense,lm-hmd-2 width=0.3" in page
    rows = json.loads((tmp_path / "results/hmd/rows.json").read_text())
    assert {row["unit"] for row in rows} == {"bits a character", "parameters", "us"}
    assert (tmp_path / "results/hmd/short.png").exists()
    with pytest.raises(UserError, match="holds results with width"):
        run("hmd", ["rows=lm-dense", "width=0.4", *settings[1:]])


def test_the_page_compares_methods_at_equal_compression_factors():
    results = {
        name: [{"quality": quality}]
        for name, quality in {"lm-hmd-2": 2.5, "lm-lmf-2": 2.4, "lm-pruned-2": 2.6, "kws_gru-hmd-3": 0.8}.items()
    }
    times = {"lm-hmd-2": 2.0, "lm-hmd-3": 2.0, "lm-hmd-4": 2.0, "lm-lmf-2": 3.0, "lm-pruned-2": 1.0}
    rows = {name: {"minimum_us": times.get(name, 2.0)} for name in SPECS if name.startswith("lm-")}
    table = compare_with_other_methods(results, {"lm": {"rows": rows}})
    assert "| low rank (LMF) | 0 of 1 | 1 of 3 | 1.00x to 1.50x, 1.00x |" in table  # fewer bits are better
    assert "| magnitude pruning | 1 of 1 | 0 of 3 | 0.50x to 1.00x, 1.00x |" in table and "fewer units" not in table


def test_a_trained_start_goes_on_from_the_dense_row(tmp_path):
    bench = Bench(RunFolder(tmp_path), PROTOCOL.model_copy(update={"start": "trained"}), {})
    model = bench.model(SPECS["lm-pruned-2"], 0)
    assert bench.done(SPECS["lm-dense"], 0)
    dense = torch.load(tmp_path / "lm-dense-0/model.pt", weights_only=True)
    [matrix, *_] = model.layer_gates["rnn.0"].matrices()
    assert torch.equal(matrix.weight, dense["rnn.0.weight_ih_l0"])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("rows=lm-hmd", "nearest: 'lm-hmd-4'"),
        ("seeds=a", "seeds are whole numbers"),
        ("protocol=shrt", "nearest: 'short'"),
        ("lm_step=3", "nearest: 'lm_steps'"),
        ("lm_steps=0", "lm_steps"),
    ],
)
def test_a_wrong_argument_gives_an_error_of_one_line(argument, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        run("hmd", [argument])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_paths_are_not_published():
    assert public_argument("speech=/home/me/sc", DATA_SETS) == "speech=SPEECH_COMMANDS"
