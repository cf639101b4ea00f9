"""Paired by construction: what a trainer feeds its network, bit for bit, for every variant and two placements."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bnbench.data.augmentation import draw_parameters
from support.networks import FIVE, digest, pipeline, run_spec, train, trainer

PLACEMENTS = ("hidden", "output:4")


def fed(spec):
    """Digests of the initial weights, and of every training batch's images, labels and dropout masks."""
    run = trainer(spec)
    seen = {
        "weights": {name: digest(slot.linear.weight) for name, slot in run.network.slots.items()},
        "images": [],
        "labels": [],
        "masks": [],
    }

    def listen(_, arguments):
        if len(arguments) == 1:  # an evaluation
            return None
        images, draws = arguments
        seen["images"].append(digest(images))

        def overheard(layer, rate, like):
            mask = draws.dropout(layer, rate, like)
            seen["masks"].append((layer, digest(mask)))
            return mask

        return images, SimpleNamespace(dropout=overheard)

    training_batch = run._pipeline.training_batch

    def labelled(indices, parameters):
        images, labels = training_batch(indices, parameters)
        seen["labels"].append(digest(labels))
        return images, labels

    run._pipeline.training_batch = labelled
    run.network.register_forward_pre_hook(listen)
    told = train(run)
    assert len(seen["images"]) == run.total_steps
    return seen, told


@pytest.fixture(scope="module")
def reference():
    return fed(run_spec("bn_gamma_beta", "hidden", architecture="allcnnc"))


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("variant", FIVE, ids=lambda row: row.name)
def test_variants_and_placements_share_weights_batches_and_masks(reference, variant, placement):
    seen, told = fed(run_spec(variant, placement, architecture="allcnnc"))
    assert seen == reference[0]
    same_run = (variant.name, placement) == ("bn_gamma_beta", "hidden")
    assert (told.column("batch_loss").tobytes() == reference[1].column("batch_loss").tobytes()) is same_run


def test_learning_rates_share_them_too(reference):
    assert fed(run_spec("bn_gamma_beta", architecture="allcnnc", lr_factor=0.1))[0] == reference[0]


def test_nothing_is_fed_twice(reference):
    seen, _ = reference
    assert len(seen["images"]) == len(set(seen["images"])) == 16
    assert len(seen["masks"]) == len(set(seen["masks"])) == 16 * 3
    assert [layer for layer, _ in seen["masks"][:3]] == ["dropout0", "dropout3", "dropout6"]


def test_seeds_differ_in_all_of_them(reference):
    other, _ = fed(run_spec("bn_gamma_beta", architecture="allcnnc", seed=8))
    for stream in ("images", "labels", "masks"):
        assert not set(map(str, other[stream])) & set(map(str, reference[0][stream]))
    assert not set(other["weights"].values()) & set(reference[0]["weights"].values())


def test_other_training_settings_share_them_too(reference):
    seen, _ = fed(run_spec("bn_gamma_beta", architecture="allcnnc", l2=0.0, momentum=0.9, epochs=1))
    assert seen["images"] == reference[0]["images"][:8]
    assert seen["masks"] == reference[0]["masks"][:24]
    assert seen["weights"] == reference[0]["weights"]


def test_order_and_augmentation_are_those_of_their_definition(reference):
    """Keys hashed here, generators of this test: nothing of the loop's own is asked."""
    spec = run_spec("bn_gamma_beta", architecture="allcnnc")
    data = pipeline(spec)

    def keyed(stream, epoch):
        text = f"bnbench/7/{stream}/{epoch}"
        return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))

    expected = []
    for epoch in (1, 2):
        order = torch.randperm(67, generator=keyed("order", epoch))
        parameters = draw_parameters(spec.augmentation, 67, keyed("augmentation", epoch))
        assert np.unique(order.numpy()).size == 67
        for start in range(0, 64, 8):  # the incomplete last batch is dropped
            images, _ = data.training_batch(order[start : start + 8], parameters)
            expected.append(digest(images))
    assert expected == reference[0]["images"]
