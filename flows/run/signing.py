"""Signing delivered files (C2PA): who made them of what, so that a change of a byte shows.

The private key is read where a file is encoded, and is in no plan, record or log.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from flows.plan.step import Plan, PlannedOutput, PlannedSheet, SourceImage, Step
from flows.run.encoders import MEDIA_TYPES
from flows.run.outputs import OutputError, Sign
from flows.run.pictures import read_source
from flows.run.provenance import software
from flows.run.telling import legible, sheet_facts, source_type
from flows.settings import Settings
from kontext_engine.errors import PictureError
from kontext_engine.picture.formats import open_image

log = logging.getLogger(__name__)

_HELP = "mend the settings of whoever encodes files"
_OFFLINE = {
    "builder": {"thumbnail": {"enabled": False}},  # it would make a PNG nine times as large
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}
_ANY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Signing:
    """What this process signs with: the files of its certificates and its private key."""

    certificate: Path | None = None
    key_file: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> Signing:
        """What the settings of this process name."""
        return cls(settings.delivery.certificate, settings.delivery.key_file)

    def for_output(self, plan: Plan, planned: PlannedOutput) -> Sign | None:
        """How a file is signed; ``None`` where it is not to be.

        Raises:
            OutputError: it is to be, and cannot be here.
        """
        if not planned.credit.certificate:
            return None
        signer = self._signer(planned.credit.certificate)
        step = plan.steps[planned.key]
        source = _first_source(plan, step)
        action: dict[str, Any] = {
            "action": "c2pa.created" if source is None else "c2pa.edited",
            "digitalSourceType": source_type(plan, step),
            "softwareAgent": {"name": plan.model.name, "version": plan.model.digest[:16]},
        }
        if planned.credit.metadata == "full" and step.params.prompt:
            action["parameters"] = {"description": legible(step.params.prompt)}
        manifest, media = _manifest(planned.path, action), MEDIA_TYPES[planned.format]
        return lambda data: _signed(signer, manifest, source, data, media)

    def for_sheet(self, plan: Plan, sheet: PlannedSheet) -> Sign | None:
        """The same of a contact sheet: made, of pictures of a kind, which are not named.

        Raises:
            OutputError: it is to be signed, and cannot be here.
        """
        if not sheet.credit.certificate:
            return None
        signer, facts = self._signer(sheet.credit.certificate), sheet_facts(plan, sheet)
        action: dict[str, Any] = {
            "action": "c2pa.created",
            "digitalSourceType": facts["DigitalSourceType"],
        }
        if "AISystemUsed" in facts:
            agent = {"name": facts["AISystemUsed"], "version": facts["AISystemVersionUsed"]}
            action["softwareAgent"] = agent
        manifest, media = _manifest(sheet.path, action), MEDIA_TYPES[sheet.format]
        return lambda data: _signed(signer, manifest, None, data, media)

    def _signer(self, digest: str) -> Any:
        certificates = _read(self.certificate, "delivery.certificate")
        found = hashlib.sha256(certificates).hexdigest()
        if found != digest:
            raise OutputError(
                f"is to be signed with certificate {digest[:12]}, and delivery.certificate here is "
                f"{found[:12]}; expected the same; {_HELP}"
            )
        key = _read(self.key_file, "delivery.key_file")
        c2pa = _library()
        try:
            info = c2pa.C2paSignerInfo(
                alg=_algorithm(certificates), sign_cert=certificates, private_key=key, ta_url=None
            )
            return c2pa.Signer.from_info(info)
        except Exception as error:  # a native library's, whose words might hold the key
            log.debug("no signer: %s", type(error).__name__)
            raise OutputError(
                "cannot be signed with delivery.certificate and delivery.key_file "
                f"({type(error).__name__}); expected a certificate for signing, its authorities "
                f"after it, and its own key in PKCS#8; {_HELP}"
            ) from None


UNSIGNED = Signing()


def _read(path: Path | None, setting: str) -> bytes:
    if path is None:
        raise OutputError(f"is to be signed, and {setting} is not set here; {_HELP}")
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(
            f"is to be signed, and {setting} cannot be read ({reason}); {_HELP}"
        ) from None


def _library() -> Any:
    try:
        import c2pa
    except ImportError:
        raise OutputError(
            "is to be signed, which needs c2pa-python; install kontext-pipeline[c2pa]"
        ) from None
    return c2pa


def _algorithm(certificates: bytes) -> bytes:
    """The name of the signature's algorithm, by the certificate's key."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    key = x509.load_pem_x509_certificate(certificates).public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {256: b"es256", 384: b"es384", 521: b"es512"}[key.curve.key_size]
    return b"ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else b"ps256"


def _manifest(path: str, action: dict[str, Any]) -> dict[str, Any]:
    name, _, version = software().partition(" ")
    return {
        "claim_generator_info": [{"name": name, "version": version}],
        "title": path.rpartition("/")[2],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }


def _first_source(plan: Plan, step: Step) -> SourceImage | None:
    """The picture that the file comes from: the first of the first, up to a source."""
    return next(_upwards(plan, step), None)


def _upwards(plan: Plan, step: Step) -> Iterator[SourceImage]:
    for ref in step.pictures:
        if isinstance(ref, SourceImage):
            yield ref
        else:
            yield from _upwards(plan, plan.steps[ref.key])


def _signed(
    signer: Any, manifest: dict[str, Any], source: SourceImage | None, data: bytes, media: str
) -> bytes:
    """The file with its manifest, signed without asking anybody.

    Raises:
        OutputError: the source cannot be read any more, or the library refuses.
    """
    c2pa = _library()
    made = io.BytesIO()
    try:
        with (
            c2pa.Context.from_dict(_OFFLINE) as context,
            c2pa.Builder(manifest, context) as builder,
        ):
            if source is not None:
                picture = read_source(source)
                about = {"title": source.file, "relationship": "parentOf"}
                builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
                builder.add_ingredient(about, _media_of(picture), io.BytesIO(picture))
            builder.sign(signer, media, io.BytesIO(data), made)
    except PictureError as error:
        raise OutputError(f"cannot be signed with its source: {error}") from None
    except c2pa.C2paError as error:
        why = str(error).splitlines()[0][:200]
        raise OutputError(f"cannot be signed ({why}); {_HELP}") from None
    return made.getvalue()


def _media_of(picture: bytes) -> str:
    try:
        with open_image(picture, "", max_pixels=1 << 62) as image:
            return Image.MIME.get(str(image.format), _ANY)
    except PictureError:
        return _ANY
