"""`python -m policies.cli`: the command line, where the script `planner` is not on the path."""

from __future__ import annotations

from policies.cli.main import main

if __name__ == "__main__":
    main()
