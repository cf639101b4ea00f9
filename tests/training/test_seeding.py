"""The keyed streams and the dropout hash, against NumPy's unsigned 32-bit arithmetic."""

import hashlib

import numpy as np
import pytest
import torch
from scipy import stats

from bnbench.training.seeding import derive, dropout_mask, generator
from support.networks import same_bits


def key(*parts):
    """The 64-bit key of a place in a stream, from its definition."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, ("bnbench", *parts))).encode()).digest()[:8], "big")


def lowbias32(x):
    """Wellons's hash of 32-bit numbers, in unsigned arithmetic that wraps."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def kept(seed, step, layer, rate, count):
    """Which of `count` elements are kept, in the order of memory."""
    bits = key(seed, "dropout", layer, step)
    x = np.arange(count, dtype=np.uint32)
    x = lowbias32(x + np.uint32(bits & 0xFFFFFFFF))
    x = lowbias32(x + np.uint32(bits >> 32))
    # The lowest signed number counts as 0, so the sign bit flips.
    return (x ^ np.uint32(1 << 31)).astype(np.int64) < round((1 - rate) * 2**32)


def mask(shape, *, seed=1, step=0, layer="dropout3", rate=0.5):
    return dropout_mask(seed, step, layer, rate, torch.empty(shape))


def test_derive_is_the_hash_of_its_definition():
    assert derive(4842821, "weights", "conv1") == key(4842821, "weights", "conv1")
    assert derive(1, "order", 12) == key(1, "order", 12)
    # Written down, so that a change, which changes every result, is noticed (and NUMERICS_VERSION raised).
    assert derive(4842821, "weights", "conv1") == 0xF31EB797DD7C8C4B


def test_places_have_keys_of_their_own():
    places = [(s, stream, k) for s in range(20) for stream in ("weights", "order", "augmentation") for k in range(50)]
    assert len({derive(*place) for place in places}) == len(places)


def test_generators_repeat_and_differ():
    draws = {
        place: torch.rand(4, generator=generator(*place)).numpy().tobytes()
        for place in [
            (1, "order", 1),
            (1, "order", 2),
            (2, "order", 1),
            (1, "augmentation", 1),
            (1, "weights", "conv1"),
        ]
    }
    assert len(set(draws.values())) == len(draws)
    assert torch.rand(4, generator=generator(1, "order", 1)).numpy().tobytes() == draws[1, "order", 1]


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("count", [1, 1000, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 3 << 16])
def test_the_mask_is_the_keyed_hash(count, rate):
    ours = mask((1, count), seed=4842821, step=17, layer="dropout6", rate=rate)
    expected = kept(4842821, 17, "dropout6", rate, count) * np.float32(1 / (1 - rate))
    np.testing.assert_array_equal(ours.numpy()[0], expected)


def test_elements_are_numbered_channels_last():
    shape = (3, 5, 4, 2)
    flat = kept(1, 0, "dropout3", 0.5, 3 * 5 * 4 * 2)
    ours = mask(shape)
    assert ours.shape == shape
    assert ours.is_contiguous(memory_format=torch.channels_last)
    for n, c, h, w in np.ndindex(shape):
        assert ours[n, c, h, w] == 2.0 * flat[((n * 4 + h) * 2 + w) * 5 + c]


def test_a_mask_does_not_depend_on_the_memory_order_of_the_activations():
    plain = torch.empty(2, 3, 4, 4)
    last = plain.contiguous(memory_format=torch.channels_last)
    assert same_bits(dropout_mask(1, 2, "d", 0.5, plain), dropout_mask(1, 2, "d", 0.5, last))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_mask_has_the_type_of_the_activations(dtype):
    ours = dropout_mask(1, 0, "d", 0.5, torch.empty((4, 100), dtype=dtype))
    assert ours.dtype == dtype
    assert set(ours.flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(ours.float(), mask((4, 100), layer="d"))


def test_rate_zero_keeps_everything():
    assert torch.equal(mask((10, 10_000), rate=0.0), torch.ones(10, 10_000))


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.8])
def test_the_share_that_is_kept(rate):
    count = 1 << 18
    share = mask((1, count), rate=rate).count_nonzero().item() / count
    assert abs(share - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / count)


def test_the_hash_is_uniform():
    # The masks of nested rates share their hashes, so they tell how these fall into twenty bins.
    count, bins = 1 << 18, 20
    below = [mask((1, count), rate=1 - k / bins).count_nonzero().item() for k in range(1, bins)]
    observed = np.diff([0, *below, count])
    assert stats.chisquare(observed).pvalue > 1e-3


def correlation(a, b):
    """Of two masks, in standard errors."""
    return abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) * np.sqrt(a.size)


def test_masks_of_different_places_are_independent():
    base = {"seed": 1, "step": 0, "layer": "dropout3"}
    others = [{"step": step} for step in (*range(1, 9), 256, 65536)]
    others += [{"seed": seed} for seed in (0, 2, 3, 4842821)] + [{"layer": name} for name in ("dropout0", "dropout6")]
    shape = (1, 200_000)
    first = mask(shape, **base).numpy()
    for other in others:
        assert correlation(first, mask(shape, **(base | other)).numpy()) < 4, other


def test_neighbouring_elements_are_independent():
    # 64 images of 32 × 32 × 3: along channels, rows, columns and images, and a few powers of two apart.
    ours = mask((64, 3, 32, 32), rate=0.2)
    flat = ours.permute(0, 2, 3, 1).flatten().numpy()
    for lag in (1, 2, 3, 4, 8, 32, 96, 256, 1024, 3072, 65536):
        assert correlation(flat[lag:], flat[:-lag]) < 4, lag


def test_patterns_of_eight_neighbours_are_all_as_frequent():
    bits = (mask((1, 8 << 16)).numpy() > 0).reshape(-1, 8)
    observed = np.bincount(bits @ (1 << np.arange(8)), minlength=256)
    assert stats.chisquare(observed).pvalue > 1e-3
