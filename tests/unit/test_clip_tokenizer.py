"""The tokenizer of a small language: CLIP's own kind, whose words are whole and whose other texts are spelled."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, trainers
from transformers import CLIPTokenizer

from diffmia.models.networks.clip_tokenizer import byte_pairs, clip_tokenizer

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS = ("a", "handwritten", *DIGITS)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    clip_tokenizer(WORDS, 16).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


@pytest.mark.parametrize("digit", DIGITS)
def test_every_word_is_one_token_and_comes_back(tokenizer, digit):
    caption = f"a handwritten {digit}"
    ids = tokenizer(caption).input_ids
    assert len(ids) == 3 + 2
    assert tokenizer.decode(ids, skip_special_tokens=True) == caption
    assert tokenizer.convert_ids_to_tokens(ids)[1:-1] == [f"{word}</w>" for word in caption.split()]


@pytest.mark.parametrize("text", ["a painted cat", "seventeen, 17!", "été 七", "hand written", "on"])
def test_any_other_text_is_spelled_and_comes_back(tokenizer, text):
    ids = tokenizer(text).input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")


def test_a_text_is_padded_or_cut_off(tokenizer):
    for text in ("", "a", "a text that has many more letters than there is room for"):
        ids = tokenizer([text], padding="max_length", max_length=tokenizer.model_max_length, truncation=True).input_ids
        assert len(ids[0]) == 16
        assert ids[0][0] == tokenizer.bos_token_id
        assert ids[0][-1] == tokenizer.eos_token_id


def test_merges_are_those_of_the_tokenizers_library():
    """Of words of different counts, where no two pairs are ever equally frequent until words are whole."""
    words = ["abab", "abac", "abad", "xy"]
    model = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trainer = trainers.BpeTrainer(vocab_size=1000, end_of_word_suffix="</w>", show_progress=False, min_frequency=0)
    model.train_from_iterator([[word] for word in words], trainer)
    theirs = {token for token in model.get_vocab() if len(token.removesuffix("</w>")) > 1}
    assert {"".join(pair) for pair in byte_pairs(words)} == theirs
    assert byte_pairs(words)[0] == ("a", "b")


def test_the_order_of_words_does_not_matter():
    assert byte_pairs(WORDS) == byte_pairs(WORDS[::-1]) == byte_pairs([*WORDS, *WORDS])
