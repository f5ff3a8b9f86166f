"""What the tests of the sandbox share: bodies, a key, and a machine with one account."""

import json

import pytest

from policies.server.sandbox.loading import shipped_provider

KEY = "Bearer test-key"


@pytest.fixture(scope="session")
def body():
    """Makes the body of a submission from inputs; the prompt may be left out."""

    def make(**inputs):
        return json.dumps(
            {"model_name": "model-create", "inputs": {"prompt": "a linen dress", **inputs}}
        ).encode()

    return make


class Machine:
    """A provider in virtual time with the key already in hand. `at` is the instant of the next call."""

    def __init__(self, body, **options):
        self.provider = shipped_provider(**{"seed": 7, **options})
        self.body = body
        self.at = 0.0

    def run(self, webhook_url=None, **inputs):
        return self.provider.run(self.body(**inputs), KEY, self.at, webhook_url)

    def status(self, id):
        return self.provider.status(id, KEY, self.at)

    def credits(self):
        return self.provider.credits(KEY, self.at)

    def left(self):
        return self.credits().json()["credits"]

    def bill(self):
        return self.provider.bill(self.at)

    def finish(self, id):
        """Lets time pass until a prediction has ended, and asks for its status."""
        self.at = max(self.at, self.provider.ends_seconds(id))
        return self.status(id)


@pytest.fixture
def machine(body):
    """Makes machines."""
    return lambda **options: Machine(body, **options)
