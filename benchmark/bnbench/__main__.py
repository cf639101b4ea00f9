"""`python -m bnbench`: the command line, where no console script is on the path."""

from bnbench.cli import main

if __name__ == "__main__":
    main(prog_name="bnbench")
