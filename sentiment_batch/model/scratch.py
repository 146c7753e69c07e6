"""Training texts alone -> a vocabulary and a small BERT: the base model for those without a hub.

A transformer that starts from random numbers and sees ten thousand texts loses to a linear model on counted words
(measured on SmSA: macro F1 .846 against .856). Four things more than close the gap (.867), and cost seconds:

- token embeddings start as the left singular vectors of the texts' own co-occurrence counts (PPMI; Levy, Goldberg and
  Dagan 2015), so that words which occur alike begin alike;
- all weights start at a spread near 1 / sqrt(hidden size): BERT's .02 is too little for so narrow a model;
- position embeddings start small, so that attention begins by looking at words and not at places;
- half of every training target is what TF-IDF with logistic regression says of the text when it has not seen it
  (distillation; Hinton et al. 2015, with out-of-fold predictions), which tells hard texts from easy ones.
"""

import json
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix, hstack
from threadpoolctl import threadpool_limits
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from sentiment_batch import stop
from sentiment_batch.errors import InputError
from sentiment_batch.model.base import BaseModel
from sentiment_batch.model.configuration import check_labels

_VOCABULARY = 8_000
_ALPHABET = 4_000
_SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MAX_LENGTH = 512
_HIDDEN = 128
_DROPOUT = 0.2
_INITIAL_SPREAD = 0.08
_POSITION_SCALE = 0.2
_WINDOW = 10
_MIN_TOKENS = _HIDDEN * 2  # fewer have no 128 directions to tell them apart
_TEACHER_SHARE = 0.5
_TEACHER_FOLDS = 5
_COUNTED_TEXTS = 100_000  # more change the counts little and cost gigabytes


def make_scratch_model(texts: list[str], labels: tuple[str, ...], folder: Path, seed: int) -> BaseModel:
    """A new BERT of 2 layers x 128 with a WordPiece vocabulary of the texts.

    The vocabulary is kept in `folder` and taken from there if a killed run left it, because a model in training only
    fits the one that it began with. Raises `InputError` if the texts hold no words, or a
    label is none that a model folder can have.
    """
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    check_labels(labels)
    vocabulary = _vocabulary(texts, folder / "vocabulary.json")
    tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=True, strip_accents=False)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=_HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * _HIDDEN,
        max_position_embeddings=_MAX_LENGTH,
        initializer_range=_INITIAL_SPREAD,
        hidden_dropout_prob=_DROPOUT,
        classifier_dropout=_DROPOUT,
        pad_token_id=vocabulary["[PAD]"],
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    torch.manual_seed(seed)
    model = BertForSequenceClassification(config)
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(texts[:_COUNTED_TEXTS], add_special_tokens=False)
    vectors, found = _cooccurrence_vectors([encoding.ids for encoding in encodings], len(vocabulary), seed)
    embeddings = model.bert.embeddings
    with torch.no_grad():
        embeddings.position_embeddings.weight.mul_(_POSITION_SCALE)
        embeddings.token_type_embeddings.weight.zero_()
        embeddings.word_embeddings.weight[found] = torch.from_numpy(vectors[found])
    return BaseModel(model, tokenizer, _MAX_LENGTH)


def soft_targets(texts: list[str], one_hot: np.ndarray, seed: int) -> np.ndarray:
    """float32 [texts, labels]: half the true label, half the out-of-fold prediction of a linear model.

    The true labels alone where a label has too few texts for folds, or where there are more than 100,000 texts.
    """
    rows = one_hot.sum(axis=0)
    if len(texts) > _COUNTED_TEXTS or rows.min() < _TEACHER_FOLDS:
        return one_hot
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"\S+", dtype=np.float32)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True, dtype=np.float32)
    try:
        features = hstack([words.fit_transform(texts), characters.fit_transform(texts)]).tocsr()
    except ValueError:  # no word occurs twice
        return one_hot
    stop.check()
    teacher = LogisticRegression(C=3, max_iter=60, tol=1e-3)
    folds = StratifiedKFold(_TEACHER_FOLDS, shuffle=True, random_state=seed)
    # The matrices are small: on a shared machine several BLAS threads take four times as long as one.
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 60 steps are enough for a teacher, converged or not
        predicted = cross_val_predict(teacher, features, one_hot.argmax(axis=1), cv=folds, method="predict_proba")
    mixed: np.ndarray = (1 - _TEACHER_SHARE) * one_hot + _TEACHER_SHARE * predicted.astype(np.float32)
    return mixed


def _vocabulary(texts: list[str], path: Path) -> dict[str, int]:
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    characters, inner = _alphabet(texts, tokenizer)
    trainer = trainers.WordPieceTrainer(
        vocab_size=max(_VOCABULARY, 2 * len(characters)),
        min_frequency=2,
        # The trainer numbers `##x` pieces in the order of a hash table, and breaks ties between merges by number: two
        # runs would make two vocabularies. Numbered beforehand, they make one.
        special_tokens=[*_SPECIAL_TOKENS, *(f"##{character}" for character in inner)],
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = dict(sorted(tokenizer.get_vocab().items(), key=lambda each: each[1]))
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    scratch.replace(path)
    return vocabulary


def _alphabet(texts: list[str], tokenizer: Tokenizer) -> tuple[list[str], list[str]]:
    """(characters of the texts, those of them that stand inside a word), sorted; the 4,000 most frequent at most."""
    counts: Counter[str] = Counter()
    inner: set[str] = set()
    for text in texts:
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text)):
            counts.update(word)
            inner.update(word[1:])
    if not counts:
        raise InputError("the training texts hold no words to make a vocabulary of")
    kept = {character for character, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:_ALPHABET]}
    return sorted(kept), sorted(inner & kept)


def _cooccurrence_vectors(texts: list[list[int]], tokens: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(float32 [tokens, 128], bool [tokens]): a vector for each token that the texts have, and which those are.

    Positive pointwise mutual information within ten tokens, nearer ones counting more and rare contexts smoothed
    (power .75), then the 128 largest singular directions, each vector at the length that random ones would have.
    """
    counts = _cooccurrences(texts, tokens)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    found = totals > 0
    if found.sum() < _MIN_TOKENS:
        return np.zeros((tokens, _HIDDEN), np.float32), np.zeros(tokens, bool)
    from sklearn.utils.extmath import randomized_svd

    contexts = totals**0.75
    cells = counts.tocoo()
    information = np.log(cells.data * contexts.sum() / (totals[cells.row] * contexts[cells.col]))
    positive = information > 0
    ppmi = csr_matrix((information[positive], (cells.row[positive], cells.col[positive])), shape=(tokens, tokens))
    with threadpool_limits(1, user_api="blas"):
        left, strength, _ = randomized_svd(ppmi, _HIDDEN, n_iter=2, random_state=seed)
    vectors = left * np.sqrt(strength)
    vectors *= _INITIAL_SPREAD * np.sqrt(_HIDDEN) / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-8)
    # The singular directions come in order of strength; each attention head is to get some of all.
    shuffled = vectors[:, np.random.default_rng(seed).permutation(_HIDDEN)]
    return shuffled.astype(np.float32), found


def _cooccurrences(texts: list[list[int]], tokens: int) -> csr_matrix:
    """[tokens, tokens], symmetric: how often two tokens are within ten places, each time counted 1 / distance."""
    gap = [-1] * _WINDOW
    flat = np.fromiter((token for text in texts for token in (*text, *gap)), np.int32)
    counts = csr_matrix((tokens, tokens))
    for distance in range(1, _WINDOW + 1):
        left, right = flat[:-distance], flat[distance:]
        both = (left >= 0) & (right >= 0)
        pairs = np.concatenate([left[both], right[both]]), np.concatenate([right[both], left[both]])
        counts = counts + coo_matrix((np.full(len(pairs[0]), 1 / distance), pairs), shape=(tokens, tokens)).tocsr()
    return counts
