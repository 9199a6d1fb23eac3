"""Tests of the sampler's Gaussian process: its predictions, their uncertainty, and degenerate data."""

from __future__ import annotations

import numpy as np
import pytest

from gatesearch.search.sampler.gp import GaussianProcess


def test_the_process_fits_a_smooth_function_and_is_unsure_far_from_data():
    generator = np.random.default_rng(0)
    inputs = generator.uniform(-1, 1, (40, 3))
    process = GaussianProcess(inputs, (np.sin(2 * inputs[:, 0]) + inputs[:, 1] ** 2)[:, None])
    queries = generator.uniform(-1, 1, (100, 3))
    mean, deviation = (values[:, 0] for values in process.predict(queries))
    error = mean - (np.sin(2 * queries[:, 0]) + queries[:, 1] ** 2)
    assert np.abs(error).mean() < 0.15 * np.std(error - mean)
    assert np.mean(np.abs(error) < 3 * deviation) > 0.9
    assert process.predict(np.full((1, 3), 5.0))[1][0, 0] > 3 * deviation.mean()


def test_noise_and_signal_are_separated():
    generator = np.random.default_rng(1)
    inputs = generator.uniform(-1, 1, (60, 2))
    process = GaussianProcess(inputs, (inputs[:, 0] + generator.normal(0, 0.5, 60))[:, None])
    mean, _ = process.predict(np.array([[-0.8, 0.0], [0.8, 0.0]]))
    assert 0.8 < mean[1, 0] - mean[0, 0] < 2.4


def test_a_constant_input_changes_nothing():
    inputs = np.array([[0.0, 1.0], [0.5, 1.0], [1.0, 1.0]])
    process = GaussianProcess(inputs, np.array([[0.0], [0.5], [1.0]]))
    same, other = process.predict(np.array([[0.25, 1.0], [0.25, 7.0]]))[0]
    assert same == other


def test_equal_observations_are_predicted_everywhere():
    mean, deviation = GaussianProcess(np.eye(3), np.full((3, 1), 2.0)).predict(np.ones((1, 3)))
    assert mean[0, 0] == 2.0 and deviation[0, 0] < 1e-6


def test_without_inputs_the_mean_of_the_observations_is_predicted():
    mean, _ = GaussianProcess(np.zeros((2, 0)), np.array([[1.0], [3.0]])).predict(np.zeros((1, 0)))
    assert mean[0, 0] == pytest.approx(2.0)


def test_several_quantities_share_their_hyperparameters_and_keep_their_scales():
    generator = np.random.default_rng(2)
    inputs = generator.uniform(-1, 1, (30, 2))
    values = np.column_stack([inputs[:, 0], 100 - 50 * inputs[:, 1]])
    mean, deviation = GaussianProcess(inputs, values).predict(np.array([[0.5, -0.5]]))
    assert mean[0].tolist() == pytest.approx([0.5, 125.0], rel=0.05)
    assert deviation[0, 1] == pytest.approx(50 * deviation[0, 0], rel=0.3)


def test_hyperparameters_are_fitted_at_few_sizes_and_equal_those_of_a_new_process():
    generator = np.random.default_rng(3)
    inputs = generator.uniform(-1, 1, (25, 2))
    values = inputs[:, :1] ** 2
    fits: dict = {}
    for count in range(4, 26):
        grown = GaussianProcess(inputs[:count], values[:count], fits)
    assert 2 <= len(fits) <= 8
    new = GaussianProcess(inputs, values)
    np.testing.assert_array_equal(grown.predict(inputs[:3])[0], new.predict(inputs[:3])[0])
