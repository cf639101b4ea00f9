"""The problems that ship, by the files that lie in the folder, and facts about their data."""

from __future__ import annotations

from pathlib import Path

FOUNDING = ["cifar100_3c3d", "cifar100_allcnnc", "cifar10_3c3d", "digits_3c3d", "digits_allcnnc", "digits_mlp"]
NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "problems").glob("*.toml"))
DEEP = [name for name in NAMES if "resnet" in name or "vgg" in name]
CLASSES = {"cifar10": 10, "cifar100": 100, "digits": 10, "fmnist": 10}
CHANNELS = {"cifar10": 3, "cifar100": 3, "digits": 1, "fmnist": 1}
