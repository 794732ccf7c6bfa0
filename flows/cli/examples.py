"""What each verb's ``--help`` ends with: calls that people make."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "init": ("kontext init", "kontext init autumn"),
    "check": ("kontext check autumn.yaml", "kontext check recipes/*.yaml --set season=winter"),
    "plan": (
        "kontext plan autumn.yaml",
        "kontext plan autumn.yaml --only 'product.category=shoes' --prompts --csv",
        "kontext plan autumn.yaml --resolved",
    ),
    "run": (
        "kontext run autumn.yaml",
        "kontext run autumn.yaml --set season=winter --only 'on_scene[product=shoe*]'",
        "kontext run autumn.yaml --reroll 'on_scene[product=shoe,scene=beach]'",
        "kontext run autumn.yaml --prefect --store s3://shots/autumn",
    ),
    "decide": (
        "kontext decide storyboard.yaml",
        "kontext decide storyboard.yaml pick 'chosen[shot=s03]' 2",
        "kontext decide storyboard.yaml approve 'chosen[shot=s*]'",
        "kontext decide storyboard.yaml release 'chosen[shot=s03]'",
        "kontext decide storyboard.yaml --export",
    ),
    "worker": ("kontext worker --serve chunks", "kontext worker --serve parents"),
    "deploy": ("kontext deploy", "kontext deploy --recipes recipes --cron '0 22 * * *'"),
    "up": ("kontext up",),
    "down": ("kontext down",),
    "status": ("kontext status",),
    "wait-for": ("kontext wait-for --help",),
    "report": ("kontext report autumn", "kontext report out/runs/2026-01-31-autumn-0123abcd"),
    "pull": (
        "kontext pull autumn pictures",
        "kontext pull s3://shots/out/runs/RUN pictures",
        "kontext pull autumn new --changed-since 2026-01-31-autumn-0123abcd",
    ),
    "show": ("kontext show hero.jpg", "kontext show hero.jpg --store s3://shots/out --json"),
    "remake": ("kontext remake hero.jpg", "kontext remake hero.jpg --vary seed"),
    "runs": ("kontext runs", "kontext runs --limit 5 --json"),
    "gc": ("kontext gc", "kontext gc --delete"),
    "models": ("kontext models",),
    "bench": ("kontext bench",),
    "eval": ("kontext eval studio", "kontext eval references --limit 8 --json figures.json"),
    "data": ("kontext data",),
    "train": ("kontext train autoencoder", "kontext train distill --peak 1e-4"),
    "schema": ("kontext schema --out recipe.schema.json",),
    "config": ("kontext config",),
}


def epilog(verb: str, exit_codes: str) -> str:
    """The end of a verb's help: examples, one a line, then the exit codes."""
    # Rich joins the lines of a paragraph: each example is one of its own.
    lines = "\n\n".join(call.replace("[", r"\[") for call in EXAMPLES[verb])
    return f"Examples:\n\n{lines}\n\n{exit_codes}"
