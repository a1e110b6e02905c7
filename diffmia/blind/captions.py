"""A blind baseline on texts: logistic regression on how a caption is written, and on the words that are in it.

Captions from one source are longer, or capitalised, or name other things than those from another; who knows the words
of both needs neither images nor a model.
"""

from __future__ import annotations

import string

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from diffmia.blind.cross_validation import FitPredict

STATISTICS = ("characters", "words", "mean_word_length", "capitals", "digits", "punctuation")
WORD = r"(?u)\b\w+\b"  # words of one letter too; scikit-learn's own pattern leaves them out


def caption_regression(captions: list[str]) -> FitPredict:
    """Judges rows by their captions, N texts, "" where a sample has none."""
    statistics, texts = caption_statistics(captions), np.array(captions, dtype=object)

    def fit_predict(train: np.ndarray, labels: np.ndarray, judged: np.ndarray, _: np.random.Generator) -> np.ndarray:
        scaler, words = StandardScaler().fit(statistics[train]), words_of(texts[train])

        def features(rows: np.ndarray) -> sparse.csr_array:
            scaled = sparse.csr_array(scaler.transform(statistics[rows]))
            return scaled if words is None else sparse.hstack([scaled, words.transform(texts[rows])], format="csr")

        model = LogisticRegression(max_iter=1000).fit(features(train), ~labels)
        return model.decision_function(features(judged))

    return fit_predict


def words_of(texts: np.ndarray) -> CountVectorizer | None:
    """Which words of these texts another text has, in small letters; None if there is no word in them."""
    vectoriser = CountVectorizer(binary=True, token_pattern=WORD)
    try:
        return vectoriser.fit(texts)
    except ValueError:  # an empty vocabulary
        return None


def caption_statistics(captions: list[str]) -> np.ndarray:
    """How each caption is written, float64 (N, 6), in the order of STATISTICS.

    Characters and words (between blanks) are counts, and so are capital letters, digits and ASCII punctuation; the mean
    length of a word is 0 where there is none.
    """
    rows = []
    for caption in captions:
        words = caption.split()
        rows.append(
            (
                len(caption),
                len(words),
                sum(map(len, words)) / max(1, len(words)),
                sum(character.isupper() for character in caption),
                sum(character.isdigit() for character in caption),
                sum(character in string.punctuation for character in caption),
            )
        )
    return np.array(rows, dtype=np.float64)
