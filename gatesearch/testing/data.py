"""The conformance suite of data sets: tests of the promises that a data set has to keep.

Derive a class in your own tests. pytest runs the tests that the class inherits. Each failure says which promise is
broken:

    class TestMyData(DatasetConformance):
        def load(self):
            return load_dataset("my_package.data:load", root="recordings")
"""

from __future__ import annotations

from itertools import combinations

import torch

from gatesearch.data import Dataset, Split, check_dataset
from gatesearch.errors import DataError
from gatesearch.testing._suite import fixed_torch_seed


class DatasetConformance:
    """Tests the promises of :class:`gatesearch.data.Dataset` that its constructor does not check."""

    def load(self) -> Dataset:
        """Load and return the data set; each call loads it again."""
        raise NotImplementedError

    def _load(self) -> Dataset:
        """Load the data set; an error in its constructor becomes a failure of the test."""
        try:
            return self.load()
        except DataError as error:
            raise AssertionError(str(error)) from error

    def splits(self) -> dict[str, Split]:
        """Return the splits by name."""
        with fixed_torch_seed():
            data = self._load()
        return {"train": data.train, "validation": data.validation, "test": data.test}

    def test_inputs_are_finite_and_of_one_shape(self) -> None:
        """No split is empty, inputs are finite, and all splits have the same shape and type."""
        splits = self.splits()
        for name, split in splits.items():
            assert len(split), f"the {name} split is empty"
            assert bool(split.inputs.isfinite().all()), f"the {name} split has inputs that are not finite"
            assert split.labels.dtype == torch.int64, f"labels of the {name} split are {split.labels.dtype}, not int64"
        shapes = {name: (tuple(split.inputs.shape[1:]), split.inputs.dtype) for name, split in splits.items()}
        assert len(set(shapes.values())) == 1, f"splits differ in shape or type: {shapes}"

    def test_a_run_accepts_the_data_set(self) -> None:
        """A run accepts all values, kinds and splits; :func:`gatesearch.data.check_dataset` does the checks."""
        data = self._load()
        try:
            check_dataset(data)
        except DataError as error:
            raise AssertionError(str(error)) from error

    def test_splits_do_not_overlap(self) -> None:
        """No sample's name is in two splits."""
        for (first, one), (second, two) in combinations(self.splits().items(), 2):
            common = sorted(set(one.names) & set(two.names))
            assert not common, f"{common[0]!r} is in the {first} and in the {second} split"

    def test_classes_are_named_once(self) -> None:
        """Every class has a name of its own."""
        classes = self._load().classes
        doubles = sorted({name for name in classes if classes.count(name) > 1})
        assert not doubles, f"class {doubles[0]!r} is named more than once"
        assert all(name for name in classes), "a class has no name"

    def test_there_is_a_positive_class(self) -> None:
        """There is a positive class, and the training split has a positive sample."""
        data = self._load()
        assert any(data.positive), "no class is a positive: nothing would ever be reported"
        assert bool(data.is_positive(data.train.labels).any()), "the training split has no positive"

    def test_every_class_is_in_the_training_split(self) -> None:
        """The training split has at least one sample of each class."""
        data = self._load()
        present = set(data.train.labels.tolist())
        absent = [name for label, name in enumerate(data.classes) if label not in present]
        assert not absent, f"the training split has no sample of class {absent[0]!r}"

    def test_noise_fits_the_inputs(self) -> None:
        """Recordings of noise are at least as long as a clip, and a sample rate is positive."""
        data = self._load()
        if data.sample_rate is not None:
            assert data.sample_rate > 0, f"sample_rate is {data.sample_rate}"
        if data.noise is not None:
            samples, needed = data.noise.shape[-1], data.train.inputs.shape[-1]
            assert data.noise.ndim == 2 and samples >= needed, f"noise {list(data.noise.shape)} is shorter than a clip"

    def test_loading_is_deterministic(self) -> None:
        """Two loads with the same arguments give the same splits."""
        first, second = self.splits(), self.splits()
        for name, split in first.items():
            same = torch.equal(split.inputs, second[name].inputs) and torch.equal(split.labels, second[name].labels)
            assert same and split.names == second[name].names, f"the {name} split differs from load to load"

    def test_name_and_source_are_stated(self) -> None:
        """The data set has a name and a source, which reports show."""
        data = self._load()
        assert data.name and data.source, "name and source must say what the data are"
