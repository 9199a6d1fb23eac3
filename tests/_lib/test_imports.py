"""Importing gatesearch changes nothing of the process that imports it."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import gatesearch

# Compares the settings of the process before and after each import; what its dependencies do when they are imported
# first is not ours, so those come before.
PROBE = """
import importlib, json, logging, os, signal, sys, threading, warnings
import matplotlib, numpy, omegaconf, optuna, pydantic, pytorch_lightning, scipy.stats, torch, torchmetrics, typer
import torch._dynamo, torch.export, pytorch_lightning.loggers
try:
    import ray.tune.search
except ImportError:
    pass

def state():
    loggers = {name: logger for name, logger in logging.root.manager.loggerDict.items()
               if isinstance(logger, logging.Logger) and not name.startswith("gatesearch")}
    return {
        "levels": {name: logger.level for name, logger in loggers.items() if name in WATCHED},
        "optuna": optuna.logging.get_verbosity(),
        "root": logging.root.level,
        "handlers": len(logging.root.handlers),
        "filters": [str(entry[:4]) for entry in warnings.filters],
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "dtype": str(torch.get_default_dtype()),
        "gradients": torch.is_grad_enabled(),
        "random": torch.random.get_rng_state().sum().item(),
        "numpy": int(numpy.random.get_state()[1].sum()),
        "environment": dict(os.environ),
        "interrupt": str(signal.getsignal(signal.SIGINT)),
        "hook": sys.excepthook.__module__,
        "running": threading.active_count(),
    }

WATCHED = {"optuna", "pytorch_lightning", "lightning_utilities", "torch", "lightning", "ray", "matplotlib"}
logging.getLogger("pytorch_lightning").setLevel(logging.DEBUG)
logging.getLogger("lightning_utilities").setLevel(logging.DEBUG)
optuna.logging.set_verbosity(optuna.logging.DEBUG)
changes, before = {}, state()
for name in json.loads(sys.stdin.read()):
    try:
        importlib.import_module(name)
    except ImportError:
        continue  # an extra that is not installed
    after = state()
    difference = [key for key in before if before[key] != after[key]]
    if difference:
        changes[name] = difference
    before = after
print(json.dumps(changes))
"""


def test_no_module_changes_a_setting_of_the_process_when_it_is_imported(tmp_path: Path) -> None:
    packages = pkgutil.walk_packages(gatesearch.__path__, "gatesearch.")
    names = sorted(module.name for module in packages if not module.name.endswith("__main__"))
    assert len(names) > 200
    ended = subprocess.run(
        [sys.executable, "-c", PROBE], input=json.dumps(names), capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert json.loads(ended.stdout.splitlines()[-1]) == {}
