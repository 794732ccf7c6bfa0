"""Small tokenizers built offline, in the folders that a Kontext model carries.

``tokenizer/`` is CLIP's (byte-level BPE, lower-cased) and ``tokenizer_2/`` is T5's (Unigram).
Both are saved so that ``CLIPTokenizer``, ``T5TokenizerFast`` and ``AutoTokenizer`` read the same
tokens from them: these classes rebuild their pre-tokenizers on loading and keep only the
vocabulary, so everything that matters has to be in the vocabulary itself.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, WhitespaceSplit
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer, T5TokenizerFast

CLIP_FOLDER = "tokenizer"
T5_FOLDER = "tokenizer_2"

_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's mark of a word's beginning
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|(?<!\w)'[^']*'(?!\w)")
_LETTERS = re.compile(r"[^\W\d_]+")  # CLIP's pre-tokenizer parts a word at anything else
_EDGES = re.compile(r"^\W+|\W+$")
# Printable ASCII, Latin-1, Latin Extended-A and typographic punctuation: what a European prompt
# may hold. Rarer signs become <unk>.
_CHARACTERS = (
    [chr(code) for code in range(0x21, 0x7F)]
    + [chr(code) for code in range(0xA1, 0x180) if code != 0xAD]
    + list("‘’“”„–—…•€™")
)
_CHARACTER_SCORE = -14.0  # below any word's, so that a known word is never spelled out
_MAX_WORDS = 3000
_MAX_CLIP_VOCABULARY = 4096
_MAX_WORD_LENGTH = 32


def build_tokenizers(
    texts: Iterable[str], folder: Path, max_length_clip: int, max_length_t5: int
) -> None:
    """Build both tokenizers from example prompts and save them below ``folder``.

    Every word seen outside quotes becomes one T5 token, in lower case and capitalised (at most
    3,000 by frequency); any other word becomes character pieces, as does a quoted word, because
    words carry the space before them and a quoted one has a quotation mark there. A *further*
    word within the same quotes is spelled out unless it is a known word in that very case.

    Args:
        texts: prompts as people write them; the order does not matter.
        folder: the model's folder; ``tokenizer/`` and ``tokenizer_2/`` are written there.
        max_length_clip: tokens CLIP's text model takes, with both markers.
        max_length_t5: tokens the T5 encoder is trained with (``ModelSpec.text_tokens``).

    Raises:
        ValueError: there is no word in ``texts``.
    """
    lines = [_QUOTED.sub(" ", text) for text in texts]
    words = _count_words(lines)
    if not words:
        raise ValueError("no words to build tokenizers from: give at least one non-empty prompt")
    _clip(words, max_length_clip).save_pretrained(folder / CLIP_FOLDER)
    _t5(words, max_length_t5).save_pretrained(folder / T5_FOLDER)


def _count_words(lines: Sequence[str]) -> Counter[str]:
    stripped = (_EDGES.sub("", word) for line in lines for word in line.split())
    return Counter(word.lower() for word in stripped if 0 < len(word) <= _MAX_WORD_LENGTH)


def _ranked(words: Counter[str]) -> list[tuple[str, int]]:
    # Ties are broken by spelling, so that the order of the texts cannot change the vocabulary.
    return sorted(words.items(), key=lambda item: (-item[1], item[0]))[:_MAX_WORDS]


def _t5(words: Counter[str], max_length: int) -> T5TokenizerFast:
    total = sum(words.values())
    pieces: dict[str, float] = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, _SPACE: _CHARACTER_SCORE}
    for word, count in _ranked(words):
        score = max(math.log(count / total), _CHARACTER_SCORE + 1.0)
        for form in (word, word[:1].upper() + word[1:]):
            pieces.setdefault(_SPACE + form, score)
    seen = sorted({character for word in words for character in word})
    for character in [*_CHARACTERS, *seen]:
        pieces.setdefault(character, _CHARACTER_SCORE)
    return T5TokenizerFast(
        vocab=list(pieces.items()), extra_ids=0, model_max_length=max_length, padding_side="right"
    )


def _clip(words: Counter[str], max_length: int) -> CLIPTokenizer:
    alphabet = sorted(ByteLevel.alphabet())
    merges = _learn_merges(words, alphabet)
    # The end marker must not be id 2: CLIP's text model then pools by a legacy rule.
    tokens = ["<|startoftext|>", "<|endoftext|>", *alphabet, *(f"{sign}</w>" for sign in alphabet)]
    tokens += [left + right for left, right in merges]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=max_length)


def _learn_merges(words: Counter[str], alphabet: list[str]) -> list[tuple[str, str]]:
    learner = Tokenizer(BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = WhitespaceSplit()
    trainer = BpeTrainer(
        vocab_size=_MAX_CLIP_VOCABULARY,
        min_frequency=1,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    encoder = ByteLevel(add_prefix_space=False, use_regex=False)
    # Each word once per power of two of its count: frequent words merge first, cheaply.
    repeated = (
        "".join(piece for piece, _ in encoder.pre_tokenize_str(part))
        for word, count in _ranked(words)
        for part in _LETTERS.findall(word)
        for _ in range(count.bit_length())
    )
    learner.train_from_iterator(repeated, trainer)
    saved = json.loads(learner.to_str())["model"]["merges"]
    return [(left, right) for left, right in saved]
