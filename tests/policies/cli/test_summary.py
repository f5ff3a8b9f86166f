"""What a summary suggests next can be copied as it stands."""

from policies.cli.settings import resolve
from policies.cli.summary import Call


def test_a_suggested_command_carries_what_it_would_not_find_by_itself(tmp_path):
    """Flags come along, quoted; what the environment or `planner.toml` says is found again without them."""
    flags = {"policy": "my studio.yaml", "ledger": "march.db"}
    call = Call("look book.csv", resolve(environment={"PLANNER_ACCOUNT": "a"}, folder=tmp_path, **flags))
    assert call.check == "`planner check 'look book.csv' --policy 'my studio.yaml' --ledger march.db`"
    assert call.collect == "`planner collect --ledger march.db`"


def test_a_command_about_the_sandbox_names_its_ledger(tmp_path):
    """`check` has no `--sandbox`: it is told the ledger and the account that were used."""
    settings = resolve(environment={}, folder=tmp_path, ledger="sandbox.db", account="sandbox")
    call = Call("l.csv", settings, sandbox=True, speed=20.0)
    assert call.check == "`planner check l.csv --ledger sandbox.db --account sandbox`"
    assert call.collect.startswith("`planner collect --sandbox --speed 20 --ledger sandbox.db")
