"""Settings: the order in which they are looked up, and what is refused in `planner.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import ConfigError, InputError
from policies.cli.settings import SETTINGS, chosen_credit_price, instant_of, resolve


def faults(text, folder):
    (folder / "planner.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        resolve(environment={}, folder=folder)
    return caught.value.faults


def test_without_anything_the_defaults_hold(folder):
    """Account and shoot are `main`, the ledger is `spend.db` here, nothing else is set."""
    found = resolve(environment={}, folder=folder)
    assert (found.account, found.shoot, found.ledger) == ("main", "main", "sqlite:///spend.db")
    assert found.policy is None
    assert found.origin("account") == "the default"


def test_a_flag_beats_the_environment_which_beats_the_file(folder):
    """Each source hides the ones after it, and every value knows where it comes from."""
    (folder / "planner.toml").write_text('account = "file"\nshoot = "file"\npolicy = "starter"\n')
    environment = {"PLANNER_ACCOUNT": "variable", "PLANNER_SHOOT": "variable"}
    found = resolve(environment=environment, folder=folder, account="flag")
    assert (found.account, found.shoot, found.policy) == ("flag", "variable", "starter")
    origins = [found.origin(name) for name in ("account", "shoot", "policy")]
    assert origins == ["--account", "PLANNER_SHOOT", "planner.toml:3"]


def test_the_nearest_file_upwards_counts(folder):
    """A folder without a `planner.toml` uses its parent's, and only the nearest one."""
    inner = folder / "shoots" / "march"
    inner.mkdir(parents=True)
    (folder / "planner.toml").write_text('account = "studio"\nshoot = "far"\n')
    assert resolve(environment={}, folder=inner).account == "studio"
    (inner.parent / "planner.toml").write_text('shoot = "near"\n')
    found = resolve(environment={}, folder=inner)
    assert (found.account, found.shoot) == ("main", "near")


def test_paths_in_the_file_start_at_the_file(folder, monkeypatch):
    """A ledger, policy or price file is found from any folder below; a shipped name stays a name."""
    inner = folder / "shoots"
    inner.mkdir()
    (folder / "studio").write_text("policy: 1")
    (folder / "planner.toml").write_text(
        'ledger = "spend.db"\npolicy = "policies/studio.yaml"\nprices = "prices.yaml"\n'
    )
    monkeypatch.chdir(inner)
    found = resolve(environment={})
    assert found.ledger_file == Path("../spend.db")
    assert (found.policy, found.prices) == ("../policies/studio.yaml", "../prices.yaml")
    (folder / "planner.toml").write_text('policy = "starter"\nledger = "sqlite:////srv/spend.db"\n')
    found = resolve(environment={})
    assert found.policy == "starter"
    assert found.ledger_file is not None
    assert found.ledger_file.resolve() == Path("/srv/spend.db")


@pytest.mark.parametrize(
    ("text", "address", "name"),
    [
        ("march.db", "sqlite:///march.db", "march.db"),
        ("sqlite:///march.db", "sqlite:///march.db", "march.db"),
        ("sqlite:////srv/march.db", "sqlite:////srv/march.db", "/srv/march.db"),
        ("postgresql://me:secret@host/spend", "postgresql://me:secret@host/spend", "host/spend"),
    ],
)
def test_a_ledger_is_an_address_or_a_file(folder, text, address, name):
    """A plain `.db` path is an SQLite file; a name for people never shows a password."""
    found = resolve(environment={}, folder=folder, ledger=text)
    assert (found.ledger, found.ledger_name) == (address, name)


def test_every_fault_of_the_file_comes_at_once_with_its_line(folder):
    """Unknown names get a suggestion, wrong types are told, each with its line."""
    found = faults('acount = "x"\nledger = 5\n\n[planner]\nshoot = "y"\n', folder)
    assert [(fault.code, fault.where) for fault in found] == [
        ("unknown_setting", "planner.toml:1"),
        ("bad_setting", "planner.toml:2"),
        ("unknown_setting", "planner.toml:4"),
    ]
    assert found[0].hint == "did you mean `account`?"
    assert found[2].hint == "write the settings without a table"


@pytest.mark.parametrize("name", ["api_key", "FASHN_API_KEY", "token"])
def test_a_key_in_the_file_is_a_fault_that_does_not_repeat_it(folder, name):
    """A secret in a shared file is refused, and its text is shown nowhere."""
    (fault,) = faults(f'{name} = "fa-very-secret"\n', folder)
    assert fault.code == "secret_in_file"
    assert "FASHN_API_KEY" in fault.hint
    assert "very-secret" not in str(fault)


def test_what_is_not_toml_is_told_with_its_line(folder):
    """A syntax error names the line on which it stands."""
    (fault,) = faults('account = "x"\nledger = spend.db\n', folder)
    assert (fault.code, fault.where) == ("bad_settings", "planner.toml:2")


def test_no_setting_takes_a_key_from_the_command_line():
    """No flag and no name in the file is for an API key."""
    assert not any("key" in name and name != "key_column" for name in SETTINGS)


def test_a_wrong_credit_price_is_blamed_on_where_it_was_set(folder):
    """The fault says which flag, variable or line the price came from."""
    settings = resolve(environment={"PLANNER_CREDIT_PRICE": "tire-1"}, folder=folder)
    with pytest.raises(InputError) as caught:
        chosen_credit_price(settings)
    assert caught.value.faults[0].where == "PLANNER_CREDIT_PRICE"


def test_a_policy_is_asked_for_by_name(folder):
    """Where a policy is needed and none is set, the fault says how to name one."""
    with pytest.raises(ConfigError, match="no policy is named") as caught:
        resolve(environment={}, folder=folder).required_policy()
    assert caught.value.faults[0].code == "no_policy"


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-11-22T10:00"])
def test_an_instant_needs_a_date_and_an_offset(text):
    """What is no instant, or has no offset, is refused: a guess of the zone would move a budget."""
    with pytest.raises(InputError) as caught:
        instant_of(text)
    assert caught.value.faults[0].code == "bad_instant"


def test_a_file_that_cannot_be_read_is_told(folder):
    """A `planner.toml` that is not text stops the command instead of being skipped."""
    (folder / "planner.toml").write_bytes(b'account = "\xff"\n')
    with pytest.raises(ConfigError, match="UTF-8"):
        resolve(environment={}, folder=folder)
