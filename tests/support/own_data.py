"""A data set of somebody's own in an .npz file, and a problem that names it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PROBLEM = """\
summary = "three kinds of noisy stripes"
source = "a test"
dataset = "{dataset}"
architecture = "mlp"
width = 0.02
placements = ["hidden"]
seeds = [1, 2]
split_seed = 7

[training]
batch_size = 8
epochs = 2
learning_rate = 0.05

[tiny.training]
epochs = 1
"""


def own_arrays(
    *,
    train: int = 60,
    test: int = 21,
    valid: int = 0,
    shape: tuple[int, ...] = (9, 7, 2),
    classes: int = 3,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Noise around a value that depends on the class, by the names of the arrays."""
    random = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for part, count in (("train", train), ("test", test), ("valid", valid)):
        if count:
            labels = np.arange(count) % classes
            noise = random.integers(0, 60, (count, *shape))
            arrays[f"{part}_images"] = (60 * labels.reshape(-1, *[1] * len(shape)) + noise).astype(np.uint8)
            arrays[f"{part}_labels"] = labels
    return arrays


def write_own_problem(folder: Path, *, name: str = "mine", arrays: dict[str, np.ndarray] | None = None) -> Path:
    """Write `stripes.npz` beside a problem file that names it; returns the problem file."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "stripes.npz", **(own_arrays() if arrays is None else arrays))
    path = folder / f"{name}.toml"
    path.write_text(PROBLEM.format(dataset="stripes.npz"), encoding="utf-8")
    return path
