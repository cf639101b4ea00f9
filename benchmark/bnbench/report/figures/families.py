"""The ablations of each normaliser beside those of BatchNorm: the thesis's curves, a row of axes for each family.

A *family* is what normalises, or what weights are made of: variants that differ in nothing but whether γ and β are
learned. They have the looks that BatchNorm's four have, so that the same ablation looks the same in every row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from matplotlib.figure import Figure

from bnbench.analysis.comparison import Comparison, VariantRow
from bnbench.analysis.frames import Results
from bnbench.components.variants import VARIANTS, Affine
from bnbench.identity import canonical_json
from bnbench.report.captions import joined
from bnbench.report.figures.curves import (
    ABOUT,
    METRICS,
    NOT_STOPPED,
    CurveGroup,
    curve_group,
    groups_of_frame,
    training_curves,
)
from bnbench.report.figures.kind import FigureKind, Labels, PanelLabel, Portion, Request, labelled
from bnbench.report.figures.probed import NOTHING, in_order
from bnbench.report.page import Page
from bnbench.report.style import EPOCH_LABEL

VANILLA = "vanilla"
REFERENCE = "bn"
"""The family that the others are drawn beside."""
ROLES: Mapping[str, str] = {
    "vanilla": "vanilla",
    "bn": "γ, β fixed",
    "bn_beta": "β learned",
    "bn_gamma": "γ learned",
    "bn_gamma_beta": "γ, β learned",
}
"""The variant of the founding study whose look an ablation has, and what the legend calls it."""
_LEARNED = {(False, False): "bn", (False, True): "bn_beta", (True, False): "bn_gamma", (True, True): "bn_gamma_beta"}
"""Whether γ and β are learned, to the role."""
_NOT_OF_FAMILY = ("name", "symbol", "summary", "baseline", "revision", "bias")
"""Fields of a recorded row that follow from which of the two is learned, or are words."""


@dataclass(frozen=True)
class Family:
    """The rows of a comparison that differ in which of γ and β is learned."""

    title: str
    rows: Mapping[str, VariantRow]
    """Role to row."""

    @property
    def lacking(self) -> list[str]:
        """What the legend calls the ablations that were not run."""
        return [name for role, name in ROLES.items() if role not in {VANILLA, *self.rows}]


def families_of(compared: Comparison) -> list[Family]:
    """The families of which two ablations or more were run, BatchNorm's first, then as the catalogue lists them."""
    found: dict[str, dict[str, VariantRow]] = {}
    for row in in_order(compared):
        if row.name != VANILLA and row.variant == row.name:  # not one that was defined in several ways
            found.setdefault(_family_key(row), {}).setdefault(_role(row), row)
    families = [Family(_title(rows), rows) for rows in found.values() if len(rows) > 1]
    return sorted(families, key=lambda family: family.title != _title_of(REFERENCE))


def _family_key(row: VariantRow) -> str:
    """What the ablations of a family have in common."""
    own = dict(row.records[0].row)
    for name in _NOT_OF_FAMILY:
        own.pop(name, None)
    for name in ("gamma", "beta"):
        rule = own[name]
        assert isinstance(rule, dict)
        own[name] = {key: value for key, value in rule.items() if key != "status"}
    return canonical_json(own)


def _role(row: VariantRow) -> str:
    """By the row of the table: what the weights' scale is called does not matter."""
    gamma, beta = (row.records[0].row[name] for name in ("gamma", "beta"))
    assert isinstance(gamma, dict)
    assert isinstance(beta, dict)
    return _LEARNED[gamma["status"] == Affine.LEARNED, beta["status"] == Affine.LEARNED]


def _title(rows: Mapping[str, VariantRow]) -> str:
    return next(iter(rows.values())).symbol.partition("_")[0]


def _title_of(variant: str) -> str:
    return VARIANTS.get(variant).symbol.partition("_")[0]


def portions(found: Sequence[Comparison], page: Page) -> list[Portion]:
    """Each comparison with two families or more, as many as a page holds; BatchNorm's and vanilla are on every one."""
    return [portion for each in found for portion in _pages(each, 2 if page.wide else 3)]


def _pages(compared: Comparison, most: int) -> list[Portion]:
    families = families_of(compared)
    if len(families) < 2:
        return []
    shared = [family for family in families[:1] if family.title == _title_of(REFERENCE)]
    others = families[len(shared) :]
    starts = range(0, len(others), most)
    vanilla = [row for row in compared.rows if row.name == VANILLA]
    return [
        Portion(
            [replace(compared, rows=(*vanilla, *_rows([*shared, *others[start : start + most]])))],
            number if len(starts) > 1 else None,
            [compared],
        )
        for number, start in enumerate(starts, start=1)
    ]


def _rows(families: Sequence[Family]) -> list[VariantRow]:
    return [row for family in families for row in family.rows.values()]


def data(results: Results, found: Sequence[Comparison], _request: Request) -> pd.DataFrame:
    """The curves of each family and vanilla's: a panel for each family and metric.

    Beside the columns of the kind `curves`: `role`, the variant of the founding study that the ablation looks like.
    """
    (compared,) = found
    families = families_of(compared)
    if len(families) < 2:
        return NOTHING
    vanilla = {row.name: row for row in compared.rows if row.name == VANILLA}
    pieces, panels = [], {}
    for family in families:
        of_role = {**vanilla, **family.rows}
        roles = {row.variant: role for role, row in of_role.items()}
        own = curve_group(results, replace(compared, rows=tuple(of_role.values())))
        for metric, label in METRICS.items():
            panel = f"{family.title}: {label.partition(' [')[0]}"
            panels[panel] = PanelLabel(label if metric == "loss" else label.partition(" [")[0])
            pieces.append(_curves(own, metric, roles).assign(panel=panel, group=family.title))
    lacking = [f"{family.title} with {joined(family.lacking)}" for family in families if family.lacking]
    caption = " ".join(
        [
            "The ablations of each normaliser, and vanilla in every row; of weight normalisation γ is the length g of "
            "a weight and β the bias.",
            ABOUT,
            *([f"Not run: {'; '.join(lacking)}."] if lacking else []),
        ]
    )
    frame = pd.concat(pieces, ignore_index=True)
    labels = Labels(EPOCH_LABEL, joined(METRICS.values()), caption=caption, panels=panels)
    return labelled(frame, labels)


def _curves(group: CurveGroup, metric: str, roles: Mapping[str, str]) -> pd.DataFrame:
    rows = group.training()
    who = rows[["epoch", "variant", "seed", "step"]].rename(columns={"epoch": "x", "variant": "series"})
    stopped = pd.array(
        [group.diverged.get((str(v), int(s))) for v, s in zip(rows["variant"], rows["seed"], strict=True)], "Int64"
    )
    return who.assign(
        y=rows[metric],
        metric=metric,
        role=[roles[str(name)] for name in rows["variant"]],
        diverged_at_step=stopped,
        stopped_at_step=stopped.fillna(NOT_STOPPED).astype("int64"),
        epochs=group.epochs,
    )


def draw(frame: pd.DataFrame, page: Page) -> Figure:
    """The frame of `data`: a row of axes for each family, all with the same axes."""
    groups = groups_of_frame(frame.assign(series=frame["role"]))
    return training_curves(groups, page, names=ROLES, alike=True)


FAMILIES = FigureKind(
    "families",
    "Ablations of each normaliser",
    "the curves of each normaliser's ablations beside BatchNorm's",
    data,
    draw,
    web="lines",
    lacks="two normalisers, two ablations of each",
    portions=portions,
    makes="bnbench run digits_3c3d --variant all --variant ln --variant ln_gamma_beta --seeds 3",
)
