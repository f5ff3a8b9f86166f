"""The provider's own address is used over https only."""

import pytest

from planner.errors import ConfigError
from policies.guard.wire import provider_address


@pytest.mark.parametrize("address", ["http://api.fashn.ai", "http://API.fashn.ai./v1", "http://fashn.ai:80"])
def test_the_key_is_never_sent_in_the_open(address):
    """An address of the provider without the `s` is refused before anything is connected."""
    with pytest.raises(ConfigError, match="over https only") as caught:
        provider_address(address)
    assert caught.value.exit_code == 2


def test_a_stand_in_may_be_plain():
    """One on this machine or network has no certificate."""
    assert provider_address("http://127.0.0.1:8000/v1") == "http://127.0.0.1:8000"
    assert provider_address("https://api.fashn.ai/v1", {}) == "https://api.fashn.ai"
