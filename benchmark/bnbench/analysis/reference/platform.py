"""Whether two runs were computed under the same circumstances, so that their bits must be the same."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

_DECIDING: dict[str, tuple[str, ...]] = {
    "platform": ("system", "machine", "processor", "instructions"),
    "versions": ("torch", "torchvision", "numpy", "scikit-learn", "cuda", "cudnn"),
}
"""What decides the last bits of a result. Not among it: Python, pyarrow, the number of processors, the commit."""


def circumstances_that_differ(ours: Mapping[str, JsonValue], theirs: Mapping[str, JsonValue]) -> list[str]:
    """What differs between two provenances of `run.json` and decides bits, e.g. ["torch 2.13.0, not 2.12.0"]."""
    found, wanted = _deciding(ours), _deciding(theirs)
    return [
        f"{name} {_text(found.get(name))}, not {_text(wanted.get(name))}"
        for name in dict.fromkeys([*wanted, *found])
        if found.get(name) != wanted.get(name)
    ]


def _deciding(provenance: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    facts: dict[str, JsonValue] = {}
    for part, names in _DECIDING.items():
        table = provenance.get(part)
        if isinstance(table, dict):
            facts |= {name: table[name] for name in names if name in table}
    flags = provenance.get("flags")
    return (
        facts
        | {"device": provenance.get("device"), "threads": provenance.get("threads")}
        | (flags if isinstance(flags, dict) else {})
    )


def _text(value: JsonValue) -> str:
    return "unknown" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
