"""What a variant makes of each slot of a network: planned here, built in `bnbench.network` (torch-free).

What cannot be is found here, so that nobody trains it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bnbench.components.architectures import Conv, Dense, Norm, TracedLayer
from bnbench.components.normalisers import NONE, NORMALISERS, Normaliser
from bnbench.components.placements import Slots, masked_slots, parse_placement
from bnbench.components.reparametrisations import REPARAMETRISATIONS, Reparametrisation
from bnbench.components.site import Site, Unfit
from bnbench.components.variants import Affine, AffineRule, Variant
from bnbench.errors import UserError
from bnbench.identity import hashed
from bnbench.options import NO_OPTIONS, Options, OptionValue, complete


@dataclass(frozen=True)
class SlotPlan:
    """One slot of a network under a variant and a placement."""

    site: Site
    carries: bool
    """Whether the slot carries the variant."""
    bias: bool
    gamma: str
    """What becomes of γ here: "learned", "fixed" or "absent"; "–" where the slot does not carry the variant."""
    beta: str
    options: Options
    """The normaliser's, as they come to at this slot."""
    weights_options: Options
    """The reparametrisation's."""
    learned: int
    """Numbers that the optimiser moves."""


def site_of(traced: TracedLayer, batch_size: int | None = None) -> Site:
    """A traced slot as a component sees it."""
    layer = traced.layer
    assert isinstance(layer, Conv | Dense | Norm)
    channels, *size = traced.output_shape
    positions = size[0] * size[1] if size else 1
    return Site(layer.name, channels, positions, bool(size), traced.weights // channels, batch_size)


def has_bias(variant: Variant, *, carries: bool) -> bool:
    """Whether a slot has a bias of its own: not where the variant puts anything behind it that shifts, or could.

    So the rows of one family have as many parameters, and β is the only shift. Under a reparametrisation that takes
    γ and β itself the bias is β, and there where β is learned.

    Args:
        variant: the row.
        carries: whether the slot carries it.
    """
    if not carries:
        return True
    if variant.normaliser == NONE and REPARAMETRISATIONS.get(variant.weights).takes_affine:
        return variant.beta.is_learned
    return variant.normaliser == NONE and not variant.has_affine


def has_affine_part(variant: Variant) -> bool:
    """Whether γ and β are parameters behind the slots that carry the variant."""
    taken = REPARAMETRISATIONS.get(variant.weights).takes_affine
    return not taken and (variant.normaliser != NONE or variant.has_affine)


def hashed_variant(variant: Variant) -> dict[str, Any]:
    """What a run's ids hold of its variant: its row, and what the row does not say but decides.

    That is the revision of its components, from their second on, and the missing bias of a row without a normaliser,
    which rows of that kind had in the first version.
    """
    told = hashed(variant)
    normaliser, weights = components_of(variant)
    for key, known, given in (
        ("options", normaliser.options, variant.options),
        ("weights_options", weights.options, variant.weights_options),
    ):
        if given:  # as the component reads them: 1 and 1.0 are one setting
            told[key] = {name: complete(key, known, given)[name] for name in given}
    if variant.normaliser == NONE and not has_bias(variant, carries=True):
        told["bias"] = False
    for key, revision in (
        ("normaliser_revision", normaliser.revision),
        ("weights_revision", weights.revision),
    ):
        if revision != 1:
            told[key] = revision
    return told


def plan_slots(
    variant: Variant, traced: Iterable[TracedLayer], places: Slots, mask: str, *, batch_size: int | None = None
) -> list[SlotPlan]:
    """What the variant makes of every slot, in the network's order.

    Args:
        variant: the row.
        traced: the network's layers.
        places: its slots, as placements are read with them.
        mask: one digit per slot; "1" where the slot carries the variant.
        batch_size: images of a training batch, if the network is to be trained.

    Raises:
        UserError: a component is unknown or cannot be used as the row says, or cannot be at a slot of the mask: all
            such slots are named.
    """
    sites = [site_of(each, batch_size) for each in traced if isinstance(each.layer, Conv | Dense | Norm)]
    names = [site.slot for site in sites]
    carrying = set(masked_slots(mask, names))
    _, weights = components_of(variant)
    trained = trained_slots(variant, places)
    affine_learned = [
        _where(rule.learned_in, places) if rule.is_learned else set() for rule in (variant.gamma, variant.beta)
    ]
    for rule in (variant.gamma, variant.beta):
        if rule.initial_in is not None:
            parse_placement(rule.initial_in[0], places)
    there = [site for site in sites if site.slot in carrying]
    behind, within = options_at(variant, there)
    plans = []
    for site in sites:
        carries = site.slot in carrying
        bias = site.fan_in > 0 and has_bias(variant, carries=carries)
        moved = bias * (site.slot in trained)
        moved += sum(site.slot in each for each in affine_learned) * (carries and has_affine_part(variant))
        numbers = site.channels * moved
        own = within.get(site.slot, NO_OPTIONS)
        if not carries:
            numbers += site.channels * site.fan_in * (site.slot in trained)
        else:
            numbers += weights.learned(site, own) * (weights.keeps_weights or site.slot in trained)
            numbers += site.channels * (weights.takes_affine and site.slot in affine_learned[0])
        gamma, beta = (
            _status(rule, learned=site.slot in where) if carries else "–"
            for rule, where in zip((variant.gamma, variant.beta), affine_learned, strict=True)
        )
        plans.append(SlotPlan(site, carries, bias, gamma, beta, behind.get(site.slot, NO_OPTIONS), own, numbers))
    return plans


def components_of(variant: Variant) -> tuple[Normaliser, Reparametrisation]:
    """A row's normaliser and reparametrisation.

    Raises:
        UserError: one is unknown, an option is not one of its own, or they do not go together.
    """
    try:
        normaliser = NORMALISERS.get(variant.normaliser)
        weights = REPARAMETRISATIONS.get(variant.weights)
        complete(f"normaliser '{normaliser.name}'", normaliser.options, variant.options)
        complete(f"reparametrisation '{weights.name}'", weights.options, variant.weights_options)
        _check_together(variant, weights)
    except UserError as error:
        raise UserError(f"variant '{variant.name}': {error.problem}", hint=error.hint) from error
    return normaliser, weights


def options_at(variant: Variant, sites: Sequence[Site]) -> tuple[dict[str, Options], dict[str, Options]]:
    """What the options of a row's normaliser, and of its reparametrisation, come to at slots that carry it.

    Raises:
        UserError: as `components_of`, or a component cannot be at a slot: all such slots are named.
    """
    normaliser, weights = components_of(variant)
    return (
        _resolved(variant, normaliser, variant.options, sites),
        _resolved(variant, weights, variant.weights_options, sites),
    )


def trained_slots(variant: Variant, places: Slots) -> set[str]:
    """The slots whose weights and biases the variant trains.

    Raises:
        UserError: `weights_in` does not fit these slots.
    """
    if variant.train_weights:
        return _where(None, places)
    return set() if variant.weights_in is None else _where(variant.weights_in, places)


def shown_options(plan: SlotPlan) -> dict[str, OptionValue]:
    """The options of a slot's components, as `run.json` keeps them."""
    return {**plan.options, **plan.weights_options}


def _check_together(variant: Variant, weights: Reparametrisation) -> None:
    if weights.needs_normaliser and variant.normaliser == NONE:
        raise UserError(
            f"{weights.title.lower()} needs a normaliser behind it: alone it multiplies the activations of every slot",
            hint=f"Known normalisers: {', '.join(name for name in NORMALISERS if name != NONE)}.",
        )
    if not weights.takes_affine:
        return
    if variant.normaliser != NONE:
        raise UserError(f"{weights.title.lower()} takes γ and β itself, so normaliser should be '{NONE}'")
    gamma, beta = variant.gamma, variant.beta
    plain = (
        AffineRule(gamma.status, 1.0, gamma.learning_rate_factor, gamma.learned_in),
        AffineRule(beta.status, 0.0),
    )
    if (gamma, beta) != plain or Affine.ABSENT in (gamma.status, beta.status):
        raise UserError(
            f"{weights.title.lower()} takes γ and β itself, as its scale and the slot's bias: both are learned or "
            "fixed, and of the rest only gamma's learned_in and learning_rate_factor can be chosen"
        )


def _status(rule: AffineRule, *, learned: bool) -> str:
    return str(Affine.FIXED if rule.is_learned and not learned else rule.status)


def _where(expression: str | None, places: Slots) -> set[str]:
    """The slots of a placement expression; all where there is none."""
    names = [place if isinstance(place, str) else place.name for place in places]
    return set(names) if expression is None else set(masked_slots(parse_placement(expression, places), names))


def _resolved(
    variant: Variant, component: Normaliser | Reparametrisation, given: Options, sites: Iterable[Site]
) -> dict[str, Options]:
    options = complete(f"{component.kind} '{component.name}'", component.options, given)
    found: dict[str, Options] = {}
    unfit: dict[str, list[str]] = {}
    hints = []
    for site in sites:
        try:
            found[site.slot] = _at(component, site, options)
        except Unfit as reason:
            unfit.setdefault(str(reason), []).append(site.slot)
            hints.append(reason.hint)
    if unfit:
        told = "; ".join(f"{', '.join(slots)} ({reason})" for reason, slots in unfit.items())
        without = f"Choose a placement without: --placement {','.join(found)}." if found else None
        raise UserError(f"variant '{variant.name}': {component.title} cannot be at {told}", hint=hints[0] or without)
    return found


def _at(component: Normaliser | Reparametrisation, site: Site, options: Options) -> Options:
    if isinstance(component, Normaliser) and component.needs_map and not site.is_map:
        raise Unfit("a dense slot, which has no map")
    try:
        return Options(component.fit(site, options))
    except Unfit:
        raise
    except Exception as error:  # whatever a third-party function raises
        raise UserError(
            f"{component.kind} '{component.name}' cannot say what its options come to at slot {site.slot}: "
            f"{type(error).__name__}: {error}"
        ) from error
