"""Generates synthetic accelerometer and gyroscope windows, to try recipes without a data set.

Each simulated subject has a gait, a strength and a way to wear the device. A window is a movement of the body, rotated
into the device's axes, with noise. Figures from such data are labelled synthetic, because they say nothing about real
activities.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

CLASSES = ("SEATED", "SITTING_DOWN", "STANDING_UP", "TURNING", "WALKING")
WINDOW_STEPS = 128
SAMPLE_RATE = 50.0  # steps a second
SUBJECTS, TEST_SUBJECTS = 20, 5
GRAVITY = 9.81  # m/s^2
LEAN_RADIANS = 1.1  # angle between the thigh of a sitting and of a standing person

Array = npt.NDArray[np.float64]


def make_windows(seed: int, windows_per_subject: int) -> tuple[Array, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Make windows [N, 128, 6] (acceleration in m/s^2, rotation in rad/s), their labels [N] and subjects [N].

    The same arguments give the same windows. Each subject has every class nearly equally often.
    """
    parts = [_subject(np.random.default_rng([seed, 7, number]), windows_per_subject) for number in range(SUBJECTS)]
    x, y = (np.concatenate(column) for column in zip(*parts, strict=True))
    return x, y, np.repeat(np.arange(SUBJECTS), windows_per_subject)


def _subject(rng: np.random.Generator, count: int) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return windows and labels of one simulated subject with a random pace, strength, speed and mounting."""
    labels = rng.permutation(np.arange(count) % len(CLASSES))
    pace, strength, speed = rng.uniform(1.5, 2.3), rng.uniform(0.6, 1.4), rng.uniform(0.7, 1.4)
    mounting = Rotation.from_euler("xyz", rng.normal(0, 0.35, 3))
    t = np.arange(WINDOW_STEPS) / SAMPLE_RATE
    windows = []
    for label in labels:
        name = CLASSES[label]
        pitch, yaw_rate = np.full(WINDOW_STEPS, LEAN_RADIANS), np.zeros(WINDOW_STEPS)
        body = np.zeros((WINDOW_STEPS, 3))  # acceleration of the body in m/s^2: ahead, sideways, up
        if name in ("SITTING_DOWN", "STANDING_UP"):
            # The thigh turns along a logistic curve, and its angular acceleration moves the body up and down.
            rise = 1 / (1 + np.exp(-(t - rng.uniform(0.8, 1.8)) * 5 * speed * rng.uniform(0.8, 1.25)))
            pitch = LEAN_RADIANS * (rise if name == "SITTING_DOWN" else 1 - rise)
            body[:, 2] = 1.5 * strength * np.gradient(np.gradient(pitch, t), t) * rng.uniform(0.1, 0.25)
        elif name in ("WALKING", "TURNING"):
            # Each step swings the body ahead and up. The sideways swing has half the frequency, because left and right
            # steps alternate.
            pitch = 0.15 * np.sin(np.pi * pace * t + rng.uniform(0, 2 * np.pi))
            phase = 2 * np.pi * pace * rng.uniform(0.9, 1.1) * t + rng.uniform(0, 2 * np.pi)
            slow = rng.uniform(0.5, 0.9) if name == "TURNING" else 1.0
            swing = np.stack([np.sin(phase), 0.6 * np.sin(phase / 2), 1.3 * np.cos(phase) + 0.4 * np.cos(2 * phase)], 1)
            body = 1.6 * strength * slow * swing
            if name == "TURNING":  # one bell-shaped pulse of the yaw rate, to a random side
                middle, width = rng.uniform(0.5, 2.0), rng.uniform(0.35, 0.7)
                side = rng.choice([-1.0, 1.0])
                yaw_rate = side * rng.uniform(0.7, 2.0) * np.exp(-(((t - middle) / width) ** 2))
            else:
                yaw_rate = 0.35 * np.sin(phase / 2)
        # Acceleration and rotation are computed in the axes of the body, and then rotated into the axes of the device.
        # Each window has the subject's mounting with a small random change, and sensor noise.
        up = np.stack([np.sin(pitch), np.zeros(WINDOW_STEPS), np.cos(pitch)], 1)
        rotation = np.stack([0.1 * body[:, 1], np.gradient(pitch, t), yaw_rate], 1)
        orientation = mounting * Rotation.from_euler("xyz", rng.normal(0, 0.12, 3))
        window = np.concatenate([orientation.apply(GRAVITY * up + body), orientation.apply(rotation)], 1)
        windows.append(window + rng.normal(0, [0.5] * 3 + [0.2] * 3, window.shape))
    return np.stack(windows), labels
