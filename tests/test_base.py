"""model/base.py: encoders with and without heads, as other programs save them, and what a folder cannot choose."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import LABELS, save_random_model

from sentiment_batch.errors import InputError, ModelRefused
from sentiment_batch.model import base
from sentiment_batch.model.base import load_base_model
from sentiment_batch.model.configuration import MODEL_TYPES
from sentiment_batch.model.folder import inspect_folder, read_model_folder
from sentiment_batch.model.saved import save_model
from sentiment_batch.model.torch_engine import load_engine

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
}
IDS = {name: number for number, name in enumerate(("pad_token_id", "unk", "cls_token_id", "sep_token_id", "mask"))}


@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_every_kind_of_model_is_loaded_as_transformers_would(kind: str, tmp_path: Path) -> None:
    import transformers

    prefix = MODEL_TYPES[kind].prefix
    ids = {name: IDS[name] for name in ("pad_token_id", "cls_token_id", "sep_token_id")}
    ids |= {"bos_token_id": 2, "eos_token_id": 3}
    small = {**SMALL, "dim": 32, "embedding_size": 32} if kind in ("albert", "electra") else SMALL
    config = getattr(transformers, f"{prefix}Config")(**small, **ids, id2label=dict(enumerate(LABELS)))
    config.label2id = {label: number for number, label in enumerate(LABELS)}
    save_random_model(tmp_path, config)
    theirs = getattr(transformers, f"{prefix}ForSequenceClassification").from_pretrained(tmp_path).eval()
    ids_of_a_text = torch.tensor([[2, 10, 11, 12, 3]])
    with torch.inference_mode():
        expected = theirs(input_ids=ids_of_a_text).logits.numpy()
    engine = load_engine(read_model_folder(str(tmp_path)), torch.device("cpu"), torch.float32)
    assert engine(ids_of_a_text.numpy(), None) == pytest.approx(expected, abs=1e-5)
    base = load_base_model(str(tmp_path), None, LABELS)
    with torch.inference_mode():
        assert base.model.eval()(input_ids=ids_of_a_text).logits.numpy() == pytest.approx(expected, abs=1e-5)


def rename_tensors(folder: Path, rename: Any) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    entries = {rename(name): entry for name, entry in json.loads(whole[8 : 8 + length]).items()}
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + length :])


def old_names(name: str) -> str:
    """As bert-base-uncased has them."""
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


@pytest.mark.parametrize(
    "rename", [old_names, lambda name: name.removeprefix("bert."), str], ids=["old", "bare", "new"]
)
def test_the_encoder_is_that_of_the_checkpoint_whatever_its_names(
    rename: Any, tiny_model: Path, tmp_path: Path
) -> None:
    expected = load_base_model(str(tiny_model), None, ("a", "b")).model.bert.state_dict()
    shutil.copytree(tiny_model, tmp_path / "base")
    rename_tensors(tmp_path / "base", rename)
    found = load_base_model(str(tmp_path / "base"), None, ("a", "b")).model.bert.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_tokenizer_class_is_one_of_a_closed_list(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "base")
    for given in ("MyTokenizer", "BertJapaneseTokenizer", 3):
        (tmp_path / "base" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": given}))
        with pytest.raises(ModelRefused, match="tokenizer_class"):
            load_base_model(str(tmp_path / "base"), None, LABELS)


def test_paths_and_templates_of_a_tokenizer_config_are_dropped(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "base")
    secret = tmp_path / "secret.txt"
    secret.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nsecret\n")
    given = {"vocab_file": str(secret), "chat_template": "{{ 1 }}", "init_inputs": [str(secret)]}
    (tmp_path / "base" / "tokenizer_config.json").write_text(json.dumps(given))
    (tmp_path / "base" / "chat_template.jinja").write_text("{{ 2 }}")
    tokenizer = load_base_model(str(tmp_path / "base"), None, LABELS).tokenizer
    assert "secret" not in tokenizer.get_vocab()
    assert tokenizer.chat_template is None


@pytest.mark.parametrize("label", ["a" * 65, "a\nb", "\x1b[31m", "\u202ea"])
def test_labels_that_no_model_folder_can_have(label: str, tiny_model: Path) -> None:
    with pytest.raises(InputError, match="printable"):
        load_base_model(str(tiny_model), None, ("positive", label))


def test_saving_writes_its_own_names_whatever_the_templates_are_called(tiny_model: Path, tmp_path: Path) -> None:
    base = load_base_model(str(tiny_model), None, LABELS)
    base.tokenizer.chat_template = {"../../canary": "x", "default": "y"}
    (tmp_path / "model").mkdir()
    save_model(tmp_path / "model", base.model, base.tokenizer, 64, "card")
    names = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in (tmp_path / "model").iterdir()} == names
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert "chat_template" not in (tmp_path / "model" / "tokenizer_config.json").read_text()


def test_saving_fails_on_a_name_that_is_not_its_own(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base_model(str(tiny_model), None, LABELS)
    save = type(base.tokenizer).save_pretrained

    def saved(self: Any, folder: str) -> Any:
        (tmp_path / "chat_template.jinja").write_text("x")
        return save(self, folder)

    monkeypatch.setattr(type(base.tokenizer), "save_pretrained", saved)
    with pytest.raises(ModelRefused, match=r"'chat_template\.jinja'"):
        save_model(tmp_path, base.model, base.tokenizer, 64, "card")


def fill_cache(cache: Path, model: Path, *without: str) -> None:
    """A Hub cache as it is after a download: links into blobs."""
    repository = cache / "models--someone--bert"
    snapshot = repository / "snapshots" / ("a" * 40)
    for each in (repository / "refs", repository / "blobs", snapshot):
        each.mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    for number, file in enumerate(sorted(model.iterdir())):
        if file.name not in without:
            shutil.copy(file, repository / "blobs" / str(number))
            (snapshot / file.name).symlink_to(f"../../blobs/{number}")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_model_of_the_hub_comes_from_its_cache_and_is_inspected_too(cache: Path, tiny_model: Path) -> None:
    fill_cache(cache, tiny_model)
    found = load_base_model("someone/bert", None, LABELS).model.state_dict()
    expected = load_base_model(str(tiny_model), None, LABELS).model.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    config = next(cache.rglob("config.json"))
    config.write_text(json.dumps({**json.loads(config.read_text()), "auto_map": {}}))
    with pytest.raises(ModelRefused, match="'auto_map'"):
        load_base_model("someone/bert", None, LABELS)


def test_a_model_of_the_hub_without_safetensors(cache: Path, tiny_model: Path) -> None:
    fill_cache(cache, tiny_model, "model.safetensors")
    with pytest.raises(ModelRefused, match=r"no safetensors weights.*refs/pr/N"):
        load_base_model("someone/bert", None, LABELS)


def plain_base(tiny_model: Path, folder: Path, **files: str) -> str:
    """A base model without tokenizer.json."""
    shutil.copytree(tiny_model, folder)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    return str(folder)


def test_a_tokenizer_of_a_plain_vocabulary(tiny_model: Path, tmp_path: Path) -> None:
    """As indobert-base-p1 has it."""
    expected = load_base_model(str(tiny_model), None, LABELS).tokenizer
    words = sorted(expected.get_vocab(), key=expected.get_vocab().__getitem__)
    found = load_base_model(plain_base(tiny_model, tmp_path / "base", vocab_txt="\n".join(words)), None, LABELS)
    assert found.tokenizer.get_vocab() == expected.get_vocab()
    text = "enak sekali, tidak \u5473 mengecewakan"
    assert found.tokenizer(text).input_ids == expected(text).input_ids


def test_a_tokenizer_of_a_plain_vocabulary_and_merges(tiny_model: Path, tmp_path: Path) -> None:
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"enak", "en", "ak", "enak"]
    folder = plain_base(
        tiny_model,
        tmp_path / "base",
        vocab_json=json.dumps({token: number for number, token in enumerate(tokens)}),
        merges_txt="#version: 0.2\ne n\na k\nen ak\n",
    )
    (Path(folder) / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "RobertaTokenizer"}))
    assert load_base_model(folder, None, LABELS).tokenizer("enak").input_ids == [0, tokens.index("enak"), 2]
    (Path(folder) / "merges.txt").unlink()
    with pytest.raises(ModelRefused, match=r"no tokenizer\.json, nor .*vocab\.json and merges\.txt"):
        load_base_model(folder, None, LABELS)


@pytest.mark.parametrize(
    "given", ["BertTokenizer", "XLMRobertaTokenizer", "AlbertTokenizer", "PreTrainedTokenizerFast"]
)
def test_a_base_model_without_the_files_of_its_tokenizer(given: str, tiny_model: Path, tmp_path: Path) -> None:
    """transformers makes a tokenizer of five words where it finds none for a BERT; SentencePiece is not read."""
    folder = Path(plain_base(tiny_model, tmp_path / "base"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": given}))
    for name in ("spiece.model", "sentencepiece.bpe.model", "spm.model", "tokenizer.model"):
        (folder / name).write_bytes(b"\x0a\x03abc")
    with pytest.raises(ModelRefused, match=r"no tokenizer\.json, nor what a .* save it as tokenizer\.json"):
        load_base_model(str(folder), None, LABELS)


def test_a_vocabulary_without_its_unknown_word_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = plain_base(tiny_model, tmp_path / "base", vocab_txt="[PAD]\n[CLS]\n[SEP]\n[MASK]\nenak\n")
    with pytest.raises(ModelRefused, match=r"the tokenizer of .* has unk_token = '\[UNK\]'"):
        load_base_model(folder, None, LABELS)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_tokenizer_that_is_swapped_after_it_was_inspected_is_refused(
    name: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_model, tmp_path / "base")

    def inspected_and_swapped(folder: Path) -> Any:
        inspected = inspect_folder(folder)
        (folder / name).write_text((folder / name).read_text() + " ")
        return inspected

    monkeypatch.setattr(base, "inspect_folder", inspected_and_swapped)
    with pytest.raises(ModelRefused, match=f"{name} changed while it was loaded"):
        load_base_model(str(tmp_path / "base"), None, LABELS)


def test_cutting_and_padding_of_a_base_model_are_left_out(tiny_model: Path, tmp_path: Path) -> None:
    """Padding to 10**12 tokens ends the process, at the first text that transformers itself tries."""
    shutil.copytree(tiny_model, tmp_path / "base")
    path = tmp_path / "base" / "tokenizer.json"
    padding = {"strategy": {"Fixed": 10**12}, "direction": "Right", "pad_to_multiple_of": None}
    padding |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    cutting = {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 10**9}
    path.write_text(json.dumps({**json.loads(path.read_text()), "padding": padding, "truncation": cutting}))
    expected = load_base_model(str(tiny_model), None, LABELS).tokenizer("enak").input_ids
    assert load_base_model(str(tmp_path / "base"), None, LABELS).tokenizer("enak").input_ids == expected


def test_tokens_as_transformers_4_wrote_them(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "base")
    token = {"__type": "AddedToken", "content": "[UNK]", "lstrip": False, "normalized": True, "rstrip": False}
    given = {"tokenizer_class": "BertTokenizer", "unk_token": {**token, "single_word": False}}
    (tmp_path / "base" / "tokenizer_config.json").write_text(json.dumps(given))
    assert load_base_model(str(tmp_path / "base"), None, LABELS).tokenizer.unk_token == "[UNK]"
