"""The nightly schedule: ours among those that people have added in Prefect's dashboard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError

from flows.scheduling.names import NIGHTLY, deployment
from flows.scheduling.pools import DeployError, asked

SLUG = "nightly"  # of the schedule, by which it is found again
ZONE = "UTC"


@dataclass(frozen=True, slots=True)
class Nightly:
    """What is wanted of it; ``None`` stays as it is, ``cron`` empty takes it away."""

    cron: str | None
    time_zone: str | None

    def check(self, before: Sequence[DeploymentSchedule]) -> None:
        """Whether it can be had.

        Raises:
            DeployError: it is none.
        """
        self.made(ours(before))

    def made(self, before: DeploymentSchedule | None) -> CronSchedule | None:
        """The schedule as it is to be; ``None``: none.

        Raises:
            DeployError: it is none.
        """
        known = before.schedule if before is not None else None
        kept = known if isinstance(known, CronSchedule) else None
        cron = self.cron if self.cron is not None else kept.cron if kept else None
        if not cron:
            if self.time_zone is not None:
                raise DeployError(
                    "a time zone without a schedule; expected --cron beside --time-zone "
                    f"{self.time_zone}; add it"
                )
            return None
        zone = self.time_zone or (kept.timezone if kept else None) or ZONE
        try:
            if kept is None:
                return CronSchedule(cron=cron, timezone=zone)
            return CronSchedule(cron=cron, timezone=zone, day_or=kept.day_or)
        except ValidationError as error:
            in_zone = error.errors()[0]["loc"] == ("timezone",)
            wrong = zone if in_zone else cron
            expected = (
                "a name such as Europe/Berlin"
                if in_zone
                else "minute hour day month weekday, such as '0 22 * * 1-5'"
            )
            raise DeployError(f"'{wrong}' cannot be used; expected {expected}; mend it") from None


def ours(schedules: Sequence[DeploymentSchedule]) -> DeploymentSchedule | None:
    """Our own among a deployment's schedules."""
    return next((one for one in schedules if one.slug == SLUG), None)


def reschedule(client: SyncPrefectClient, wanted: Nightly) -> Iterator[str]:
    """The deployed nightly's own schedule as it is wanted; what was changed, in words.

    A paused one stays paused, and whatever else people have set on it stays, too.
    """
    if wanted.cron is None and wanted.time_zone is None:
        return
    name = deployment(NIGHTLY)
    found = asked(lambda: client.read_deployment_by_name(name), "a deployment")
    before = ours(found.schedules)
    after = wanted.made(before)
    if before is None:
        if after is not None:
            new = DeploymentScheduleCreate(schedule=after, active=True, slug=SLUG)
            asked(lambda: client.create_deployment_schedules(found.id, [new]), "a schedule")
            yield f"{name} is started {after.cron} ({after.timezone})"
        return
    if after is None:
        asked(lambda: client.delete_deployment_schedule(found.id, before.id), "a schedule")
        yield f"{name} is not started by itself any more"
    elif before.schedule != after:
        asked(
            lambda: client.update_deployment_schedule(found.id, before.id, schedule=after),
            "a schedule",
        )
        paused = "" if before.active else "; it is paused and stays so"
        yield f"{name} is started {after.cron} ({after.timezone}){paused}"
