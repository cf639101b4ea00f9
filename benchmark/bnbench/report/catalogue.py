"""The figures of the founding study by their number, and what each is drawn from (Tsingunidis 2023)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from bnbench.errors import unknown
from bnbench.report.groups import Wanted, problem_label
from bnbench.variant import STUDIED

ThesisKind = Literal["curves", "gamma", "beta"]


@dataclass(frozen=True)
class ThesisFigure:
    """One figure: what kind it is, and the runs of its parts, in order."""

    number: str
    kind: ThesisKind
    title: str
    parts: tuple[Wanted, ...]
    """A pair of axes each for curves; for γ and β the models (A, B), (C, D)."""
    letters: str
    """Of the parts of a figure of curves."""


_CIFAR10, _CIFAR100, _ALLCNNC = "cifar10_3c3d", "cifar100_3c3d", "cifar100_allcnnc"
_LEARNING_GAMMA = ("bn_gamma_beta", "bn_gamma")
_LEARNING_BETA = ("bn_gamma_beta", "bn_beta")
_LETTERS = "abcdefgh"


def _curves(number: str, title: str, *parts: tuple[str, str, float]) -> ThesisFigure:
    wanted = tuple(Wanted(problem, STUDIED, placement, factor) for problem, placement, factor in parts)
    return ThesisFigure(number, "curves", title, wanted, _LETTERS[: len(parts)])


def _contours(beta: str, gamma: str, problem: str, *placements: str) -> tuple[ThesisFigure, ThesisFigure]:
    where = " and ".join(placements)
    return (
        ThesisFigure(
            beta, "beta", f"β over training, {problem_label(problem)}, placement {where}",
            tuple(Wanted(problem, _LEARNING_BETA, each) for each in placements), "",
        ),
        ThesisFigure(
            gamma, "gamma", f"γ over training, {problem_label(problem)}, placement {where}",
            tuple(Wanted(problem, _LEARNING_GAMMA, each) for each in placements), "",
        ),
    )  # fmt: skip


def _rates(problem: str) -> tuple[tuple[str, str, float], ...]:
    return ((problem, "hidden", 0.1), (problem, "hidden", 10.0))


def _placed(problem: str, *placements: str) -> tuple[tuple[str, str, float], ...]:
    return tuple((problem, placement, 1.0) for placement in placements)


_FIGURES = (
    _curves("4.1", "five variants on three problems",
            *((problem, "hidden", 1.0) for problem in (_CIFAR10, _CIFAR100, _ALLCNNC))),
    _curves("4.2", "CIFAR-10 3C3D over learning rates", *_rates(_CIFAR10)),
    _curves("4.3", "CIFAR-100 3C3D over learning rates", *_rates(_CIFAR100)),
    _curves("4.4", "CIFAR-100 ALL-CNN-C over learning rates", *_rates(_ALLCNNC)),
    _curves("4.5", "BatchNorm on the output too", *_placed(_ALLCNNC, "every")),
    *_contours("4.6", "4.7", _ALLCNNC, "hidden"),
    *_contours("4.8", "4.9", _ALLCNNC, "every"),
    *_contours("4.10", "4.11", _CIFAR10, "hidden"),
    *_contours("4.12", "4.13", _CIFAR100, "hidden"),
    _curves("A.1", "CIFAR-10 3C3D, one BatchNorm", *_placed(_CIFAR10, "first", "penultimate")),
    *_contours("A.2", "A.3", _CIFAR10, "first", "penultimate"),
    _curves("A.4", "CIFAR-10 3C3D, three BatchNorms", *_placed(_CIFAR10, "first:3", "last:3")),
    *_contours("A.5", "A.6", _CIFAR10, "first:3", "last:3"),
    _curves("A.7", "CIFAR-100 3C3D, one BatchNorm", *_placed(_CIFAR100, "first", "penultimate")),
    *_contours("A.8", "A.9", _CIFAR100, "first", "penultimate"),
    _curves("A.10", "CIFAR-100 3C3D, three BatchNorms", *_placed(_CIFAR100, "first:3", "last:3")),
    *_contours("A.11", "A.12", _CIFAR100, "first:3", "last:3"),
    _curves("A.13", "ALL-CNN-C, one BatchNorm", *_placed(_ALLCNNC, "first", "penultimate", "output")),
    *_contours("A.14", "A.15", _ALLCNNC, "first", "penultimate"),
    _curves("A.16", "ALL-CNN-C, four BatchNorms", *_placed(_ALLCNNC, "first:4", "last:4", "output:4")),
    *_contours("A.17", "A.18", _ALLCNNC, "first:4", "last:4"),
)  # fmt: skip

THESIS_FIGURES: Mapping[str, ThesisFigure] = MappingProxyType({figure.number: figure for figure in _FIGURES})
"""Every figure of results, in the study's order."""

_PART = re.compile(r"([0-9A-Z]+\.[0-9]+)([a-z])")


def thesis_figure(number: str) -> ThesisFigure:
    """A figure by its number, "4.6", or a part of one, "4.1a".

    Raises:
        UserError: the study has no such figure of results.
    """
    if number in THESIS_FIGURES:
        return THESIS_FIGURES[number]
    match = _PART.fullmatch(number)
    if match and match[1] in THESIS_FIGURES and match[2] in THESIS_FIGURES[match[1]].letters:
        whole = THESIS_FIGURES[match[1]]
        return replace(whole, number=number, parts=(whole.parts[whole.letters.index(match[2])],), letters=match[2])
    raise unknown("figure", number, THESIS_FIGURES, hint="A part of a figure of curves is named like 4.1a.")
