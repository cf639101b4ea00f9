"""A table as lines of text: as wide as it needs to be, or as a terminal holds it.

Where a terminal is too narrow, prose is folded, columns are left out and named, and in the end each row becomes a few
lines of its own. No number and no identifier is ever cut or broken.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.text import Text

from bnbench.analysis.table import Cell, Column, Remark, Table, Tone, Value, cell, shown
from bnbench.report.render.cleaning import clean
from bnbench.report.render.spelling import writable

_STYLES = {
    Tone.BEST: "bold",
    Tone.GOOD: "bold green",
    Tone.BAD: "bold red",
    Tone.OPEN: "yellow",
    Tone.WARNING: "red",
    Tone.QUIET: "dim",
}
_LEAST_PROSE = 24
"""A column of prose is never folded to less."""
_GAPS = (2, 1)
"""Blanks between two columns: where there is room, and where there is not."""
_SOFT_HYPHEN = "\u00ad"


@dataclass(frozen=True)
class _Said:
    """A cell that is ready to be laid out: what it says, beside it a remark, and a style."""

    text: str
    remark: str
    style: str
    word: bool
    """Whether it stands in place of a value: it may reach over empty cells on its right."""
    empty: bool

    @property
    def width(self) -> int:
        return cell_len(self.text) + (1 + cell_len(self.remark) if self.remark else 0)


@dataclass(frozen=True)
class _Laid:
    """A column that is ready to be laid out."""

    column: Column
    label: str
    """Its heading in one line."""
    heading: tuple[str, ...]
    """The same in those that stand above it."""
    cells: tuple[_Said, ...]
    width: int
    """What it needs, so that nothing in it is folded."""

    @property
    def least(self) -> int:
        """The narrowest it can be."""
        return min(self.width, _LEAST_PROSE) if self.column.foldable else self.width


def render(table: Table, width: int | None = None, encoding: str = "utf-8") -> str:
    """The table as plain text.

    Args:
        table: what to show.
        width: columns of the terminal; None where nothing limits a line.
        encoding: of what the text is written to; signs that it has not are spelled out.
    """
    return "\n".join(line.plain for line in lines(table, width, encoding))


def lines(table: Table, width: int | None = None, encoding: str = "utf-8") -> list[Text]:
    """The table line by line, with its colours; the arguments are those of `render`."""

    def told(text: str) -> str:
        return writable(clean(text), encoding)

    found: list[Text] = []
    if table.title is not None:
        caution = "" if table.caution is None else f"{told(table.caution)}: "
        for place, line in enumerate(_folded(caution + told(table.title), width)):
            found.append(Text(line, "bold"))
            if place == 0:
                found[-1].stylize("bold yellow", 0, len(caution))
        found += [] if table.headless else [Text("")]
    columns = _laid(table, told)
    kept, left_out = _chosen(columns, width)
    rule = told("─") if table.title is not None else ""
    found += _stacked(columns, width) if kept is None else _grid(kept, width, rule)
    notes = [(note, "dim") for note in (table.legend(), *table.notes) if note is not None]
    if left_out:
        notes.append((f"left out for width: {', '.join(each.label for each in left_out)}", "dim"))
    notes += [(f"! {warning}", "yellow") for warning in table.warnings]
    for note, style in notes:
        found += [Text(line, style) for line in _folded(told(note), width)]
    return [*found, Text("")] if table.title is not None else found


# --- what goes where ----------------------------------------------------------------------------------------------


def _laid(table: Table, told: Callable[[str], str]) -> list[_Laid]:
    """The columns that a terminal shows, with the width that each needs."""
    places = [place for place, column in enumerate(table.columns) if not column.detail]
    cells = [[_said(table.columns[place], row[place], told) for row in table.rows] for place in places]
    found = []
    for own, place in zip(cells, places, strict=True):
        column = table.columns[place]
        values = max((each.width for each in own if not each.word), default=0)
        heading = () if table.headless else _heading(told(column.heading), values)
        width = max([values, *map(cell_len, heading)])
        found.append(_Laid(column, _in_one_line(told(column.heading)), heading, tuple(own), width))
    return _with_room_for_words(found)


def _said(column: Column, each: Value | Cell, told: Callable[[str], str]) -> _Said:
    own = cell(each)
    remark = own.remark.sign if isinstance(own.remark, Remark) else own.remark or ""
    text = told(shown(column, own))
    style = _STYLES[own.tone] if own.tone is not None else "dim" if own.value is None else ""
    word = own.value is None and own.shown is not None and not column.foldable
    return _Said(text, told(remark), style, word=word, empty=own == Cell(None))


def _heading(text: str, width: int) -> tuple[str, ...]:
    """A heading in one line where the values are as wide, else in the two that are narrowest."""
    whole = _in_one_line(text)
    if cell_len(whole) <= width:
        return (whole,)
    best: tuple[str, ...] = (whole,)
    for place, character in enumerate(text):
        if character in {" ", _SOFT_HYPHEN}:
            first = _in_one_line(text[:place]) + ("-" if character == _SOFT_HYPHEN else "")
            parted = (first, _in_one_line(text[place + 1 :]))
            if max(map(cell_len, parted)) < max(map(cell_len, best)):
                best = parted
    return best


def _in_one_line(heading: str) -> str:
    return heading.replace(_SOFT_HYPHEN, "")


def _with_room_for_words(columns: Sequence[_Laid]) -> list[_Laid]:
    """Widen what a word that stands in place of a value does not fit into, with the empty cells on its right."""
    found = list(columns)
    for place in range(len(found) - 1, -1, -1):
        for row, each in enumerate(found[place].cells):
            if each.word:
                missing = each.width - _reach(found, place, row, [one.width for one in found], _GAPS[-1])
                if missing > 0:
                    found[place] = replace(found[place], width=found[place].width + missing)
    return found


def _reach(columns: Sequence[_Laid], place: int, row: int, widths: Sequence[int], gap: int) -> int:
    """How wide a cell is: for a word that is too long, over as many empty cells on its right as it needs."""
    room = widths[place]
    for index in range(place + 1, len(columns)):
        if room >= columns[place].cells[row].width or not columns[index].cells[row].empty:
            break
        room += gap + widths[index]
    return room


def _chosen(columns: Sequence[_Laid], width: int | None) -> tuple[list[_Laid] | None, list[_Laid]]:
    """The columns to show and those to leave out; (None, []) where no choice of them fits."""
    kept = list(columns)
    if width is None:
        return kept, []
    left_out: list[_Laid] = []
    while not _fits(kept, width):
        least = max(range(len(kept)), key=lambda place: (kept[place].column.priority, place))
        if not kept[least].column.priority:
            return None, []
        left_out.append(kept.pop(least))
        kept = _with_room_for_words(kept)
    for each in reversed(left_out.copy()):  # a narrow one may go where a wide one did not
        more = _with_room_for_words([one for one in columns if any(one.column is own.column for own in (*kept, each))])
        if _fits(more, width):
            kept = more
            left_out.remove(each)
    return kept, [each for each in columns if any(each.column is one.column for one in left_out)]


def _fits(columns: Sequence[_Laid], width: int, gap: int = _GAPS[-1]) -> bool:
    return sum(each.least for each in columns) + gap * (len(columns) - 1) <= width


def _grid(columns: Sequence[_Laid], width: int | None, rule: str) -> list[Text]:
    gap = next(gap for gap in _GAPS if width is None or _fits(columns, width, gap))
    widths = _widths(columns, width, gap)
    found: list[Text] = []
    for line in range(-max((len(each.heading) for each in columns), default=0), 0):
        heads = [each.heading[line] if -line <= len(each.heading) else "" for each in columns]
        cells = zip(heads, columns, widths, strict=True)
        found.append(_row([_aligned(Text(head), each, own) for head, each, own in cells], gap))
        found[-1].stylize("bold")
    if found and rule:
        found.append(Text(rule * (sum(widths) + gap * (len(widths) - 1)), "dim"))
    for row in range(max((len(each.cells) for each in columns), default=0)):
        found += _grid_row(columns, widths, row, gap)
    return found


def _total(columns: Sequence[_Laid], gap: int) -> int:
    return sum(each.width for each in columns) + gap * (len(columns) - 1)


def _widths(columns: Sequence[_Laid], width: int | None, gap: int) -> list[int]:
    """What every column gets: prose shares what the others leave, the narrow ones first."""
    widths = [each.width for each in columns]
    if width is None or _total(columns, gap) <= width:
        return widths
    prose = sorted((place for place, each in enumerate(columns) if each.column.foldable), key=lambda p: widths[p])
    room = width - gap * (len(columns) - 1) - sum(own for place, own in enumerate(widths) if place not in prose)
    for done, place in enumerate(prose):
        widths[place] = min(widths[place], room // (len(prose) - done))
        room -= widths[place]
    return widths


def _grid_row(columns: Sequence[_Laid], widths: Sequence[int], row: int, gap: int) -> list[Text]:
    """The lines of a row: one, unless prose is folded in it."""
    pieces: list[list[Text]] = []
    own_widths: list[int] = []
    place = 0
    while place < len(columns):
        each, own = columns[place], widths[place]
        said = each.cells[row]
        if _said_above(columns, place, row):
            said = _Said("", "", "", word=False, empty=True)
        reach = _reach(columns, place, row, widths, gap) if said.word else own
        folded = _folded(said.text, own) if each.column.foldable else [said.text]
        texts = [Text(line, said.style) for line in folded]
        if said.remark:
            texts[-1].append(f" {said.remark}", "dim")
        pieces.append([_aligned(text, each, reach, word=reach > own) for text in texts])
        own_widths.append(reach)
        while own < reach:  # these cells are empty, and the word reaches over them
            place += 1
            own += gap + widths[place]
        place += 1
    height = max(map(len, pieces), default=0)
    return [
        _row(
            [
                own[line] if line < len(own) else Text(" " * space)
                for own, space in zip(pieces, own_widths, strict=True)
            ],
            gap,
        )
        for line in range(height)
    ]


def _said_above(columns: Sequence[_Laid], place: int, row: int) -> bool:
    """Whether a value is the same as in the row above, and so is everything before it that is said once."""
    before = [each for each in columns[: place + 1] if each.column.once]
    return bool(row and columns[place].column.once and all(each.cells[row] == each.cells[row - 1] for each in before))


def _aligned(text: Text, laid: _Laid, width: int, *, word: bool = False) -> Text:
    blank = Text(" " * max(width - cell_len(text.plain), 0))
    return blank + text if laid.column.to_the_right and not word else text + blank


def _row(cells: Sequence[Text], gap: int) -> Text:
    line = Text(" " * gap).join(cells)
    line.rstrip()
    return line


def _stacked(columns: Sequence[_Laid], width: int | None) -> list[Text]:
    """A row after the other, a line for each of its values."""
    found: list[Text] = []
    for row in range(max((len(each.cells) for each in columns), default=0)):
        if row:
            found.append(Text(""))
        for place, each in enumerate(columns):
            said = each.cells[row]
            if said.empty:
                continue
            label = f"{'  ' if place else ''}{each.label + ' ' if each.label else ''}"
            text = f"{label}{said.text} {said.remark}".rstrip()
            for number, line in enumerate(_folded(text, width) if each.column.foldable else [text]):
                found.append(Text(f"    {line}" if number else line, said.style))
                found[-1].stylize("bold", 0, 0 if number else len(label))
    return found


def _folded(text: str, width: int | None) -> list[str]:
    """Text in lines of so many columns, parted between words only."""
    if width is None or cell_len(text) <= width:
        return [text]
    folded = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return folded or [text]
