"""What the report of a results folder costs: to write, and to open.

    PYTHONPATH=tests python tests/measure/report_page.py FOLDER [--output report.html] [--openings 5]

FOLDER may be one that tests/measure/full_length_store.py made: the 105 runs of the founding study in three seeds. The
budget of that one is 25 MB and three seconds. Prints time and peak memory of `bnbench report`, the size of the page,
and of each opening in Chromium: seconds to the first paint, to the load event, and to the first figure (which is
scrolled to at once), and the processor time of the browser till then: what a busy machine does not change.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import click

from support.browser import Browser

FIRST_FIGURE = "document.querySelector('.comparison[open] figure')"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("report.html"))
    parser.add_argument("--openings", type=int, default=5)
    given = parser.parse_args()
    write(given.folder, given.output)
    for number in range(given.openings):
        with Browser() as browser:
            click.echo(f"opening {number + 1}: {opened(browser, given.output)}")


def write(folder: Path, output: Path) -> None:
    """Run `bnbench report` in a process of its own."""
    command = [sys.executable, "-m", "bnbench", "report", "--results", str(folder), "--output", str(output)]
    started = time.monotonic()
    subprocess.run(command, check=True)
    seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    click.echo(
        f"written in {seconds:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of processor time), peak memory "
        f"{used.ru_maxrss / 1024:.0f} MB, size {output.stat().st_size / 1e6:.1f} MB"
    )


def opened(browser: Browser, page: Path) -> str:
    """What one opening of a page takes."""
    before = processor_seconds(browser)
    with browser.open(page) as tab:
        loaded = processor_seconds(browser) - before
        started = time.monotonic()
        tab.evaluate(f"{FIRST_FIGURE}.scrollIntoView({{behavior: 'instant'}})")
        tab.wait_until(f"{FIRST_FIGURE}.querySelector('.plot-area').dataset.drawn")
        drawn = tab.load_s + time.monotonic() - started
        paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000")
        used = processor_seconds(browser) - before
        return (
            f"first paint {paint:.2f} s, loaded {tab.load_s:.2f} s, first figure {drawn:.2f} s; "
            f"processor {loaded:.2f} s till loaded, {used:.2f} s till the first figure"
        )


def processor_seconds(browser: Browser) -> float:
    """Of all processes of a browser."""
    return sum(each["cpuTime"] for each in browser.command("SystemInfo.getProcessInfo")["processInfo"])


if __name__ == "__main__":
    main()
