"""From what somebody asked for to a run under way: recipe, plan, sources, order. No Prefect here.

Everything may be done again: an intake that died half-way leaves nothing that counts.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from flows.coordination.holds import Holds
from flows.coordination.ledger import Ledger, Order, Queue
from flows.coordination.shelf import Shelf
from flows.coordination.sources import put_sources
from flows.pipeline import RunRequest, plan_recipe, run_folder
from flows.recipe.errors import RecipeError
from flows.recipe.step import Plan
from flows.settings import Settings, SettingsError
from flows.store.base import StoreError
from flows.store.keyed import KeyedStore
from kontext_engine.errors import EngineError

log = logging.getLogger(__name__)

MAX_OVERRIDES = 200


class _Form(BaseModel):
    """Parameters of a flow run. Frozen; unknown names are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunForm(_Form):
    """The form of ``run-recipe``."""

    recipe: str = Field(
        min_length=1,
        max_length=1000,
        title="Recipe",
        description="A recipe's name, or s3://bucket/path/recipe.yaml.",
    )
    overrides: Annotated[
        list[Annotated[str, Field(pattern=r"^[^=\s][^=]*=")]],
        Field(
            default_factory=list,
            max_length=MAX_OVERRIDES,
            title="Overrides",
            description="One change a line, name=value: a variable of the recipe (season=spring), "
            "a setting (defaults.steps=8) or a step's (steps.hero.prompt=make it snow).",
        ),
    ]
    only: Annotated[
        list[str],
        Field(
            default_factory=list,
            max_length=MAX_OVERRIDES,
            title="Only",
            description="Make only these, with what they need: STEP, STEP[axis=value] or "
            "axis=value. Empty: everything.",
        ),
    ]
    store: str | None = Field(
        default=None,
        title="Output prefix",
        description="Where pictures and runs are kept; a coordinator must serve it. Empty: "
        "whichever coordinator takes the run.",
    )
    queue: Queue = Field(
        default="urgent",
        title="Priority",
        description="urgent goes before everything else; nightly waits until nothing is urgent.",
    )
    deadline: AwareDatetime | None = Field(
        default=None,
        title="Deadline",
        description="What has not begun by then stays undone; running again makes it. Empty: none.",
    )


class NightlyForm(_Form):
    """The form of ``nightly``: many recipes, one parent run each."""

    recipes: str = Field(
        default="",
        max_length=1000,
        title="Recipes",
        description="A folder of the coordinator's recipes, or s3://bucket/prefix. Empty: all.",
    )
    store: str | None = Field(
        default=None,
        title="Output prefix",
        description="Where pictures and runs are kept; a coordinator must serve it. Empty: "
        "whichever coordinator takes the run.",
    )
    deadline_hours: float | None = Field(
        default=None,
        gt=0,
        le=24 * 14,
        title="Deadline (hours)",
        description="So long after the start, what has not begun stays undone. Empty: no deadline.",
    )


class ChunkForm(_Form):
    """The parameters of ``make-chunk``; nobody fills them in by hand."""

    store: str = Field(title="Store", description="Where the run is kept.")
    run: str = Field(title="Run", description="The run's name.")
    chunk: str = Field(title="Chunk", description="The chunk's name in it.")
    attempt: int = Field(ge=1, title="Attempt", description="From 1.")


class Entered(_Form):
    """The run is under way."""

    kind: Literal["entered"] = "entered"
    run: str
    steps: int
    warnings: tuple[str, ...] = ()


class Refused(_Form):
    """It cannot be run as it was asked for; ``message`` says why, for people."""

    kind: Literal["refused"] = "refused"
    message: str


class Wait(_Form):
    """Not now: the same run is under way for somebody else, or the store is away."""

    kind: Literal["wait"] = "wait"
    message: str


Intaken = Entered | Refused | Wait


class Intake:
    """Takes in orders for one store. ``take`` may run in any thread, for one order at a time."""

    def __init__(self, store: KeyedStore, shelf: Shelf, holds: Holds, settings: Settings) -> None:
        self._store = store
        self._shelf = shelf
        self._holds = holds
        self._settings = settings
        self._ledger = Ledger(store.objects)

    def take(self, form: RunForm, flow_run: str) -> Intaken:
        """Plan what was asked for, put its sources into the store, and enter its order."""
        try:
            plan = self._plan(form)
            return self._enter(plan, form, flow_run)
        except (RecipeError, SettingsError) as error:
            return Refused(message=str(error))
        except EngineError as error:  # a source changed; a model's folder is broken
            return Refused(message=f"{form.recipe}: {error}")
        except StoreError as error:
            return Wait(message=str(error))
        except Exception as error:
            log.exception("%s could not be taken in", form.recipe)
            what = f"{type(error).__name__}: {error}"
            return Refused(message=f"{form.recipe}: {what}; the coordinator's log has more")

    def _plan(self, form: RunForm) -> Plan:
        settings = self._settings
        with self._shelf.fetched(form.recipe) as found:
            request = RunRequest(
                found.path,
                settings.store,
                tuple(form.overrides),
                tuple(form.only),
                device=settings.device,
                batch=settings.batch,
                settings=found.settings,
            )
            return plan_recipe(request)

    def _enter(self, plan: Plan, form: RunForm, flow_run: str) -> Intaken:
        run = run_folder(plan, self._store.objects).name
        entered = Entered(run=run, steps=len(plan.steps), warnings=plan.warnings)
        before = self._ledger.order(run)
        if before is not None:
            return entered if before.flow_run == flow_run else _same(run)
        # An attempt that outlived an earlier run of this name may have left something there.
        self._ledger.close(run)
        self._holds.hold(run, plan)
        try:
            put_sources(plan, self._store)
            opened = self._ledger.open(self._order(run, plan, form, flow_run), plan)
        except BaseException:
            self._holds.drop(run)
            raise
        self._holds.entered(run)
        return entered if opened else _same(run)

    def _order(self, run: str, plan: Plan, form: RunForm, flow_run: str) -> Order:
        return Order(
            run=run,
            recipe=plan.recipe,
            plan=plan.digest,
            queue=form.queue,
            batch=self._settings.batch,
            flow_run=flow_run,
            created=datetime.now(UTC).isoformat(),
            deadline=form.deadline.timestamp() if form.deadline is not None else None,
        )


def _same(run: str) -> Wait:
    return Wait(message=f"the same run, {run}, is under way; this one goes on when that has ended")
