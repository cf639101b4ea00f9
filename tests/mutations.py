"""Mutate every place of one `run.json`, and ask every reading command about the folder. Prints a table.

    python tests/mutations.py [--values 3] [--seed 1] [--all]

Every leaf, object and list of the document; of the odd values so many drawn for each (`--all`: every one, hours). No
command may end in a traceback or refuse the rest of the folder. The test suite has a small, fixed part of it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from support.mutations import COMPARED, SURVIVING, Mutation, Target, mutations


def main() -> None:
    """Do everything, print what happened; exit code 1 if a command failed on anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=3, help="odd values for each place")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--all", action="store_true", help="every odd value in every place")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        target = Target(Path(folder))
        chosen = chosen_mutations(target, None if options.all else options.values, random.Random(options.seed))
        places = len({mutation.where for mutation in chosen})
        print(f"{len(chosen)} mutations of {places} places", flush=True)
        wrong: list[str] = []
        asked: Counter[str] = Counter()
        began = time.monotonic()
        for mutation in chosen:
            for command in (*COMPARED, *SURVIVING):
                asked[command] += 1
                if (said := target.wrong(mutation, command)) is not None:
                    wrong.append(f"{command}: {mutation}: {said}")
                    print(wrong[-1], flush=True)
            asked["merge"] += 1
            if (said := target.merged(mutation)) is not None:
                wrong.append(f"merge: {mutation}: {said}")
                print(wrong[-1], flush=True)
    for command, count in asked.items():
        print(f"{command:15} {count:5} mutations, {sum(each.startswith(f'{command}: ') for each in wrong)} wrong")
    print(f"{time.monotonic() - began:.0f} s")
    sys.exit(bool(wrong))


def chosen_mutations(target: Target, values: int | None, chance: random.Random) -> list[Mutation]:
    """Some mutations of every place, or all of them."""
    every = mutations(target.document)
    if values is None:
        return every
    by_place: dict[tuple[str | int, ...], list[Mutation]] = {}
    for mutation in every:
        by_place.setdefault(mutation.where, []).append(mutation)
    return [each for own in by_place.values() for each in chance.sample(own, min(values, len(own)))]


if __name__ == "__main__":
    main()
