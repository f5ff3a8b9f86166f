"""What expires first is asked about and fetched first, after a run that brought nothing home."""

from dataclasses import dataclass

from planner.pacing import BASE64_SECONDS, CDN_SECONDS
from policies.guard.batch import expires_us
from policies.guard.wire import AsyncWire
from tests.policies.guard import stage as stage_module
from tests.policies.guard.stage import rows, stage


@dataclass
class Asked:
    """The ids that the provider was asked about, in order."""

    ids: list[str]

    def wire(self, *arguments):
        asked = self.ids

        class Noting(AsyncWire):
            async def get(self, url):
                asked.append(url.rpartition("/")[2])
                return await super().get(url)

        return Noting(*arguments)


def test_private_pictures_are_asked_about_before_those_that_stay_for_days(tmp_path, monkeypatch):
    """An hour against three days: the last rows of the file come first, then the oldest job."""
    with stage(tmp_path) as found:
        found.run(rows(3), pictures=None)
        found.run(rows(2, "private", return_base64=True), pictures=None)
        entries = {entry.prediction_id: entry for entry in found.entries()}
        asked = Asked([])
        monkeypatch.setattr(stage_module, "AsyncWire", asked.wire)
        runner = found.run([*rows(3), *rows(2, "private", return_base64=True)])
        assert runner.exit_code == 0
        assert len(found.names_home()) == 5
    order = [entries[name] for name in asked.ids if name in entries]
    assert [entry.return_base64 for entry in order] == [True, True, None, None, None]
    assert [expires_us(entry) for entry in order] == sorted(map(expires_us, entries.values()))


def test_the_hour_and_the_days_count_from_the_end_of_the_job(tmp_path):
    """A job that has not ended is reckoned from its acceptance, so that it is never thought too young."""
    with stage(tmp_path) as found:
        found.run([*rows(1), *rows(1, "private", return_base64=True)], pictures=None)
        for entry in found.entries():
            kept = BASE64_SECONDS if entry.return_base64 else CDN_SECONDS
            assert expires_us(entry) == entry.ended_us + kept * 1_000_000
            assert expires_us(entry._replace(ended_us=None)) == entry.accepted_us + kept * 1_000_000
