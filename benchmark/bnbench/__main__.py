"""`python -m bnbench`: the command line, where no console script is on the path."""

import os
import sys

if __name__ == "__main__":
    # -m has put the working directory first on the path, where a queue.py of the user's would be taken for Python's.
    # What remains: the few modules that Python imports before this line, and a folder named bnbench. (python -P -m
    # bnbench, and the console script, look at none of them.)
    try:
        here = os.getcwd()  # noqa: PTH109 -- pathlib is not among those modules
    except FileNotFoundError:
        here = ""
    if not sys.flags.safe_path and sys.path[0] in {"", here}:
        del sys.path[0]
        if os.path.dirname(os.path.dirname(__file__)) == here:  # noqa: PTH120
            sys.path.append(here)  # it is bnbench itself that lies there

    from bnbench.cli import main

    main(prog_name="bnbench")
