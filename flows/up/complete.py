"""A set brought up: its programs started, waited for, deployed to; or ended again."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from flows.settings.load import load_settings
from flows.store.address import open_store
from flows.up import UpError, keep
from flows.up.folder import Sheet, StateFolder
from flows.up.ports import USUAL, choose
from flows.up.programs import KONTEXT, Options, Plan, absolute, plan, port_names
from flows.up.waiting import ask_for, store_lacks, wait_for

PATIENCE = 900.0  # seconds: the tables of a first start take minutes on a busy machine
FAILING = 30.0  # seconds; what has not come up then, though it was tried again, will not

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What ``kontext up`` was told of its set; ``None`` is what was not said."""

    store: str | None = None
    postgres: bool = False
    port: int | None = None


def begin(folder: StateFolder, wanted: Wanted, options: Options, say: Say) -> Plan:
    """Take the state folder, choose ports, start all programs; this process gets their variables.

    Raises:
        UpError: it cannot be; nothing of it runs then.
        StoreError: the store cannot be used.
    """
    sheet = _agreed(folder.prepare(), wanted, folder.shown)
    folder.check_database()
    before = dict(sheet.ports)
    dashboard = {"server": wanted.port} if wanted.port else {}
    sheet.ports = choose(port_names(sheet), dashboard, before)
    for name, port in sheet.ports.items():
        usual = dashboard.get(name) or before.get(name) or USUAL[name]
        if port != usual:
            called = "dashboard" if name == "server" else name
            say(f"port {usual} is taken: the {called} is at {port}")
    try:
        made = plan(folder, sheet, options)
        folder.keep(sheet)
        kept = keep.inherited(made.variables)
        os.environ.clear()
        os.environ.update({**kept, **made.variables})
        if sheet.store:
            open_store(sheet.store, load_settings()).prepare()
        keep.start(folder, made.programs, made.variables)
    except OSError as error:
        raise UpError(
            f"{folder.shown}: cannot be written ({error.strerror or error}); expected room, and a "
            "folder that this user may write to; clean it up, or give another with --state"
        ) from None
    return made


def _agreed(sheet: Sheet, wanted: Wanted, shown: str) -> Sheet:
    """The sheet with what was said; a folder that was begun otherwise stays as it was begun."""
    store = None if wanted.store is None else absolute(wanted.store)
    if sheet.ports and store not in {None, sheet.store}:
        begun = f"--store {sheet.store}" if sheet.store else "an S3 server of its own"
        raise UpError(
            f"{shown}: was begun with {begun}; expected the same; leave out --store, or give "
            "another folder with --state"
        )
    if sheet.ports and wanted.postgres and not sheet.postgres:
        raise UpError(
            f"{shown}: was begun on SQLite; expected the same; leave out --postgres, or give "
            "another folder with --state"
        )
    if not sheet.ports:
        sheet.store, sheet.postgres = store or "", wanted.postgres
    return sheet


def complete(folder: StateFolder, made: Plan, say: Say) -> None:
    """Wait until all of it works, and deploy.

    Raises:
        UpError: a program does not start, or nothing can be deployed.
    """
    look = _Look(folder)
    for program in made.programs:
        if program.page:
            wait_for(program.title, ask_for(program.page), say, PATIENCE, look)
        if program.name == "s3":  # its bucket comes a moment later, so no first answer is the last
            wait_for("its bucket", lambda: store_lacks(whatever=True), say, PATIENCE, look)
        if program.name == "server":
            say("Prefect's server is there")
            _deploy(folder, look)


def _deploy(folder: StateFolder, look: _Look) -> None:
    with (folder.logs / "deploy.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own
            [*KONTEXT, "deploy", "--wait", f"{PATIENCE:g}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        while process.poll() is None:
            look()
            time.sleep(0.1)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        process.wait()
    if process.returncode:
        raise UpError(folder.last_words("deploy") or "'kontext deploy' has failed")


class _Look:
    """A look at the programs while something is waited for: one that does not come up is told."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._failing: dict[str, float] = {}

    def __call__(self) -> None:
        found = keep.told(self._folder)
        if found is None and self._folder.supervisor() is None:
            raise UpError(
                "the supervisor has ended, and its programs with it; expected it to stay; start "
                "again, and all goes on"
            )
        for one in found or ():
            if one.state == "RUNNING":
                self._failing.pop(one.name, None)
            elif one.fails:
                since = self._failing.setdefault(one.name, time.monotonic())
                if time.monotonic() - since > FAILING:
                    raise UpError(
                        f"{one.name} does not start: {self._folder.last_words(one.name)}; expected "
                        f"it to stay; look into {self._folder.logs / one.name}.log"
                    )
