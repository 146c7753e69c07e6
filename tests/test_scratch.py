import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import LABELS, sample_rows

from sentiment_batch.model.scratch import _cooccurrence_vectors, _cooccurrences, make_scratch_model, soft_targets

TEXTS = [text for text, _ in sample_rows()[:600]]


def test_the_vocabulary_is_the_same_in_every_process(tmp_path: Path) -> None:
    """The trainer's own is not: its hash tables are seeded anew in every process."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from conftest import sample_rows\n"
        "from pathlib import Path\n"
        "from sentiment_batch.model.scratch import _vocabulary\n"
        "_vocabulary([text for text, _ in sample_rows()[:600]], Path(sys.argv[2]))"
    )
    digests = set()
    for run in range(3):
        path = tmp_path / f"{run}.json"
        subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(path)], check=True)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_the_tokenizer_knows_the_words_and_keeps_accents(tmp_path: Path) -> None:
    texts = [f"kata pertama é{number % 7} Ünï" for number in range(50)]
    base = make_scratch_model(texts, LABELS, tmp_path, seed=0)
    assert base.tokenizer.tokenize("kata PERTAMA ünï") == ["kata", "pertama", "ünï"]
    assert base.tokenizer("kata")["input_ids"][0] == base.tokenizer.cls_token_id
    assert base.model.config.id2label == dict(enumerate(LABELS))


def test_a_resumed_training_gets_the_vocabulary_that_it_began_with(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.json").write_text(json.dumps({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}))
    base = make_scratch_model(TEXTS, LABELS, tmp_path, seed=0)
    assert base.model.config.vocab_size == 5


def test_soft_targets_are_probabilities_between_the_label_and_a_teacher() -> None:
    true = np.array([LABELS.index(label) for _, label in sample_rows()[:600]])
    one_hot = np.eye(3, dtype=np.float32)[true]
    targets = soft_targets(TEXTS, one_hot, seed=0)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)
    assert targets.dtype == np.float32
    teacher = 2 * targets - one_hot
    assert teacher.min() >= -1e-6
    accuracy = (teacher.argmax(axis=1) == true).mean()
    assert 0.6 < accuracy < 0.999, "it has learnt, and not from the text itself"


def test_too_few_texts_for_a_teacher() -> None:
    one_hot = np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0, 0, 0]]
    np.testing.assert_array_equal(soft_targets(list("abcdefg"), one_hot, seed=0), one_hot)
    alone = np.eye(2, dtype=np.float32)[[0, 1] * 6]
    np.testing.assert_array_equal(soft_targets([f"w{row}" for row in range(12)], alone, seed=0), alone)


def test_cooccurrences_against_a_naive_count() -> None:
    texts = [[0, 1, 2, 1], [], [3], [1, 3, 3, *[4] * 12, 1]]
    expected = np.zeros((5, 5))
    for text in texts:
        for place, left in enumerate(text):
            for distance in range(1, 11):
                if place + distance < len(text):
                    right = text[place + distance]
                    expected[left, right] += 1 / distance
                    expected[right, left] += 1 / distance
    np.testing.assert_allclose(_cooccurrences(texts, 5).toarray(), expected)


def test_words_that_occur_alike_begin_alike() -> None:
    chance = np.random.default_rng(0)
    filler = range(10, 600)
    texts = []
    for _ in range(3000):
        one, other = (0, 1) if chance.random() < 0.5 else (2, 3)
        words = [chance.choice([one, other]), *(one * 2 + 4, one * 2 + 5), *chance.choice(filler, 4)]
        texts.append([int(word) for word in words])
    vectors, found = _cooccurrence_vectors(texts, 600, seed=0)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9)
    assert found[:4].all()
    assert unit[0] @ unit[1] > 0.5
    assert unit[0] @ unit[1] > unit[0] @ unit[3] + 0.3
    assert vectors[found].std() == pytest.approx(0.08, rel=0.1)
