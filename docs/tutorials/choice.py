"""Chooses before and after a search: forecasts a run, gives it more trials, takes another plan, and compares both."""

# --8<-- [start:forecast]
from gatesearch.cli import app

SMALL = [
    "data.clips_per_class=120",
    "data.positives=[up,down]",
    "augment.renditions=1",
    "training.epochs=20",
    "training.batch_size=16",
    "training.averaging=0",
    "search.epochs=1",
    "retrain.epochs=2",
    "space.gates={min: 0, max: 1}",
    "constraints.max_accuracy_drop=1.0",
    "constraints.min_gate_recall=null",
    "verify.gate_agreement=0.5",
    "verify.prediction_agreement=0.5",
]
app.main(["run", "recipe=kws_clips.yaml", *SMALL, "search.trials=4", "dry_run=true"])
# --8<-- [end:forecast]
# --8<-- [start:run]
app.main(["run", "recipe=kws_clips.yaml", *SMALL, "search.trials=4", "out=runs/words"])
app.main(["run", "resume=runs/words", "search.trials=6"])  # goes on with the finished run
# --8<-- [end:run]
# --8<-- [start:pick]
app.main(["pick", "runs/words"])  # lists the front
app.main(["pick", "runs/words", "objective=latency"])  # another plan, in runs/words/picks/DIGEST
# --8<-- [end:pick]
# --8<-- [start:compare]
from pathlib import Path  # noqa: E402

picks = sorted(map(str, Path("runs/words/picks").iterdir()))
app.main(["compare", "runs/words", *picks])
# --8<-- [end:compare]
