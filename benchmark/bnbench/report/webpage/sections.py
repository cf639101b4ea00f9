"""A comparison on the page: one heading, one name in links, and the commands that show the same."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bnbench.analysis.comparison import USUAL_PLACEMENT
from bnbench.analysis.ranked_group import RankedGroup
from bnbench.analysis.ranking import Ranking
from bnbench.components.placements import NOWHERE
from bnbench.paths import working_directory


@dataclass(frozen=True)
class Section:
    """A comparison as a section of the page."""

    name: str
    """In links and element ids: "c1", "c2" …"""
    group: RankedGroup

    @property
    def problem(self) -> str:
        """The names that the setting goes by."""
        return " = ".join(self.group.problems)

    @property
    def remark(self) -> str | None:
        """What must be said of size and data: "tiny, on handwritten digits"; None where there is nothing."""
        return self.group.remark

    @property
    def where(self) -> str:
        """Which slots carry a BatchNorm."""
        return "no BatchNorm" if self.group.placement == NOWHERE else f"BatchNorm {self.group.placement}"

    @property
    def rate(self) -> str:
        """The learning rate, short."""
        return f"{self.group.learning_rate:.4g}"

    @property
    def title(self) -> str:
        """One line that no other section has, unless their settings differ in what has no name."""
        changed = f", {', '.join(self.group.overrides)}" if self.group.overrides else ""
        return f"{self.group.called}, {self.where}, learning rate {self.rate}{changed}"

    @property
    def is_usual(self) -> bool:
        """Whether it is the first that somebody would look at: hidden layers, the problem's own learning rate."""
        return self.group.placement == USUAL_PLACEMENT and self.group.lr_factor == 1

    @property
    def file_name(self) -> str:
        """A stem for files that are taken from this section."""
        parts = [*self.group.problems, *self.group.sizes, self.group.placement, f"lr{self.rate}", self.name]
        return "-".join("".join(c if c.isalnum() or c in "._" else "_" for c in part) for part in parts)


def sections(ranking: Ranking) -> tuple[Section, ...]:
    """A section for each group of a ranking, in its order."""
    return tuple(Section(f"c{place}", group) for place, group in enumerate(ranking.groups, start=1))


@dataclass(frozen=True)
class Commands:
    """The commands that print or draw by themselves what the page shows."""

    results: Path
    """The results folder as it was given."""

    def line(self, *words: object) -> str:
        """`bnbench …`, quoted for a shell, with the results folder."""
        return shlex.join(["bnbench", *(str(word) for word in words), "--results", self._folder])

    def rank(self, group: RankedGroup, *more: str) -> str:
        """The ranking of one group's problem and placement."""
        placement = () if group.placement == NOWHERE else ("--placement", group.placement)
        return self.line("rank", *group.problems, *_size(group.sizes), *placement, *more)

    def plot(self, each: Section, kind: str, *more: object) -> str:
        """A figure of one comparison, by its kind."""
        group = each.group
        problems = [word for problem in group.problems for word in ("--problem", problem)]
        placement = () if group.placement == NOWHERE else ("--placement", group.placement)
        factor = () if group.lr_factor is None else ("--lr-factor", f"{group.lr_factor:g}")
        size = () if group.sizes == ("full",) else _size(group.sizes)
        return self.line("plot", "--kind", kind, *problems, *size, *placement, *factor, *more)

    def activity(self, group: RankedGroup) -> str:
        """The activity of γ and β of one group."""
        placement = () if group.placement == NOWHERE else ("--placement", group.placement)
        return self.line("activity", *group.problems, *_size(group.sizes), *placement)

    @property
    def _folder(self) -> str:
        # A page is made to be passed on: where a folder lies on this machine is nobody's business.
        if not self.results.is_absolute():
            return str(self.results)
        here = working_directory()
        inside = here is not None and self.results.is_relative_to(here)
        return str(self.results.relative_to(here)) if here is not None and inside else self.results.name


def _size(sizes: Sequence[str]) -> tuple[str, ...]:
    return ("--size", sizes[0]) if len(sizes) == 1 else ()
