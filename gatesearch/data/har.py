"""Loads windows of human activities from accelerometer and gyroscope, recorded or synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from gatesearch.data.activities import CLASSES, SUBJECTS, TEST_SUBJECTS, WINDOW_STEPS, make_windows
from gatesearch.data.archives import Arrays, check_whole, read_archive
from gatesearch.data.labels import positive_flags
from gatesearch.data.types import Dataset, Split
from gatesearch.errors import UserError

FILE = "har_windows.npz"
KEYS = ("x", "y", "subject", "is_test", "classes")


def load(
    root: str | None = None,
    seed: int = 0,
    positives: Sequence[str] | str = "all",
    validation_subjects: int = 4,
    windows_per_subject: int = 130,
) -> Dataset:
    """Load windows of six axes, split so that no subject is in two splits.

    Args:
        root: an .npz, or a folder with ``har_windows.npz``; None makes a synthetic set. The .npz holds ``x``
            [N, steps, 6] (three axes of acceleration, three of rotation), ``y`` [N] with indices into ``classes``,
            ``subject`` [N], ``is_test`` [N] and ``classes``.
        seed: the seed of the choice of validation subjects, and of the synthetic set.
        positives: the classes to wake for, with all others as negatives; or ``"all"``, for no negatives.
        validation_subjects: number of subjects for validation, out of those that are not for test.
        windows_per_subject: number of windows of each subject in the synthetic set.

    Returns:
        A data set of float windows [N, steps, 6].

    Raises:
        UserError: the file does not exist or has another form, a positive is no class, or there are too few subjects or
            windows.

    >>> data = load(windows_per_subject=10)
    >>> data.train.inputs.shape[1:], data.synthetic, data.classes[:2]
    (torch.Size([128, 6]), True, ('SEATED', 'SITTING_DOWN'))
    """
    if root is None:
        if windows_per_subject < len(CLASSES):
            raise UserError(f"data.windows_per_subject: {windows_per_subject!r}; wanted: {len(CLASSES)} or more")
        x, y, subject = make_windows(seed, windows_per_subject)
        arrays: Arrays = {
            "x": x, "y": y, "subject": subject, "is_test": subject >= SUBJECTS - TEST_SUBJECTS,
            "classes": np.array(CLASSES),
        }  # fmt: skip
        name, source = "synthetic activities", (
            f"synthetic: {SUBJECTS} made-up subjects with a gait and a way to wear the device of their own, "
            f"{WINDOW_STEPS} steps of six axes; says nothing about real activities"
        )  # fmt: skip
    else:
        path = Path(root).expanduser()
        path = path / FILE if path.is_dir() else path
        arrays = _read(path)
        name, source = "activities", f"recorded windows of six axes ({path.name}), {len(arrays['y']):,} of them"
    classes = tuple(str(c) for c in arrays["classes"])
    flags = positive_flags(classes, positives)
    candidates = np.unique(arrays["subject"][~arrays["is_test"]])
    if not 0 < validation_subjects < len(candidates):
        raise UserError(f"data.validation_subjects: {validation_subjects!r}; wanted: 1 to {len(candidates) - 1}")
    held_out = draw_subjects(candidates, validation_subjects, seed)
    is_validation = np.isin(arrays["subject"], held_out)
    chosen = {
        "train": ~arrays["is_test"] & ~is_validation,
        "validation": is_validation & ~arrays["is_test"],
        "test": arrays["is_test"],
    }
    splits = {split: _split(arrays, np.flatnonzero(rows)) for split, rows in chosen.items()}
    tests = ", ".join(map(str, np.unique(arrays["subject"][chosen["test"]])))
    return Dataset(
        name=name,
        source=f"{source}; tested on subjects {tests}, validated on {', '.join(map(str, held_out))}",
        synthetic=root is None,
        classes=classes,
        positive=flags,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
    )


def draw_subjects(candidates: npt.NDArray[np.integer], count: int, seed: int) -> npt.NDArray[np.integer]:
    """Return the validation subjects, sorted; windows and streams call it, and so hold out the same subjects."""
    return np.sort(np.random.default_rng([seed, 2]).choice(candidates, count, replace=False))


def _split(arrays: Arrays, rows: npt.NDArray[np.intp]) -> Split:
    return Split(
        torch.from_numpy(arrays["x"][rows].astype(np.float32)),
        torch.from_numpy(arrays["y"][rows].astype(np.int64)),
        tuple(f"subject{arrays['subject'][row]:02d}/{row:05d}" for row in rows),
    )


def _read(path: Path) -> Arrays:
    """Read the arrays of a file of windows, and check that they fit each other."""
    where = f"data.root: {str(path)!r}"
    arrays = read_archive(path, where)
    for key in KEYS:
        if key not in arrays:
            raise UserError(f"{where}: has no array {key!r}; wanted: {', '.join(KEYS)}")
    x = arrays["x"]
    if x.ndim != 3 or x.dtype.kind not in "iuf":
        raise UserError(f"{where}: x is {list(x.shape)} of {x.dtype}; wanted: finite windows [N, steps, axes]")
    if not len(x) == len(arrays["y"]) == len(arrays["subject"]) == len(arrays["is_test"]):
        raise UserError(f"{where}: x, y, subject and is_test differ in length")
    for row in np.flatnonzero(~np.isfinite(x.astype(np.float64)).all(axis=(1, 2)))[:1]:
        raise UserError(f"{where}: window {row} of x is not finite; fix it or leave it out")
    if arrays["classes"].ndim != 1 or arrays["classes"].dtype.kind != "U":
        form = f"{arrays['classes'].dtype} {list(arrays['classes'].shape)}"
        raise UserError(f"{where}: classes is {form}; wanted: names [classes]")
    check_whole(arrays["y"], "y", where, count=len(x), most=arrays["classes"].size - 1)
    check_whole(arrays["subject"], "subject", where, count=len(x))
    # NumPy would read a mask of 0 and 1 in an integer type as indices.
    is_test = arrays["is_test"]
    if is_test.shape != (len(x),) or not np.isin(is_test, (0, 1)).all():
        raise UserError(f"{where}: is_test is {is_test.dtype} {list(is_test.shape)}; wanted: true or false [{len(x)}]")
    arrays["is_test"] = is_test = is_test.astype(bool)
    if not is_test.any() or is_test.all():
        raise UserError(f"{where}: is_test leaves one of the splits empty")
    if np.isin(arrays["subject"][is_test], arrays["subject"][~is_test]).any():
        raise UserError(f"{where}: a subject is both in test and in training; split by subject")
    return arrays
