r"""A table for a paper: LaTeX with booktabs, which needs \usepackage{booktabs} and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bnbench.analysis.table import Cell, Column, Kind, Remark, Table, Tone, Value, cell, shown
from bnbench.printable import printable
from bnbench.report.render.spelling import spelled

PACKAGES = "% \\usepackage{booktabs}\n"
"""What the preamble must have, as a comment."""

# Brackets and asterisks at the beginning of a row would be taken for an argument of the \\ before it.
_ESCAPED = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''", "`": "`",
    "[": "{[}", "]": "{]}", "*": "{*}", "\u00ad": r"\-",
    "–": "--", "—": "---", "…": r"\ldots{}", "“": "``", "”": "''", "’": "'", "\u00a0": "~",
}  # fmt: skip
_MATHS = {
    "γ": r"\gamma", "β": r"\beta", "δ": r"\delta", "τ": r"\tau", "χ": r"\chi", "ρ": r"\rho", "ℓ": r"\ell",
    "Σ": r"\sum", "−": "-", "·": r"\cdot", "×": r"\times", "±": r"\pm", "→": r"\to", "≥": r"\ge", "≤": r"\le",
    "∞": r"\infty", "²": "^2", "▲": r"\triangle", "▼": r"\bigtriangledown", "✓": r"\surd", "✗": r"\times",
}  # fmt: skip
_SYMBOL = re.compile(r"(?P<stem>[A-Za-z]+)_(?P<index>[γβ](?:,[γβ])*)")
_NUMBER = re.compile(r"(?<![\w.])(?P<sign>[+±-]?)(?P<digits>\d[\d,]*(?:\.\d+)?)(?:e(?P<exponent>[+-]?\d+))?(?![\w.])")


def render(table: Table) -> str:
    r"""The table as a `table` environment: caption, booktabs rules, notes in small print.

    Columns that only a page has room for are left out.
    """
    table = table.without({column.name for column in table.columns if column.detail})
    columns = table.columns
    head = [] if table.headless else [_line([_heading(column) for column in columns]), r"\midrule"]
    notes = [note for note in (table.legend(), *table.notes, *table.warnings) if note is not None]
    title = ": ".join(each for each in (table.caution, table.title) if each is not None)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            *([rf"\caption{{{text(title)}}}"] if title else []),
            rf"\begin{{tabular}}{{{''.join(_alignment(column) for column in columns)}}}",
            r"\toprule",
            *head,
            *(_line([_cell(column, each) for column, each in zip(columns, row, strict=True)]) for row in table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            *_small_print(notes),
            r"\end{table}",
            "",
        ]
    )


def text(plain: str) -> str:
    """Text that LaTeX prints as it is: special characters escaped, the field's signs as maths."""
    found: list[str] = []
    end = 0
    for match in _SYMBOL.finditer(plain):
        found += [_plain(plain[end : match.start()]), symbol(match.group())]
        end = match.end()
    return "".join([*found, _plain(plain[end:])])


def symbol(name: str) -> str:
    """A variant's symbol with its subscript, up to a space, set as one."""
    stem, underscore, low = name.partition("_")
    index, space, rest = low.partition(" ")
    if not underscore or not stem or not index:
        return _plain(name)
    inside = "".join(
        _MATHS[each] if each in _MATHS else "," if each == "," else rf"\mbox{{{_plain(each)}}}" for each in index
    )
    return f"{_plain(stem)}$_{{{inside}}}${space}{_plain(rest)}"


def _plain(words: str) -> str:
    # Two hyphens would become a dash.
    return "{}-".join("".join(map(_character, piece)) for piece in re.split("(?<=-)-", printable(words)))


def _character(each: str) -> str:
    if each in _MATHS:
        return f"${_MATHS[each]}$"
    if each in _ESCAPED:
        return _ESCAPED[each]
    # The letters of Latin-1 and Latin Extended-A are those that every LaTeX knows in UTF-8.
    if " " <= each <= "~" or ("\u00c0" <= each <= "\u017f" and each.isalpha()):
        return each
    return "".join(_ESCAPED.get(one, one) for one in spelled(each))


def _number(shown_as: str) -> str:
    """Numbers as maths, so that a minus is one and a power of ten is set as such."""
    if not any(character.isdigit() for character in shown_as) or not _NUMBER.search(shown_as):
        return text(shown_as)
    found: list[str] = []
    end = 0
    for match in _NUMBER.finditer(shown_as):
        found.append(_plain(shown_as[end : match.start()]))
        sign = {"±": r"\pm ", "": ""}.get(match["sign"], match["sign"])
        power = f" \\cdot 10^{{{int(match['exponent'])}}}" if match["exponent"] else ""
        number = f"{sign}{match['digits'].replace(',', '{,}')}{power}"
        # A plain number is better off outside maths, where it can be bold.
        found.append(f"${number}$" if sign or power or "," in number else number)
        end = match.end()
    return "".join([*found, _plain(shown_as[end:])])


def _heading(column: Column) -> str:
    return symbol(column.heading) if column.of_variant else text(column.heading)


def _alignment(column: Column) -> str:
    if column.foldable:
        return r"p{0.3\linewidth}"
    return "r" if column.to_the_right else "l"


def _cell(column: Column, each: Value | Cell) -> str:
    own = cell(each)
    said = shown(column, own)
    if column.kind is Kind.SYMBOL:
        told = symbol(said)
    elif column.kind is Kind.IDENTIFIER:
        told = rf"\texttt{{{_plain(said)}}}"
    elif isinstance(own.value, str) or own.value is None:
        told = text(said)
    else:
        told = _number(said)
    told = rf"\textbf{{{told}}}" if own.tone is Tone.BEST else told
    remark = own.remark.sign if isinstance(own.remark, Remark) else own.remark
    return told if remark is None else f"{told} {_number(remark)}"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _small_print(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    lines = "\\par\n".join(text(note) for note in notes)
    return ["", r"\smallskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright", lines, r"\end{minipage}"]
