"""``kontext deploy``: work pools, queues, deployments and the nightly schedule in Prefect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import told
from flows.cli.options import Recipes, Wait, effective

if TYPE_CHECKING:
    from flows.recipe.catalog import Catalog
    from flows.recipe.parameters import Parameter


def deploy(
    *,
    recipes: Recipes = None,
    store: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLACE",
            help="Where pictures and runs are kept; default: the setting. Repeat for more to "
            "choose from; each needs a parents' worker of its own.",
        ),
    ] = None,
    cron: Annotated[
        str | None,
        typer.Option(
            metavar="CRON",
            help="When the nightly run starts, such as '0 22 * * *'; '' for never; default: as "
            "it was.",
        ),
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE",
            help="Of the schedule, such as Europe/Berlin; default: as it was, else UTC.",
        ),
    ] = None,
    nightly: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="The recipes of a night: a folder of the recipes that parents' workers have, or "
            "s3://bucket/prefix; '' for all; default: as it was.",
        ),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            metavar="HOURS",
            help="What a night has not begun after so many hours stays undone; 0 for none; "
            "default: as it was.",
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Recipes of a night at once; default: as it was, 4 at first.",
        ),
    ] = None,
    notify: Annotated[
        str | None,
        typer.Option(
            metavar="BLOCK",
            help="Tell of nights (ended, failed, past the deadline, not begun) with this "
            "notification block of Prefect's, as TYPE/NAME; '' for nobody; default: as it was.",
        ),
    ] = None,
    notify_report: Annotated[
        bool | None,
        typer.Option(
            "--notify-report",
            help="With --notify: the reports' links, too, which whoever has them can open.",
        ),
    ] = None,
    wait: Wait = None,
) -> None:
    """Create or update what Prefect needs to know; run it again whenever recipes come or go.

    It makes the work pools 'kontext-parents' (recipes and nights: 'kontext worker --serve parents'
    takes them) and 'kontext' (their chunks: '--serve chunks', on engines), and the deployments
    run-recipe, nightly and make-chunk. The server is the one that PREFECT_API_URL names.
    """
    from flows.recipe.catalog import Catalog
    from flows.scheduling.deploy import Deployment
    from flows.scheduling.deploy import deploy as carry_out
    from flows.scheduling.pools import DeployError
    from flows.scheduling.server import NoServerError, ServerError

    night = {
        "cron": cron,
        "time_zone": time_zone,
        "recipes": nightly,
        "deadline": deadline,
        "concurrency": concurrency,
        "notify": notify,
        "notify_report": notify_report,
    }
    stores = [
        effective(store=one, recipes=recipes, wait=wait, night=night) for one in store or (None,)
    ]
    settings = stores[0]
    if settings.night.notify_report and not settings.night.notify:
        raise typer.BadParameter("needs --notify BLOCK beside it", param_hint="--notify-report")
    catalog = Catalog(settings.recipes, settings)
    names = tuple(catalog.names())
    wanted = Deployment(
        names,
        tuple(_address(one.store) for one in stores),
        settings.night,
        _parameters(catalog, names),
    )
    with told(ServerError, wrong=(NoServerError, DeployError)):
        deployed = carry_out(wanted, settings.wait, lambda text: typer.echo(text, err=True))
    for change in deployed.changes or ("nothing to change",):
        typer.echo(change)
    typer.echo(f"dashboard  {deployed.dashboard}")


def _parameters(catalog: Catalog, names: Sequence[str]) -> dict[str, Mapping[str, Parameter]]:
    """The parameters of those recipes that have some; one that cannot be read is told."""
    from flows.recipe.errors import RecipeError
    from flows.recipe.recipe import load_parameters

    found = {}
    for name in names:
        try:
            with catalog.fetched(name) as recipe:
                if own := load_parameters(recipe.path, recipe.settings, recipe.fetch):
                    found[name] = own
        except RecipeError as error:
            typer.echo(f"note: {name} has no form of its own: {error}", err=True)
    return found


def _address(store: str) -> str:
    from pathlib import Path

    from flows.settings.address import is_s3

    return store if is_s3(store) else str(Path(store).absolute())
