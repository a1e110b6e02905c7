"""A CLIP tokenizer for a small language: each of its words is one token, and any other text is spelled in bytes.

Its vocabulary is given and not learned from captions, so it can tell nothing of what a model was trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

END_OF_WORD = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"


def clip_tokenizer(words: Sequence[str], length: int) -> CLIPTokenizer:
    """A tokenizer of `words`, in letters a to z, that pads texts to `length` tokens and cuts them off there."""
    letters = sorted(ByteLevel.alphabet())
    merges = byte_pairs(words)
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters), *map("".join, merges), START, END]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=length)


def byte_pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """Merges of byte-pair encoding (Sennrich et al. 2016) until each of `words` is one token, the most frequent first.

    Of equally frequent pairs the first in the alphabet is merged, so the result does not depend on the words' order.
    """
    spelled = [[*word[:-1], word[-1] + END_OF_WORD] for word in dict.fromkeys(words)]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for word in spelled for pair in pairwise(word)):
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        spelled = [_merged(word, merges[-1]) for word in spelled]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for token in word:
        if merged and (merged[-1], token) == pair:
            merged[-1] += token
        else:
            merged.append(token)
    return merged
