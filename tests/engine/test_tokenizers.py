import pytest
from transformers import AutoTokenizer, CLIPTokenizer, T5TokenizerFast

from kontext_engine.training.tokenizers import build_tokenizers

TEXTS = [
    "Make the red shoe blue, please",
    "put the half-lit handbag on a snowy beach",
    'write "SALE" and "cats" on the sign',
    "a woman's watch",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tokenizers")
    build_tokenizers(TEXTS, made, max_length_clip=20, max_length_t5=32)
    return made


@pytest.fixture(scope="module", params=[AutoTokenizer, T5TokenizerFast])
def t5(request, folder):
    return request.param.from_pretrained(folder / "tokenizer_2")


@pytest.fixture(scope="module", params=[AutoTokenizer, CLIPTokenizer])
def clip(request, folder):
    return request.param.from_pretrained(folder / "tokenizer")


def test_known_words_are_one_token_each_in_either_case(t5):
    assert t5.tokenize("Put the half-lit shoe, please") == [
        "▁Put", "▁the", "▁half-lit", "▁shoe", ",", "▁please",
    ]  # fmt: skip


def test_unknown_words_fall_back_to_characters(t5):
    assert t5.tokenize("a zebra") == ["▁a", "▁", "z", "e", "b", "r", "a"]
    every = "".join(chr(code) for code in range(0x21, 0x7F)) + "äöüßéñÅœ“”’–…"
    assert t5.unk_token_id not in t5(every).input_ids


def test_a_quoted_word_is_spelled_even_when_it_is_known(t5):
    assert t5.tokenize('the "shoe" sign') == [
        "▁the", "▁", '"', "s", "h", "o", "e", '"', "▁sign",
    ]  # fmt: skip
    assert "▁SALE" not in t5.get_vocab()
    assert "▁cats" not in t5.get_vocab()


def test_t5_pads_and_ends_as_flux_expects(t5):
    ids = t5("red", padding="max_length", max_length=32, truncation=True).input_ids
    assert len(ids) == 32
    assert ids[1:] == [t5.eos_token_id] + [t5.pad_token_id] * 30
    assert (t5.pad_token_id, t5.eos_token_id, t5.model_max_length) == (0, 1, 32)


def test_clip_knows_the_words_and_nothing_is_unknown(clip):
    assert clip.tokenize("MAKE the Shoe") == ["make</w>", "the</w>", "shoe</w>"]
    # The unknown token is the end marker, so there may be but one: the real end.
    for text in ("zebra", "Zürich 漢字 🎈", "x" * 12):
        assert clip(text).input_ids.count(clip.eos_token_id) == 1


def test_clip_is_bracketed_by_markers_that_pool_right(clip):
    ids = clip("red", padding="max_length", max_length=20, truncation=True).input_ids
    assert (ids[0], ids[2:]) == (clip.bos_token_id, [clip.eos_token_id] * 18)
    assert clip.eos_token_id != 2  # CLIP's legacy pooling
    assert clip.model_max_length == 20


def test_the_order_of_the_texts_changes_nothing(folder, tmp_path):
    build_tokenizers(TEXTS[::-1], tmp_path, max_length_clip=20, max_length_t5=32)
    for name in ("tokenizer", "tokenizer_2"):
        built, again = (at / name / "tokenizer.json" for at in (folder, tmp_path))
        assert built.read_bytes() == again.read_bytes()


def test_no_words_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no words to build tokenizers from"):
        build_tokenizers(["", '"quoted only"'], tmp_path, 20, 32)
