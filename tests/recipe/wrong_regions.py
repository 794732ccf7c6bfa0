"""Recipes whose masks, boxes or cutouts are wrong. The samples are 8x8. Each with its message."""

# ruff: noqa: E501 - a message is one line

from __future__ import annotations

from tests.recipe.workspace import Wrong


def edit(what: str, more: str = "") -> str:
    return f"inputs: {{p: samples/shoe.png}}\nsteps:\n  s: {{op: edit, image: p, prompt: hi, {what}}}\n{more}"


WRONG: dict[str, Wrong] = {
    "region-both": (
        edit("keep: {box: [0, 0, 4, 4]}, region: {box: [0, 0, 4, 4]}"),
        "4:66: 'keep' and 'region' at once; expected one of them; remove one",
    ),
    "region-nowhere": (
        edit("keep: {feather: 2}"),
        "4:39: 'keep' has nothing that says where; expected one of 'mask', 'box' and 'alpha: true'; write one",
    ),
    "region-twice": (
        edit("keep: {alpha: true, box: [0, 0, 4, 4]}"),
        "4:39: 'keep' has 'box' and 'alpha'; expected one of 'mask', 'box' and 'alpha: true'; write one",
    ),
    "region-unknown-key": (
        edit("keep: {boxx: [0, 0, 4, 4]}"),
        "4:46: unknown key 'boxx' in 'keep': did you mean 'box'?",
    ),
    "region-size": (
        edit("size: 128x128, keep: {box: [0, 0, 4, 4]}"),
        "4:39: step 's' has 'keep', so its picture has its source's size; expected no 'size'; remove it, or size the file under 'outputs'",
    ),
    "region-default-fit": (
        edit("region: {box: [0, 0, 4, 4]}", "defaults: {fit: pad}\n"),
        "5:12: step 's' has 'region', so its picture has its source's size; expected no 'fit'; remove it, or size the file under 'outputs'",
    ),
    "region-generate": (
        "steps:\n  s: {op: generate, prompt: hi, keep: {box: [0, 0, 4, 4]}}\n",
        "3:33: 'keep' has no effect on op 'generate'; expected an edit; remove it",
    ),
    "box-outside": (
        edit("keep: {box: [0, 0, 9, 4]}"),
        "4:51: the box [0, 0, 9, 4] is empty or reaches outside the picture (8x8); expected left, top, right, bottom inside it; mend it",
    ),
    "box-empty": (
        edit("keep: {box: [50%, 0, 50%, 4]}"),
        "4:51: the box [4, 0, 4, 4] is empty or reaches outside the picture (8x8); expected left, top, right, bottom inside it; mend it",
    ),
    "box-all": (
        edit("keep: {box: [0, 0, 100%, 8]}"),
        "4:51: the box is the whole picture (8x8); expected a part of it; make it smaller",
    ),
    "box-three": (
        edit("keep: {box: [0, 0, 4]}"),
        "4:51: the box has 3 sides; expected left, top, right and bottom; write all four",
    ),
    "box-word": (
        edit("keep: {box: [0, 0, half, 4]}"),
        "4:58: a side of the box, 'half', cannot be read; expected pixels or a share of the picture; write 120 or 10%",
    ),
    "feather-wide": (
        edit("region: {box: [1, 1, 5, 5], feather: 2}"),
        "4:53: a feather of 2 pixels is wider than the box [1, 1, 5, 5]; expected less; make it smaller",
    ),
    "mask-other-size": (
        "inputs: {p: samples/shoe.png, m: small.png}\nsteps: {s: {op: edit, image: p, prompt: hi, keep: {mask: m}}}\n",
        "3:58: the mask is 4x8 and the picture 8x8; expected the same size; scale the mask, or say by 'fit' how it is brought there",
    ),
    "mask-of-a-variant-missing": (
        'inputs: {p: [samples/shoe.png, samples/camera.png]}\nsteps: {s: {op: edit, image: p, prompt: hi, keep: {mask: "masks/{p}.png"}}}\n',
        [
            "3:58: no file 'masks/camera.png': did you mean 'masks/shoe.png'?",
            "3:58: shoe.png: the mask is full; expected some of it black",
        ],
    ),
    "mask-variable": (
        edit('keep: {mask: "masks/{q}.png"}'),
        "4:59: unknown variable 'q' in mask; expected 'p'; declare it under 'variables:'",
    ),
    "mask-empty": (
        edit("region: {mask: none.png}"),
        "4:54: none.png: the mask is empty; expected some of it white",
    ),
    "mask-coloured": (
        edit("keep: other.png"),
        "4:45: other.png: the mask is coloured; expected white, black and grey",
    ),
    "mask-and-feather": (
        edit("region: {mask: half.png, feather: 8}"),
        "4:54: half.png: a feather of 8 pixels is wider than what may change; expected less; make it smaller",
    ),
    "mask-of-no-picture": (
        edit("keep: {mask: samples/notes.txt}"),
        "4:52: notes.txt: not a picture that can be read; expected one of PNG, JPEG, WEBP, TIFF, BMP, GIF, AVIF, JPEG2000, PPM, TGA, HEIF, JXL; export it as one of them, 8 bits a channel",
    ),
    "alpha-without": (
        edit("keep: {alpha: true}"),
        "4:53: shoe.png has no transparency; expected some; give a mask",
    ),
    "mask-outside": (
        edit('keep: {mask: "../../m.png"}'),
        "4:52: '../../m.png' lies outside the recipe's folder and the current folder; expected a file below one of them; move it there or start from a folder above it",
    ),
    "mask-no-cutout": (
        "inputs: {p: samples/shoe.png}\nsteps:\n  a: {op: edit, image: p, prompt: hi}\n  s: {op: edit, image: p, prompt: hi, keep: {mask: a}}\n",
        "5:52: the mask 'a' is a step of op 'edit'; expected one of op 'cutout', an input or a file; name one of them",
    ),
    "mask-fit-of-a-box": (
        edit("keep: {box: [0, 0, 4, 4], fit: crop}"),
        "4:70: 'fit' is for a mask; expected 'mask' beside it; remove it",
    ),
    "cutout-with-words": (
        "inputs: {p: samples/shoe.png}\nsteps: {s: {op: cutout, image: p, prompt: hi, seed: 3}}\n",
        [
            "3:35: 'prompt' has no effect on op 'cutout'; expected only 'image'; remove it",
            "3:47: 'seed' has no effect on op 'cutout'; expected only 'image'; remove it",
        ],
    ),
    "cutout-of-nothing": (
        "steps: {s: {op: cutout}}\n",
        "2:9: step 's' cuts out but has no image; expected an input or a step; add 'image: ...'",
    ),
    "cutout-of-an-edit": (
        edit("cutout: small.png"),
        "4:39: 'cutout' has no effect on op 'edit'; expected op 'cutout'; remove it",
    ),
    "cutout-model-missing": (
        "inputs: {p: samples/shoe.png}\nsteps: {s: {op: cutout, image: p, cutout: nowhere/no.onnx}}\n",
        "3:43: no file 'nowhere/no.onnx'; expected a model in 'nowhere'; check the path",
    ),
    "cutout-key": (
        "inputs: {p: samples/shoe.png}\nsteps: {s: {op: cutout, image: p, cutout: {modell: x}}}\n",
        [
            "3:35: 'cutout' has no 'model'; expected an ONNX file of saliency or matting, a path from the recipe's folder; add 'model: ...'",
            "3:44: unknown key 'modell' in 'cutout': did you mean 'model'?",
        ],
    ),
    "cutout-std": (
        "inputs: {p: samples/shoe.png}\nsteps: {s: {op: cutout, image: p, cutout: {model: small.png, std: [1, 0, 1]}}}\n",
        "3:71: entry 2 of 'std' is the number 0; expected at least 0.001; choose a number in the range",
    ),
    "keep-feather-wide": (
        edit("keep: {box: [0, 0, 6, 8], feather: 2}"),
        "4:51: a feather of 2 pixels is wider than what may change around the box [0, 0, 6, 8]; expected less; make it smaller",
    ),
    "alpha-of-an-edit": (
        "inputs: {p: samples/shoe.png}\nsteps:\n  a: {op: edit, image: p, prompt: hi}\n  s: {op: edit, image: a, prompt: hi, keep: {alpha: true}}\n",
        "5:53: the picture of a step that paints has no transparency; expected some; give a mask",
    ),
    "mask-cycle": (
        "steps:\n  a: {op: edit, image: c, prompt: hi}\n  c: {op: cutout, image: a}\n",
        "3:24: the steps a <- c <- a need each other; expected each to use only pictures that can be made before it; change one 'image'",
    ),
}
