"""``kontext decide``: pick, approve, reject, re-roll, rate; and what was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import told
from flows.cli.options import Model, RecipePath, Sets, Store, changes, effective

if TYPE_CHECKING:
    from flows.decisions.decision import Decision
    from flows.run.desk import Desk
    from flows.settings import Settings


def decide(
    recipe: RecipePath,
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="pick, approve, reject, seed, release, undo, rate, comment or vote. Without it "
            "all that was decided is listed.",
        ),
    ] = None,
    selector: Annotated[
        str | None,
        typer.Argument(metavar="STEP[VARIANT]", help="What about; a selector of several, each."),
    ] = None,
    value: Annotated[
        str | None,
        typer.Argument(
            metavar="VALUE",
            help="pick: the candidate's number or label. rate: 1 to 5. vote: +1 or -1. comment: "
            "the words. undo: the number of a decision; default: the newest.",
        ),
    ] = None,
    *,
    sets: Sets = None,
    model: Model = None,
    store: Store = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List what holds, what waits and what was said.")
    ] = False,
    export: Annotated[
        bool, typer.Option("--export", help="Write what holds to RECIPE.picks.yaml.")
    ] = False,
    importing: Annotated[
        bool,
        typer.Option("--import", help="Tell what RECIPE.picks.yaml would change; --yes does it."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --import: write it.")] = False,
    move: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--move",
            metavar="OLD NEW",
            help="After a rename: carry decisions over, of a label, of a step's name, or of the "
            "recipe's former name.",
        ),
    ] = None,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt", help="Take over what was decided from another file of this recipe's name."
        ),
    ] = False,
) -> None:
    """Decide about the pictures of RECIPE: records in the store, never written over.

    What two people decide at once about one picture is applied once; the other is told. Undoing is
    a decision, too. Who decides is the setting 'author', else the system's user.
    """
    from flows.decisions.ledger import Refused
    from flows.run.desk import kinds
    from flows.store.base import StoreError

    settings = effective(recipe, store=store)
    if kind is not None and kind not in kinds():
        from flows.problems import did_you_mean, one_of

        hint = did_you_mean(kind, kinds()) or f"expected {one_of(kinds())}"
        raise typer.BadParameter(f"unknown kind '{kind}': {hint}", param_hint="KIND")
    if kind is not None and selector is None:
        raise typer.BadParameter("what about? say STEP[VARIANT]", param_hint="STEP[VARIANT]")
    if yes and not importing:
        raise typer.BadParameter("only an import is asked about", param_hint="--yes")
    with told(StoreError, Refused):
        if kind == "seed":
            reroll_told(recipe, changes(sets, model), (str(selector),), settings)
            return
        desk = _desk(recipe, changes(sets, model), settings)
        for note in desk.plan.warnings:
            typer.echo(f"note: {note}", err=True)
        if kind is not None:
            _tell(desk.decide(kind, str(selector), value))
        if adopt:
            _tell(desk.adopt() or _nothing("nothing to adopt"))
        if move is not None:
            _tell(_move(desk, *move, settings))
        if export:
            from flows.run.picksfile import export as write_picks
            from flows.run.picksfile import picks_path

            count = write_picks(desk, picks_path(recipe))
            typer.echo(f"{picks_path(recipe)}: {count} decisions")
        if importing:
            _import(desk, yes=yes)
        if listed or not (kind or adopt or move or export or importing):
            _list(desk)


def _nothing(text: str) -> list[Decision]:
    typer.echo(text)
    return []


def _desk(recipe: object, sets: tuple[str, ...], settings: Settings) -> Desk:
    from pathlib import Path

    from flows.decisions.decided import author, read_decided
    from flows.plan.models import known_model
    from flows.plan.plan import make_plan
    from flows.plan.reading import read_recipe
    from flows.run.desk import Desk
    from flows.store.address import open_store
    from kontext_engine.numerics import choose_numerics

    path = Path(str(recipe))
    read = read_recipe(path, sets, settings)
    store = open_store(settings.store, settings)
    decided = read_decided(store, settings, read.name, path.name)
    spec, _ = known_model(read)
    numerics = choose_numerics(None, settings.device)
    plan = make_plan(read, model=spec, numerics=numerics, settings=settings, decided=decided)
    return Desk(read, plan, decided, store, author(settings))


def _move(desk: Desk, old: str, new: str, settings: Settings) -> list[Decision]:
    from flows.decisions.decided import read_decided

    if new == desk.plan.recipe and old != new:
        former = read_decided(desk.store, settings, old, desk.plan_file)
        return desk.move(old, new, former)
    return desk.move(old, new, None)


def _import(desk: Desk, *, yes: bool) -> None:
    from flows.run.picksfile import changes as would_change
    from flows.run.picksfile import picks_path

    found = list(would_change(desk, picks_path(desk.recipe.path)))
    for one in found:
        typer.echo(f"{one.slot.words}: {one.words}")
        if yes:
            desk.write(one)
    if not found:
        typer.echo("nothing would change")
    elif not yes:
        typer.echo(f"{len(found)} decisions would be made; --yes makes them")


def _tell(made: list[Decision]) -> None:
    for one in made:
        typer.echo(f"{one.slot.words}: {one.words}, number {one.number}")


def _list(desk: Desk) -> None:
    from flows.cli.words import aligned

    rows = list(desk.listing())
    typer.echo("\n".join(aligned(rows)) if rows else "nothing was decided, nothing waits")


def reroll_told(
    recipe: object, sets: tuple[str, ...], selectors: tuple[str, ...], settings: Settings,
    only: tuple[str, ...] = (), *, keep: bool | None = None,
) -> None:  # fmt: skip
    """Give what is selected new seeds: decisions, and, with a store in a folder, the file, too.

    Raises:
        RecipeError, Refused, StoreError: as ``plan.reroll``.
    """
    from pathlib import Path

    from flows.decisions.decided import author, read_decided
    from flows.decisions.ledger import add
    from flows.plan.reading import read_recipe
    from flows.plan.reroll import reroll
    from flows.recipe.overrides import overrides_path
    from flows.settings.address import is_s3
    from flows.store.address import open_store

    path = Path(str(recipe))
    read = read_recipe(path, sets, settings)
    store = open_store(settings.store, settings)
    in_file = not is_s3(settings.store) if keep is None else keep
    for change in reroll(
        read,
        selectors,
        only=only,
        settings=settings,
        decided=read_decided(store, settings, read.name, path.name),
        who=author(settings),
        add=lambda decision: add(store.objects, decision),
        keep=in_file,
    ):
        kept = overrides_path(path) if in_file else settings.store
        text = f"{change.label}: seed {change.before} becomes {change.seed}, kept in {kept}"
        typer.echo(text, err=True)
