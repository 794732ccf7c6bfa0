"""Who hears of a night: Prefect automations that send with one of its own notification blocks.

The server sends, so it is told too when no worker of ours is alive. How a night ended is told as
its state is set; what has *not* happened by some time is found by the server's own clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from flows.scheduling.names import NIGHTLY
from flows.scheduling.pools import DeployError
from flows.scheduling.server import dashboard

ENDED: Final = "kontext: a night ended"
FAILED: Final = "kontext: a night failed"
OVERDUE: Final = "kontext: a night is past its deadline"
NOT_BEGUN: Final = "kontext: a night has not begun"

BEGINS_WITHIN = 600.0  # seconds after its time
CALLED_LATE = 20.0  # of these until the server calls a run Late, from when it counts

PICTURES: Final = "kontext.pictures"  # labels of a night, which its notices tell
REPORTS: Final = "kontext.reports"

_END = ("Completed", "Failed", "Cancelled", "TimedOut")
_STATE = "{{ flow_run.state.name }}: {{ flow_run.state.message }}"
_PICTURES = f"{{% if flow_run.labels['{PICTURES}'] %}}pictures: {{{{ flow_run.labels['{PICTURES}'] }}}}\n{{% endif %}}"  # noqa: E501
_REPORTS = f"{{{{ flow_run.labels['{REPORTS}'] }}}}"


@dataclass(frozen=True, slots=True)
class Notices:
    """What is sent with a block; with ``report`` the reports' links are in it, else none."""

    block: UUID
    report: bool = False


def block_of(client: SyncPrefectClient, named: str | None) -> UUID | None:
    """The notification block that ``TYPE/NAME`` names; ``None`` or "": none.

    Raises:
        DeployError: there is none, or it cannot notify.
    """
    if not named:
        return None
    kind, _, name = named.partition("/")
    expected = "expected TYPE/NAME of a notification block, such as slack-webhook/nights"
    try:
        found = client.read_block_document_by_name(name, kind, include_secrets=False)
    except ObjectNotFound:
        raise DeployError(
            f"--notify {named}: there is no such block; {expected}; make it in Prefect's "
            "dashboard under Blocks; 'prefect block ls' shows those that there are"
        ) from None
    if found.block_schema is None or "notify" not in found.block_schema.capabilities:
        raise DeployError(f"--notify {named}: that block sends no notifications; {expected}")
    return found.id


def arrange(
    client: SyncPrefectClient,
    named: str | None,
    block: UUID | None,
    hours: float | None,
    *,
    report: bool,
) -> Iterator[str]:
    """The automations as they are wanted; what was changed, in words.

    ``named`` "": none; ``None``: as they are, by a deadline of so many ``hours``.
    """
    known = {name: _read(client, name) for name in (ENDED, FAILED, OVERDUE, NOT_BEGUN)}
    kept = known[ENDED]
    if named is None and kept is not None:
        action = kept.actions[0]
        if isinstance(action, SendNotification):
            block, report = action.block_document_id, REPORTS in action.body
    wanted = {one.name: one for one in automations(Notices(block, report), hours)} if block else {}
    for name, found in known.items():
        one = wanted.get(name)
        if one is None and found is not None:
            client.delete_automation(found.id)
            yield f"automation '{name}' removed"
        elif one is not None and found is None:
            client.create_automation(one)
            yield f"automation '{name}' created"
        elif one is not None and found is not None:
            one.enabled = found.enabled  # people may have paused it
            # Not as JSON: what is expected are sets.
            if one.model_dump() != AutomationCore(**found.model_dump(exclude={"id"})).model_dump():
                client.update_automation(found.id, one)
                yield f"automation '{name}' changed"


def automations(
    notices: Notices, hours: float | None, begins: float = BEGINS_WITHIN - CALLED_LATE
) -> Iterator[AutomationCore]:
    """All of them; ``hours`` is a night's deadline, ``begins`` the seconds that it may be Late."""
    page = f"{dashboard()}/runs/flow-run/{{{{ flow_run.id }}}}"
    reports = f"\n{_REPORTS}" if notices.report else ""
    told = f"{_STATE}\n{_PICTURES}{page}{reports}"

    def one(
        name: str, body: str, expect: tuple[str, ...], after: str = "", within: float = 0.0
    ) -> AutomationCore:
        trigger = EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": NIGHTLY},
            for_each={"prefect.resource.id"},
            after={_event(after)} if after else set(),
            expect=set(map(_event, expect)),
            posture=Posture.Proactive if after else Posture.Reactive,
            threshold=1,
            within=timedelta(seconds=within),
        )
        subject = f"{name} ({{{{ flow_run.name }}}})"
        action = SendNotification(block_document_id=notices.block, subject=subject, body=body)
        return AutomationCore(
            name=name,
            description="kontext deploy makes it, and takes it away with --notify ''.",
            trigger=trigger,
            actions=[action],
        )

    yield one(ENDED, told, ("Completed", "Cancelled"))
    yield one(FAILED, told, ("Failed", "Crashed", "TimedOut"))
    if hours:
        undone = f"It has not ended after {hours:g} hours; what has not begun stays undone."
        yield one(OVERDUE, f"{undone}\n{page}", _END, after="Running", within=3600 * hours)
    idle = (
        "It was to begin at {{ flow_run.expected_start_time }}, and no worker has begun it; is a "
        "'kontext worker' that serves parents alive?"
    )
    begun = (*_END, "Running", "Crashed", "Paused", "Suspended")
    yield one(NOT_BEGUN, f"{idle}\n{page}", begun, after="Late", within=begins)


def _event(state: str) -> str:
    return f"prefect.flow-run.{state}"


def _read(client: SyncPrefectClient, name: str) -> Automation | None:
    return next(iter(client.read_automations_by_name(name)), None)
