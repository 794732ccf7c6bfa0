"""The models that can be named: shipped ones, known hub ones, and any diffusers folder by path.

Torch-free, and looks at this machine's disk only: nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from kontext_engine.digest import COMPONENTS, folder_digest
from kontext_engine.errors import ModelError
from kontext_engine.geometry import Size
from kontext_engine.spec import SPEC_FILE, Condition, ModelSpec, overlay_spec, read_json

MODELS_FOLDER = Path(__file__).parent / "models"
SHIPPED = ("kontext-mini",)

_FLUX_LICENCE = (
    "FLUX.1 [dev] Non-Commercial License: gated weights, no commercial use, and whoever deploys "
    "them must filter or review the outputs"
)
_MEGAPIXEL_SIZES = tuple(
    Size(width, height)
    for width, height in (
        (672, 1568), (688, 1504), (720, 1456), (752, 1392), (800, 1328), (832, 1248),
        (880, 1184), (944, 1104), (1024, 1024), (1104, 944), (1184, 880), (1248, 832),
        (1328, 800), (1392, 752), (1456, 720), (1504, 688), (1568, 672),
    )
)  # fmt: skip


def _flux_dev(name: str, steps: int, guidance: float, condition: Condition) -> ModelSpec:
    sequence = condition is Condition.SEQUENCE
    return ModelSpec(
        name=name,
        source=name,
        digest="",
        pixel_area=1024 * 1024,
        default_size=Size(1024, 1024),
        sizes=_MEGAPIXEL_SIZES if sequence else (),
        text_tokens=512,
        default_steps=steps,
        default_guidance=guidance,
        guidance_embedded=True,
        condition=condition,
        max_contexts=4 if sequence else 1,  # trained with one; more work by shifted grids
        licence=_FLUX_LICENCE,
    )


# Steps and guidance as the diffusers pipelines' own examples and defaults have them.
HUB_MODELS: Mapping[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        _flux_dev("black-forest-labs/FLUX.1-Kontext-dev", 28, 2.5, Condition.SEQUENCE),
        _flux_dev("black-forest-labs/FLUX.1-Fill-dev", 50, 30.0, Condition.CHANNEL),
        _flux_dev("black-forest-labs/FLUX.1-Canny-dev", 50, 30.0, Condition.CHANNEL),
        _flux_dev("black-forest-labs/FLUX.1-Depth-dev", 30, 10.0, Condition.CHANNEL),
    )
}


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be named: whether it is on this machine, where, and on what terms."""

    name: str
    available: bool
    source: str
    licence: str


def list_models() -> tuple[ModelEntry, ...]:
    """Every model known by name; a diffusers folder may be named by its path besides."""
    shipped = [
        ModelEntry(name, (folder / "model_index.json").is_file(), str(folder), _licence(folder))
        for name in SHIPPED
        for folder in [MODELS_FOLDER / name]
    ]
    hub = [
        ModelEntry(name, folder is not None, str(folder or name), spec.licence)
        for name, spec in HUB_MODELS.items()
        for folder in [_hub_folder(name)]
    ]
    return (*shipped, *hub)


def _licence(folder: Path) -> str:
    try:
        return str(read_json(folder / SPEC_FILE).get("licence", ""))
    except ModelError:
        return ""


def resolve_model(name_or_path: str | Path) -> ModelSpec:
    """The spec of a model: a shipped name, a diffusers folder's path, or a known hub id.

    The weights' digest is computed (or recalled) here; nothing is loaded or downloaded.

    Raises:
        ModelError: no such model, not on this machine, or a folder of another layout.
    """
    name = str(name_or_path)
    if name in SHIPPED:
        return _from_folder(MODELS_FOLDER / name, f"model '{name}' is not installed: ")
    if name in HUB_MODELS and not Path(name).is_dir():
        folder = _hub_folder(name)
        if folder is None:
            raise ModelError(_not_downloaded(name))
        return replace(HUB_MODELS[name], source=str(folder), digest=_digest(folder))
    if Path(name).is_dir():
        return _from_folder(Path(name))
    known = (*SHIPPED, *HUB_MODELS)
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known models: {', '.join(known)}"
    raise ModelError(f"no model '{name}': neither a known name nor a folder here; {hint}")


def _not_downloaded(name: str) -> str:
    return (
        f"{name} is not on this machine, so its weights' digest, which every step's key needs, "
        f"cannot be computed. Licence: {_FLUX_LICENCE}. Accept it on the model's page, fetch the "
        f"weights with `hf download {name}`, then run this again"
    )


def _hub_folder(name: str) -> Path | None:
    """Where the hub's client keeps a model it has downloaded; looks at the disk only."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError):
        return None
    return folder if (folder / "model_index.json").is_file() else None


def _from_folder(folder: Path, prefix: str = "") -> ModelSpec:
    missing = [item for item in ("model_index.json", *COMPONENTS) if not (folder / item).exists()]
    if missing:
        raise ModelError(
            f"{prefix}{folder} is not a Kontext model: {', '.join(missing)} not found there; "
            "expected a diffusers folder, as FluxKontextPipeline.save_pretrained writes it"
        )
    spec = _derived_spec(folder)
    if (folder / SPEC_FILE).is_file():
        spec = overlay_spec(spec, folder / SPEC_FILE)
    return replace(spec, source=str(folder), digest=_digest(folder))


def _digest(folder: Path) -> str:
    try:
        return folder_digest(folder)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: cannot read the weights ({error})") from error


def _derived_spec(folder: Path) -> ModelSpec:
    """What the diffusers configurations tell; the rest as FLUX.1 Kontext has it."""
    transformer = read_json(folder / "transformer" / "config.json")
    vae = read_json(folder / "vae" / "config.json")
    tokenizer = read_json(folder / "tokenizer_2" / "tokenizer_config.json")
    kind = transformer.get("_class_name")
    if kind != "FluxTransformer2DModel":
        raise ModelError(f"{folder}/transformer is a {kind}; expected a FluxTransformer2DModel")
    channels = int(transformer.get("in_channels") or 64)
    predicted = int(transformer.get("out_channels") or channels)
    multiple = 2 ** len(vae.get("block_out_channels") or (0, 0, 0, 0))
    side = int(vae.get("sample_size") or 0) // multiple * multiple
    side = side if side > 32 else 1024  # 32 is the library's default, which says nothing
    return ModelSpec(
        name=folder.resolve().name,
        source=str(folder),
        digest="",
        pixel_area=side * side,
        default_size=Size(side, side),
        sizes=(),
        text_tokens=min(int(tokenizer.get("model_max_length") or 512), 512),
        default_steps=28,
        default_guidance=2.5,
        guidance_embedded=bool(transformer.get("guidance_embeds")),
        multiple=multiple,
        condition=Condition.CHANNEL if channels > predicted else Condition.SEQUENCE,
    )
