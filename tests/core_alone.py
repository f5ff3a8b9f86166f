"""The core without extras, as a script: prices, plans, checks and keeps a ledger with nothing else installed.

Run it with the interpreter of an environment into which only `fashn-planner` was installed, isolated
(`python -I`), so that the folders of the tests are not taken for packages.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

DATA = Path(__file__).parent / "data"
PLANNER = Path(sys.executable).with_name("planner")


def planner(*arguments: str, exit_code: int = 0) -> str:
    done = subprocess.run([str(PLANNER), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == exit_code, (arguments, done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr if exit_code else done.stdout


def main() -> None:
    for extra in ("starlette", "uvicorn", "PIL", "openpyxl", "pytest"):
        assert importlib.util.find_spec(extra) is None, f"{extra} is installed: this is not the core alone"
    assert json.loads(planner("quote", "--resolution", "2k", "--json"))["credits"] == 4
    plan = json.loads(planner("plan", str(DATA / "lookbook.csv"), "--json"))
    assert (plan["jobs"], plan["credits"]) == (240, 1124)
    looks = str(DATA / "lookbook.csv")
    check = json.loads(planner("check", looks, "--policy", "starter", "--format", "json"))
    assert check["totals"]["allowed"] == 240
    missing = planner("sandbox", exit_code=2)
    assert "fashn-planner[sandbox]" in missing
    with tempfile.TemporaryDirectory() as folder:
        from policies import Guard

        with Guard.open(policy="starter", ledger=f"sqlite:///{folder}/spend.db") as guard:
            assert guard.check({"prompt": "x"}, labels={"team": "social", "stage": "draft"}).credits == 1
    print("the core works alone")


if __name__ == "__main__":
    main()
