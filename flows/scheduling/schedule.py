"""The nightly schedule: ours among those that people have added in Prefect's dashboard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError

from flows.scheduling.names import NIGHTLY, deployment
from flows.scheduling.pools import DeployError

SLUG = "nightly"  # of the schedule, by which it is found again
ZONE = "UTC"


def scheduled(
    cron: str | None, time_zone: str | None, known: Sequence[DeploymentSchedule]
) -> tuple[DeploymentSchedule | None, CronSchedule | None]:
    """Our own schedule as it is, and as it is to be; ``None``: none.

    What is ``None`` stays as it is; ``cron`` empty takes it away.

    Raises:
        DeployError: it cannot be had.
    """
    before = next((one for one in known if one.slug == SLUG), None)
    kept = before.schedule if before and isinstance(before.schedule, CronSchedule) else None
    cron = cron if cron is not None else kept.cron if kept else None
    if not cron:
        if time_zone is not None:
            raise DeployError(
                "a time zone without a schedule; expected --cron beside --time-zone "
                f"{time_zone}; add it"
            )
        return before, None
    zone = time_zone or (kept.timezone if kept else None) or ZONE
    day_or = {"day_or": kept.day_or} if kept else {}
    try:
        return before, CronSchedule(cron=cron, timezone=zone, **day_or)
    except ValidationError as error:
        wrong, expected = cron, "minute hour day month weekday, such as '0 22 * * 1-5'"
        if error.errors()[0]["loc"] == ("timezone",):
            wrong, expected = zone, "a name such as Europe/Berlin"
        raise DeployError(f"'{wrong}' cannot be used; expected {expected}; mend it") from None


def reschedule(client: SyncPrefectClient, cron: str | None, time_zone: str | None) -> Iterator[str]:
    """The deployed nightly's own schedule as it is wanted; what was changed, in words.

    A paused one stays paused, and whatever else people have set on it stays, too.
    """
    if cron is None and time_zone is None:
        return
    name = deployment(NIGHTLY)
    found = client.read_deployment_by_name(name)
    before, after = scheduled(cron, time_zone, found.schedules)
    if after is None:
        if before is not None:
            client.delete_deployment_schedule(found.id, before.id)
            yield f"{name} is not started by itself any more"
        return
    starts = f"{name} is started {after.cron} ({after.timezone})"
    if before is None:
        new = DeploymentScheduleCreate(schedule=after, active=True, slug=SLUG)
        client.create_deployment_schedules(found.id, [new])
        yield starts
    elif before.schedule != after:
        client.update_deployment_schedule(found.id, before.id, schedule=after)
        yield starts if before.active else f"{starts}; it is paused and stays so"
