"""What a file tells of itself, as XMP: IPTC's fields for pictures made by machines, and our own."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from flows.plan.step import Plan, PlannedOutput, PlannedSheet, SourceImage, Step
from flows.run.batches import Found, told_batches
from flows.run.deciding import deciding, numbered
from flows.store.record import Record, canonical_json

MAX_FACTS = 60_000  # bytes of all facts as XMP has them, beside some 2,000 around them
NAMESPACE = "urn:kontext:provenance:1"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_META, _DC, _XMP = (
    "adobe:ns:meta/",
    "http://purl.org/dc/elements/1.1/",
    "http://ns.adobe.com/xap/1.0/",
)
_PREFIXES = {"x": _META, "rdf": _RDF, "dc": _DC, "xmp": _XMP, "Iptc4xmpExt": _IPTC, "k": NAMESPACE}
_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_DECIDES = "decides"  # the fact that ``remake`` goes by
BATCHES = "batches"  # and where each of its steps was computed
_HEAD, _TAIL = "<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>", "<?xpacket end='w'?>"

for _prefix, _address in _PREFIXES.items():
    ET.register_namespace(_prefix, _address)


def facts_of(plan: Plan, step: Step) -> dict[str, str]:
    """What an output tells of what was asked for, as text."""
    params = step.params
    facts = {
        "key": step.key,
        "recipe": plan.recipe,
        "step": step.label,
        "operation": step.operation,
        "prompt": params.prompt,
        "negative_prompt": params.negative_prompt,
        "seed": params.seed,
        "steps": params.steps,
        "guidance": params.guidance,
        **_model_of(plan, step),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def _model_of(plan: Plan, step: Step) -> dict[str, str]:
    """The model that made a picture: a pinned one may be of another than the plan's."""
    made = step.made
    if made is not None:
        return {"model": made.model, "model_digest": made.digest}
    return {"model": plan.model.name, "model_digest": plan.model.digest}


def _above(plan: Plan, *steps: Step) -> list[Step]:
    """Steps and all that they are made from, each once."""
    keys = tuple(step.key for step in steps)
    return [plan.steps[key] for key in numbered(keys, lambda key: plan.steps[key].parents)]


def source_type(plan: Plan, *steps: Step) -> str:
    """IPTC's address of the kind of source that a picture is, by all that it is made from; of one
    that shows several by all that these are made from.
    """
    above = _above(plan, *steps)
    operations = {one.operation for one in above}
    sources = any(isinstance(ref, SourceImage) for one in above for ref in one.contexts)
    if operations == {"cutout"}:
        return f"{_SOURCE_TYPES}algorithmicallyEnhanced"
    made = "compositeWithTrainedAlgorithmicMedia" if sources else "trainedAlgorithmicMedia"
    return _SOURCE_TYPES + made


def by_a_model(source: str) -> bool:
    """Whether a picture of this kind of source was made by a model."""
    return source.endswith("rainedAlgorithmicMedia")


def told_words(plan: Plan, planned: PlannedOutput) -> Mapping[str, Any]:
    """What decides what a file tells, for its key."""
    step = plan.steps[planned.key]
    if planned.credit.metadata == "full":
        return facts_of(plan, step)
    if planned.credit.metadata == "none":
        return {"key": step.key}
    return {"key": step.key, "source": source_type(plan, step), **_model_of(plan, step)}


def xmp_of(plan: Plan, planned: PlannedOutput, record: Record, found: Found) -> bytes:
    """The packet that a file carries; empty where it is to tell nothing.

    ``record`` is its picture's, ``found`` gives those of the steps above.
    """
    credit, step = planned.credit, plan.steps[planned.key]
    if credit.metadata == "none":
        return b""
    facts: dict[str, str] = {}
    if credit.metadata == "full":
        made = {"created": record.created, "software": record.software}
        facts = {name: legible(text) for name, text in (facts_of(plan, step) | made).items()}
        facts = fitting(facts)
        # What a hand has pinned the recipe as it is now would not make: it is in the store alone.
        if all(one.made is None for one in _above(plan, step)):
            decides = base64.b64encode(zlib.compress(canonical_json(deciding(plan, planned)), 9))
            batches = told_batches(plan, planned, found)
            if sum(map(_bytes, facts.values())) + len(decides) + len(batches) <= MAX_FACTS:
                facts[_DECIDES] = decides.decode("ascii")
                facts |= {BATCHES: batches} if batches else {}
    source = source_type(plan, step)
    iptc = {"DigitalSourceType": source}
    if by_a_model(source):
        model = _model_of(plan, step)
        iptc |= {
            "AISystemUsed": model["model"],
            "AISystemVersionUsed": model["model_digest"][:16],
        }
    if prompt := facts.pop("prompt", ""):
        iptc["AIPromptInformation"] = prompt
    tool = {"CreatorTool": record.software, "CreateDate": record.created}
    return _packet(iptc, tool, facts, credit.creator)


def sheet_facts(plan: Plan, sheet: PlannedSheet) -> dict[str, str]:
    """What a contact sheet tells of itself, by its level: IPTC's fields, and the recipe's name.

    It says neither when nor by which version it was drawn: the same pictures make the same sheet.
    """
    if sheet.credit.metadata == "none":
        return {}
    shown = [plan.steps[tile.key] for tile in sheet.tiles if tile.key in plan.steps]
    source = source_type(plan, *shown)
    facts = {"DigitalSourceType": source}
    if by_a_model(source):
        models = [_model_of(plan, step) for step in shown]
        facts["AISystemUsed"] = ", ".join(dict.fromkeys(one["model"] for one in models))
        digests = dict.fromkeys(one["model_digest"][:16] for one in models)
        facts["AISystemVersionUsed"] = ", ".join(digests)
    return facts | ({"recipe": plan.recipe} if sheet.credit.metadata == "full" else {})


def sheet_xmp(facts: Mapping[str, str], creator: str) -> bytes:
    """These facts as a packet; empty where there is none."""
    if not facts:
        return b""
    own = {name: legible(text) for name, text in facts.items() if name == "recipe"}
    iptc = {name: text for name, text in facts.items() if name not in own}
    return _packet(iptc, {}, own, creator)


def read_xmp(packet: bytes) -> Mapping[str, str]:
    """The facts of a packet that ``xmp_of`` made; empty where it is another's.

    ``prompt`` is among them; ``decides`` is not, which ``read_deciding`` reads.
    """
    root = _parsed(packet)
    facts = {} if root is None else _facts(root)
    facts.pop(_DECIDES, None)
    return facts


def read_deciding(packet: bytes) -> Mapping[str, Any] | None:
    """What decides the pixels, as the packet has it; ``None`` where it has nothing."""
    root = _parsed(packet)
    text = None if root is None else _facts(root).get(_DECIDES)
    if text is None:
        return None
    try:
        unzip = zlib.decompressobj()
        found = json.loads(unzip.decompress(base64.b64decode(text), 1 << 24))
    except (ValueError, zlib.error):
        return None
    return found if isinstance(found, dict) else None


def legible(text: str) -> str:
    """Text that every metadata format can hold: no control characters, 8,000 characters at most.

    The whole prompt is in the record.
    """
    whole = text.encode("utf-8", "replace").decode()[:8000]
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in whole)


def fitting(facts: Mapping[str, str]) -> dict[str, str]:
    """The facts, the longest of them cut until all together fit into a segment of a JPEG (64 kB).

    What counts is bytes as they are written: an ``&`` takes five in XMP, a sign of Hindi three.
    """
    found = dict(facts)
    while sum(map(_bytes, found.values())) > MAX_FACTS:
        longest = max(found, key=lambda name: _bytes(found[name]))
        found[longest] = found[longest][: len(found[longest]) * 9 // 10]
    return found


def _bytes(text: str) -> int:
    return len(escape(text).encode())


def _packet(
    iptc: Mapping[str, str], tool: Mapping[str, str], facts: Mapping[str, str], creator: str
) -> bytes:
    meta = ET.Element(f"{{{_META}}}xmpmeta")
    about = ET.SubElement(ET.SubElement(meta, f"{{{_RDF}}}RDF"), f"{{{_RDF}}}Description")
    about.set(f"{{{_RDF}}}about", "")
    for name, text in iptc.items():
        ET.SubElement(about, f"{{{_IPTC}}}{name}").text = text
    for name, text in tool.items():
        ET.SubElement(about, f"{{{_XMP}}}{name}").text = text
    if creator:
        listed = ET.SubElement(ET.SubElement(about, f"{{{_DC}}}creator"), f"{{{_RDF}}}Seq")
        ET.SubElement(listed, f"{{{_RDF}}}li").text = legible(creator)
    for name, text in facts.items():
        ET.SubElement(about, f"{{{NAMESPACE}}}{name}").text = text
    return (_HEAD + ET.tostring(meta, "unicode") + _TAIL).encode()


def _parsed(packet: bytes) -> ET.Element | None:
    begin, end = packet.find(b"<x:xmpmeta"), packet.rfind(b"</x:xmpmeta>")
    if begin < 0 or end < begin or b"<!" in packet[begin:end]:  # no entities to unfold
        return None
    try:
        return ET.fromstring(packet[begin : end + len(b"</x:xmpmeta>")])  # noqa: S314
    except ET.ParseError:
        return None


def _facts(root: ET.Element) -> dict[str, str]:
    own = {}
    for element in root.iter():
        if element.tag == f"{{{_IPTC}}}AIPromptInformation":
            own["prompt"] = element.text or ""
        elif element.tag.startswith(f"{{{NAMESPACE}}}"):
            own[element.tag.rpartition("}")[2]] = element.text or ""
    return own
