"""Whether two runs were computed under the same circumstances, so that their bits must be the same."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from bnbench.storage.circumstances import differing_circumstances, is_switch


def circumstances_that_differ(ours: Mapping[str, JsonValue], theirs: Mapping[str, JsonValue]) -> list[str]:
    """What differs between two provenances of `run.json` and decides bits, e.g. ["torch 2.13.0, not 2.12.0"].

    An environment variable is told as it would be typed: "MKL_CBWR=COMPATIBLE, not unset".
    """
    return [
        f"{name}{'=' if is_switch(name) and found != 'unset' else ' '}{found}, not {wanted}"
        for name, (found, wanted) in differing_circumstances(ours, theirs).items()
    ]
