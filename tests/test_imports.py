"""Tests that importing a module of the package changes no setting of the process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gatesearch

PACKAGE = Path(gatesearch.__file__).parent
# This program runs in a new process, because the process of the tests has already imported the package. The program
# first imports packages of other projects, so that changes which these packages make do not count.
PROGRAM = """
import importlib, json, logging, os, random, signal, sys, threading, warnings

OUTSIDE = (
    "numpy scipy torch torchmetrics pytorch_lightning optuna pydantic yaml platformdirs typer rich sklearn soundfile "
    "matplotlib.pyplot jinja2 optuna_dashboard onnx onnxruntime ai_edge_litert.interpreter litert_torch hypothesis "
    "pytest ai_edge_quantizer.quantizer tflite_micro ethosu.vela ray.tune"
).split()
for name in OUTSIDE:
    try:
        importlib.import_module(name)
    except ImportError:
        pass

import numpy, torch

# A module that sets a level to what it is by default shows only where the user has set another.
for name in ("pytorch_lightning", "lightning_utilities", "optuna"):
    logging.getLogger(name).setLevel(logging.DEBUG)


def loggers():
    names = ["", *sorted(logging.Logger.manager.loggerDict)]
    return {
        name: (logger.level, logger.propagate, logger.disabled, [repr(handler) for handler in logger.handlers])
        for name in names
        if not name.startswith("gatesearch") and isinstance(logger := logging.getLogger(name), logging.Logger)
    }


def state():
    return {
        "log levels and handlers": loggers(),
        "logging.disable": logging.root.manager.disable,
        "warning filters": [repr(entry) for entry in warnings.filters],
        "warnings.showwarning": repr(warnings.showwarning),
        "environment": dict(os.environ),
        "working folder": os.getcwd(),
        "sys.path": list(sys.path),
        "signal handlers": {number: repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "excepthook": repr(sys.excepthook),
        "streams": (repr(sys.stdout), repr(sys.stderr)),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "torch threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch types": (torch.get_default_dtype(), torch.get_float32_matmul_precision()),
        "torch modes": (torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled()),
        "numpy errors": numpy.geterr(),
        "random numbers": (random.getstate()[1][:3], int(numpy.random.get_state()[1].sum())),
        "torch random numbers": torch.get_rng_state().sum().item(),
        "recursion limit": sys.getrecursionlimit(),
        "umask": (lambda mask: (os.umask(mask), mask)[1])(os.umask(0o22)),
    }


for module in json.loads(sys.argv[1]):
    before = state()
    try:
        importlib.import_module(module)
    except ImportError as error:
        print("skipped", module, error)
        continue
    after = state()
    for name, value in after.items():
        # A logger that is new, without a level or a handler, is no change.
        if name == "log levels and handlers":
            value = {key: entry for key, entry in value.items() if key in before[name] or entry[0] or entry[3]}
        if value != before[name]:
            print("CHANGED", module, name)
"""


def test_importing_a_module_changes_nothing(tmp_path: Path) -> None:
    paths = sorted(PACKAGE.rglob("*.py"))
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths]
    modules = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
    assert len(modules) > 200
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(modules)], capture_output=True, text=True, cwd=tmp_path, timeout=600
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert not [line for line in lines if line.startswith("CHANGED")]
    assert len([line for line in lines if line.startswith("skipped")]) < len(modules) / 10, lines
