"""The provider's official SDK, unchanged, against the stand-in."""

import fashn
import httpx
import pytest

from policies.server.sandbox.app import running
from policies.server.sandbox.faults import Faults

SPEED = 500.0
INPUTS = {"prompt": "a linen dress", "resolution": "2k", "num_images": 2}


@pytest.fixture(scope="module")
def handle():
    """One fast sandbox."""
    with running(speed=SPEED, seed=11, api_key="k") as handle:
        yield handle


@pytest.fixture
def sdk(handle):
    """The SDK's own client, pointed at the sandbox and nothing else."""
    handle.provider.faults = Faults()
    with httpx.Client(trust_env=False) as http:
        yield fashn.Fashn(api_key="k", base_url=handle.url, http_client=http)


def test_run_and_status(sdk):
    """The SDK reads our answers into its own types."""
    run = sdk.predictions.run(model_name="model-create", inputs=INPUTS)
    assert run.id.endswith("-u1")
    assert run.error is None
    assert sdk.predictions.status(run.id).status in ("starting", "in_queue", "processing")


def test_subscribe(sdk):
    """It polls to the end and finds the credits in the header."""
    result = sdk.predictions.subscribe(model_name="model-create", inputs=INPUTS, poll_interval=20)
    assert (result.status, result.credits_used, len(result.output)) == ("completed", 8, 2)
    assert httpx.get(result.output[1], trust_env=False).headers["content-type"] == "image/png"


def test_subscribe_to_a_failure(sdk, handle):
    """A failed prediction arrives with its error name."""
    handle.provider.faults = Faults(failed=1.0)
    result = sdk.predictions.subscribe(model_name="model-create", inputs=INPUTS, poll_interval=20)
    assert result.status == "failed"
    assert result.error.message


def test_errors_have_the_sdks_classes(sdk):
    """400, 401 and 404 become the SDK's own exceptions."""
    with pytest.raises(fashn.BadRequestError):
        sdk.predictions.run(model_name="model-create", inputs={"prompt": " "})
    with pytest.raises(fashn.NotFoundError):
        sdk.predictions.status("nobody-u1")
    with pytest.raises(fashn.AuthenticationError):
        sdk.with_options(api_key="wrong").predictions.run(model_name="model-create", inputs=INPUTS)


def test_one_lost_answer_becomes_several_paid_predictions(sdk, handle):
    """The danger the guard is for: the SDK repeats a paid POST whose answer was lost."""
    before = handle.bill()
    handle.provider.faults = Faults(lost_after=1.0)
    with pytest.raises(fashn.APIConnectionError):
        sdk.with_options(max_retries=1).predictions.run(model_name="model-create", inputs=INPUTS)
    after = handle.bill()
    assert after.accepted - before.accepted == 2
    assert after.duplicates > before.duplicates
