"""``kontext remake``: the picture of a delivered file, made again."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.cli import ExitCode, told
from flows.cli.options import OnDevice, Store, effective
from flows.cli.show import find_origin, read

if TYPE_CHECKING:
    from flows.pull.origin import Origin
    from flows.run.remake import Remake
    from flows.settings import Settings


def remake(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A delivered picture.")],
    *,
    vary: Annotated[
        Literal["seed"] | None,
        typer.Option(help="Another picture: with the next seed, which is told."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to put it; default: here, as NAME-remade."),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Compute every step, also what the store has.")
    ] = False,
    source: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="A source picture, or a folder to look for it in; default: the current one. "
            "Repeat for more.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where the model is, if not by its name.")
    ] = None,
    store: Store = None,
    device: OnDevice = None,
) -> None:
    """Make the picture of FILE again, from its own data or the store's, and compare.

    What the store lacks is computed in batches like the first time's: every pixel is the same with
    the same weights, numerics, libraries, processor and threads. If one is not, or something is
    missing, it says so and ends with 1. Nothing is written into the store.
    """
    from flows.run.deciding import DecidingError
    from flows.run.outputs import OutputError
    from flows.run.remake import RemakeError, find_sources
    from flows.store.base import StoreError
    from kontext_engine.errors import ModelError

    found = find_origin(file, store)
    settings = effective(store=store, device=device)
    with tempfile.TemporaryDirectory(prefix="kontext-remake-") as scratch:
        try:
            work = _work(found, file, Path(scratch), settings, model, anew=anew)
            seed = work.seed() if vary else None
            target = to or Path(f"{file.stem}-{seed if vary else 'remade'}{file.suffix}")
            if target.exists():
                raise RemakeError(f"'{target}' is there already; name another place by --to")
            with told(StoreError, stopped="stopped; nothing was written"):
                roots, names = source or [Path()], found.files.values()
                data = work.make(find_sources(work.told, work.kept, roots, names), seed)
        except (DecidingError, OutputError, RemakeError, ModelError) as error:
            typer.echo(f"{file.name}: {error}", err=True)
            raise typer.Exit(ExitCode.FAILED) from None
    target.write_bytes(data)
    if vary:
        typer.echo(f"{target}: as {file.name}, with seed {seed}")
        return
    _compare(file, target, data)


def _work(
    found: Origin, file: Path, scratch: Path, settings: Settings, model: str | None, *, anew: bool
) -> Remake:
    from flows.plan.filing import credit
    from flows.run.batches import read_batches
    from flows.run.deciding import read_told
    from flows.run.pipeline import engine_factory
    from flows.run.remake import Remake, RemakeError
    from flows.run.signing import Signing
    from flows.store.address import open_store
    from flows.store.local import LocalStore
    from kontext_engine.catalogue import resolve_model

    said = read_told(found.told)
    spec = resolve_model(model or said.model["name"])
    if spec.digest != said.model["digest"]:
        raise RemakeError(
            f"was made with weights {said.model['digest'][:12]} of '{said.model['name']}', and "
            f"'{spec.name}' here has {spec.digest[:12]}; expected the same; name them by --model"
        )
    return Remake(
        told=said,
        model=spec,
        path=file.name,
        recipe=found.recipe,
        label=found.label,
        scratch=LocalStore(scratch),
        factory=lambda plan: engine_factory(plan, scratch, settings.batch),
        kept=open_store(settings.store, settings),
        batches=read_batches(found.batches),
        anew=anew,
        credit=credit(settings),
        signing=Signing.of(settings),
    )


def _compare(file: Path, target: Path, data: bytes) -> None:
    from flows.pull.origin import decoded, same_pixels

    before, after = decoded(read(file), file.name), decoded(data, target.name)
    if same_pixels(before, after):
        typer.echo(f"{target}: every pixel as in {file.name}")
        return
    why = "its size or channels are others"
    if before.size == after.size and before.mode == after.mode:
        from PIL import ImageChops

        apart = ImageChops.difference(before, after)
        most = max(apart.tobytes())
        changed = apart.convert("RGB").point(lambda v: v and 255)
        count = sum(changed.convert("L").point(lambda v: v and 1).histogram()[1:])
        why = (
            f"{count:,} of {before.width * before.height:,} pixels differ, by {most} of 255 at most"
        )
    typer.echo(
        f"{target}: not as {file.name}: {why}; it was changed since, or made with other libraries, "
        "on another processor, with another number of threads or in batches that nothing tells of "
        "(a level); without --anew the store's picture is taken",
        err=True,
    )
    raise typer.Exit(ExitCode.FAILED)
