"""The data of a run, on its device."""

from __future__ import annotations

import torch

from bnbench.data.own_arrays import dataset_of
from bnbench.data.pipeline import ImagePipeline
from bnbench.data.subset import subset
from bnbench.errors import UserError
from bnbench.plan import RunSpec


def load_pipeline(spec: RunSpec, device: torch.device) -> ImagePipeline:
    """The run's data on its device.

    Raises:
        UserError: the data are missing, or are not those that the run was planned with.
    """
    dataset = dataset_of(spec.data.name, spec.data.file)
    found = dataset.facts(spec.split_seed)
    if (found.fingerprint, found.split) != (spec.data.fingerprint, spec.data.split):
        raise UserError(f"dataset '{dataset.name}' changed after the run was planned", hint="Start the command again.")
    whole = dataset.splits(spec.split_seed)
    return ImagePipeline(
        subset(whole, spec.split_seed, training=spec.training.images, evaluation=spec.evaluation.images),
        dataset=dataset,
        image_size=spec.input_shape[1],
        augmentation=spec.augmentation,
        device=device,
    )
