"""The command line: ``kontext VERB``. Each verb is one module here, imported when it is asked for.

To add a verb: write ``flows/cli/<verb>.py`` with one function of Typer's style named like the
module, and add its name to ``VERBS``. Keep its module level light: whatever is heavy is imported
inside the function, so that ``kontext --help`` stays instant.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import IntEnum
from importlib import import_module
from typing import Annotated, NoReturn

import typer

from flows.cli.brief import in_brief
from flows.cli.examples import epilog
from flows.problems import ProblemsError

VERBS: tuple[str, ...] = (
    "init",
    "check",
    "plan",
    "run",
    "decide",
    "worker",
    "deploy",
    "up",
    "down",
    "status",
    "wait-for",
    "report",
    "pull",
    "show",
    "remake",
    "runs",
    "gc",
    "models",
    "bench",
    "eval",
    "data",
    "train",
    "schema",
    "config",
)

BRIEF = ("check", "plan", "schema", "config")  # these end before there is much garbage
WAITS = "wait-for"  # the verb that becomes another program

HELP = """Batch creative automation: YAML recipes in, edited pictures and a report out.

Write a recipe, [bold]check[/bold] it, [bold]plan[/bold] it, [bold]run[/bold] it. Whatever has
been made already is never made again.
"""

EXIT_CODES = (
    "Exit codes: 0 all done; 1 some steps failed; 2 the recipe or a setting is wrong; "
    "130 interrupted."
)


class ExitCode(IntEnum):
    """What the shell gets to know."""

    DONE = 0
    FAILED = 1
    WRONG = 2
    INTERRUPTED = 130


def build_app(verbs: Sequence[str] = VERBS) -> typer.Typer:
    """The Typer application with these verbs; importing only their modules."""
    app = typer.Typer(
        name="kontext",
        help=HELP,
        epilog=EXIT_CODES,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for verb in verbs:
        function = verb.replace("-", "_")
        module = import_module(f"flows.cli.{function}")
        app.command(name=verb, epilog=epilog(verb, EXIT_CODES))(getattr(module, function))
    return app


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"kontext {version('kontext-pipeline')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Print the version."),
    ] = False,
) -> None:
    # Without a callback Typer would turn an app of one verb into a command without verbs.
    pass


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run ``kontext``; always ends in ``SystemExit`` with one of ``ExitCode``."""
    args = list(sys.argv[1:] if argv is None else argv)
    # What stands behind '--' is another program's, its options too.
    args, command = _parted(args) if args[:1] == [WAITS] else (args, [])
    named = args[0] if args and args[0] in VERBS else None
    try:
        with in_brief() if named in BRIEF else nullcontext():
            build_app((named,) if named else VERBS)(args, prog_name="kontext", obj=command)
    except ProblemsError as error:  # a recipe or the settings, in any verb
        typer.echo(str(error), err=True)
        raise SystemExit(ExitCode.WRONG) from None
    except ModuleNotFoundError as error:  # what computes is an extra of this package
        from flows.engines.loading import not_installed

        if not error.name:
            raise
        typer.echo(not_installed(error.name), err=True)
        raise SystemExit(ExitCode.WRONG) from None
    raise SystemExit(ExitCode.DONE)


def _parted(args: list[str]) -> tuple[list[str], list[str]]:
    at = args.index("--") if "--" in args else len(args)
    return args[:at], args[at + 1 :]


@contextmanager
def told(
    *failed: type[Exception], wrong: tuple[type[Exception], ...] = (), stopped: str = ""
) -> Iterator[None]:
    """Errors of these kinds are their own words on stderr, and an exit code; no traceback.

    ``stopped`` is what is said on Ctrl-C.
    """
    try:
        yield
    except (*failed, *wrong) as error:
        typer.echo(str(error), err=True)
        code = ExitCode.WRONG if isinstance(error, wrong) else ExitCode.FAILED
    except KeyboardInterrupt:
        if not stopped:
            raise
        typer.echo(stopped, err=True)
        code = ExitCode.INTERRUPTED
    else:
        return
    raise typer.Exit(code)
