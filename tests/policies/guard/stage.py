"""A stage for whole runs: a sandbox over HTTP, a ledger in a file, and a runner between them."""

import asyncio
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from planner.request import ModelCreateRequest
from policies.guard.batch import Line, name_pictures
from policies.guard.guard import Guard
from policies.guard.naming import Template
from policies.guard.pictures import PictureFolder
from policies.guard.results import read_records
from policies.guard.runner import Runner
from policies.guard.triage import Options
from policies.guard.wire import AsyncWire
from policies.ledger.states import State
from policies.loading import parse_policy
from policies.server.sandbox.app import Handle, running

SPEED = 200.0
OPEN_POLICY = """
policy: 1
name: open
timezone: UTC
otherwise: allow
labels: {team: any}
"""


@dataclass
class Stage:
    """One sandbox and one ledger; every `run` is what a new process would do."""

    handle: Handle
    folder: Path
    policy: str = OPEN_POLICY
    speed: float = SPEED
    api_key: str = "test-key"
    account: str = "test"
    shoot: str = "main"
    url: str = ""
    takes: list[Line] = field(default_factory=list)

    @property
    def pictures(self) -> Path:
        return self.folder / "pictures"

    def guard(self) -> Guard:
        policy = parse_policy(self.policy, "open.yaml")
        place = {"account": self.account, "shoot": self.shoot, "speed": self.speed}
        return Guard.open(policy, f"sqlite:///{self.folder}/spend.db", **place)

    def run(
        self,
        lines: list[Line],
        *,
        pictures: Path | bool | None = True,
        act: Callable[[Runner], object] | None = None,
        act_when: Callable[[Runner], bool] = lambda _: True,
        **options: object,
    ) -> Runner:
        """Run the lines; `act` is called once, as soon as `act_when` says so."""
        home = self.pictures if pictures is True else pictures
        with self.guard() as guard:
            guard.bind(self.url or self.handle.url)
            name_pictures(lines, Template.parse("{key}-{n}"), guard.shoot, {})
            return asyncio.run(self._run(guard, lines, home or None, Options(**options), act, act_when))

    async def _run(self, guard, lines, home, options, act, act_when) -> Runner:
        wire = AsyncWire(self.url or self.handle.url, self.api_key)
        folder = None if home is None else PictureFolder(home, speed=self.speed)
        runner = Runner(guard, wire, lines, folder, options)

        async def watch() -> None:
            while act is not None:
                if act_when(runner):
                    act(runner)
                    return
                await asyncio.sleep(0.002)

        watching = asyncio.create_task(watch())
        try:
            await asyncio.wait_for(runner.run(), 30)
        finally:
            watching.cancel()
            await wire.close()
            if folder is not None:
                await folder.close()
        return runner

    def entries(self, *states: State):
        with self.guard() as guard:
            return guard.store.entries(states=states or None)

    def settled_credits(self) -> int:
        return sum(entry.credits for entry in self.entries(State.SETTLED))

    def names_home(self) -> set[str]:
        found = (path.relative_to(self.pictures) for path in self.pictures.rglob("*") if path.is_file())
        return {str(path) for path in found}

    def records(self):
        return read_records(self.pictures)


@contextmanager
def stage(folder: Path, policy: str = OPEN_POLICY, **options):
    """A stage whose sandbox takes these options."""
    folder.mkdir(parents=True, exist_ok=True)
    with running(**{"speed": SPEED, "seed": 11, **options}) as handle:
        yield Stage(handle, folder, policy, options.get("speed", SPEED))


def rows(number: int, prefix: str = "look", **inputs) -> list[Line]:
    """That many rows with keys of their own, each asking for another picture."""
    return [
        Line(
            f"{prefix}-{place}",
            ModelCreateRequest(prompt=f"linen dress {place}", seed=place, **inputs),
            labels={"team": "social"},
            columns={"key": f"{prefix}-{place}", "prompt": f"linen dress {place}"},
            images=inputs.get("num_images", 1),
        )
        for place in range(number)
    ]
