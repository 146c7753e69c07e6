"""Model folders that mean harm: each a change to a valid one, with words that its refusal must say.

Every folder holds bait besides: pickles and code that leave a canary when anything runs them.
"""

import base64
import hashlib
import json
import os
import pickle
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph_text import NUMPY, Text, begin, end

from sentiment_batch.model.graphs import RECORD, graph_files

Change = Callable[[Path], None]
LOOP = "(a+)+$"
DEEP = 40


@dataclass(frozen=True)
class Hostile:
    change: Change
    says: tuple[str, ...]  # what the message must hold: the file, and the key or name
    base: bool = True  # refused as a base model too; not what concerns labels and heads, which a base may lack
    graph: bool = False  # in a folder that has OpenVINO graphs


def edit(folder: Path, name: str, change: Callable[[Any], None]) -> None:
    value = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
    change(value)
    (folder / name).write_text(json.dumps(value))


def values(name: str, **new: Any) -> Change:
    """Set keys at the top of a JSON file."""
    return lambda folder: edit(folder, name, lambda value: value.update(new))


def config(**new: Any) -> Change:
    return values("config.json", **new)


def content(name: str, data: bytes) -> Change:
    def write(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(data)

    return write


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"deeper": value}
    return value


def text_of_config(old: str, new: str) -> Change:
    def replace(folder: Path) -> None:
        text = (folder / "config.json").read_text()
        assert old in text
        (folder / "config.json").write_text(text.replace(old, new, 1))

    return replace


def header(change: Callable[[dict[str, Any]], None], data: Callable[[bytes], bytes] = bytes) -> Change:
    """Change the header of the weights, and the tensors behind it."""

    def rewrite(folder: Path) -> None:
        path = folder / "model.safetensors"
        whole = path.read_bytes()
        length = int.from_bytes(whole[:8], "little")
        entries = json.loads(whole[8 : 8 + length])
        change(entries)
        text = json.dumps(entries).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data(whole[8 + length :]))

    return rewrite


def weights(change: Callable[[bytes], bytes]) -> Change:
    def rewrite(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))

    return rewrite


def index(*names: str, keep: bool = False) -> Change:
    def write(folder: Path) -> None:
        for name in names:
            if keep:
                (folder / name).write_bytes((folder / "model.safetensors").read_bytes())
        (folder / "model.safetensors").rename(folder.parent / f"{folder.name}-outside.safetensors")
        table = {f"layer.{number}": name for number, name in enumerate(names)}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))

    return write


def index_twice(folder: Path) -> None:
    index("a.safetensors", keep=True)(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "a.safetensors", "a": "b"}}')


def link(name: str, target: str | None = None) -> Change:
    """Put a link in the place of a file: to its own content out of the folder, or to the target."""

    def replace(folder: Path) -> None:
        outside = folder.parent / f"{folder.name}-outside-{name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(target or outside)

    return replace


def added_link(name: str, target: str) -> Change:
    return lambda folder: (folder / name).symlink_to(target)


def fifo(name: str) -> Change:
    def replace(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return replace


def step(kind: str, value: Any) -> Change:
    return values("tokenizer.json", **{kind: value})


def model(**new: Any) -> Change:
    return lambda folder: edit(folder, "tokenizer.json", lambda value: value["model"].update(new))


def more_ids(folder: Path) -> None:
    edit(folder, "tokenizer.json", lambda value: value["model"]["vocab"].update({"beyond": 70_000}))


def untyped(**new: Any) -> Change:
    """As files of old releases are."""

    def change(tokenizer: dict[str, Any]) -> None:
        tokenizer["model"] = {key: value for key, value in tokenizer["model"].items() if key != "type"} | new

    return lambda folder: edit(folder, "tokenizer.json", change)


def unigram(*pieces: str, unk_id: int | None = 0) -> Change:
    vocabulary = [["<unk>", 0.0], *([piece, -1.0] for piece in pieces)]
    return values("tokenizer.json", model={"type": "Unigram", "unk_id": unk_id, "vocab": vocabulary})


def template(texts: int, ids: list[int] | None = None) -> dict[str, Any]:
    text, special = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    tokens = {"[CLS]": {"id": "[CLS]", "ids": ids or [2], "tokens": ["[CLS]"] * len(ids or [2])}}
    return {"type": "TemplateProcessing", "single": [special, *[text] * texts], "pair": [], "special_tokens": tokens}


def charsmap(pairs: dict[bytes, bytes], cut: int = 0) -> str:
    """A table as SentencePiece writes it, with a block of 256 units of its double array for each byte of the keys."""
    nodes: list[dict[int, int]] = [{}]
    leaves: dict[int, int] = {}
    strings = b""
    for key, value in pairs.items():
        node = 0
        for byte in key:
            if byte not in nodes[node]:
                nodes[node][byte] = len(nodes)
                nodes.append({})
            node = nodes[node][byte]
        leaves[node] = len(strings)
        strings += value + b"\0"
    units = [0] * (256 * (len(nodes) + 1))

    def place(unit: int, node: int, byte: int) -> None:
        block = 256 * (node + 1)
        units[unit] = (unit ^ block) << 10 | (node in leaves) << 8 | byte
        units[block] = leaves.get(node, 0) | 1 << 31
        for byte, inner in nodes[node].items():
            place(block ^ byte, inner, byte)

    place(0, 0, 0)
    trie = struct.pack(f"<{len(units)}I", *units)
    trie = trie[: len(trie) - cut]
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + strings).decode()


def precompiled(pairs: dict[bytes, bytes], cut: int = 0) -> dict[str, Any]:
    return {"type": "Precompiled", "precompiled_charsmap": charsmap(pairs, cut)}


def without_json(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "tokenizer.pkl")


def shape_of_first(value: Any) -> Callable[[dict[str, Any]], None]:
    def change(entries: dict[str, Any]) -> None:
        next(entry for name, entry in entries.items() if name != "__metadata__")["shape"] = value

    return change


def flatten(entries: dict[str, Any]) -> None:
    """The same bytes in another shape: safetensors itself has nothing against it."""
    entry = entries["classifier.weight"]
    entry["shape"] = [entry["shape"][0] * entry["shape"][1]]


def overlap(entries: dict[str, Any]) -> None:
    entries["classifier.bias"]["data_offsets"] = entries["classifier.weight"]["data_offsets"]


def rename(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    return lambda entries: entries.update({new: entries.pop(old)})


def replace(pattern: Any, text: str = " ") -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": text}


def sequence(kind: str, *steps: Any) -> dict[str, Any]:
    return {"type": "Sequence", kind: list(steps)}


def three_labels(*names: str) -> Change:
    return config(id2label=dict(enumerate(names)), label2id={name: number for number, name in enumerate(names)})


def only_pickle(name: str) -> Change:
    def move(folder: Path) -> None:
        content(name, pickle.dumps(Bait(folder.parent / "canary")))(folder)
        (folder / "model.safetensors").unlink()

    return move


TABLE = base64.b64encode(struct.pack("<I", 4) + b"tree" + b"x" * 100_000 + b"\0").decode()
EVIL = "evil/kernels"
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}
SPLIT = {"type": "Split", "pattern": {"Regex": LOOP}, "behavior": "Isolated", "invert": False}
CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"

HOSTILE: dict[str, Hostile] = {
    # M5: keys that name what to run
    "cve-2026-4372": Hostile(config(_attn_implementation_internal=EVIL), (CONFIG, "'_attn_implementation_internal'")),
    "cve-2026-4372-nested": Hostile(
        config(text_config={"a": [{"_attn_implementation_internal": EVIL}]}),
        (CONFIG, "'_attn_implementation_internal'"),
    ),
    "cve-2026-4372-by-another-name": Hostile(
        config(attribute_map={"foo": "_attn_implementation_internal"}, foo=EVIL), (CONFIG, "'attribute_map'")
    ),
    "attention-private": Hostile(config(_attn_implementation=EVIL), (CONFIG, "'_attn_implementation'")),
    "attention-public": Hostile(config(attn_implementation=EVIL), (CONFIG, "'attn_implementation'")),
    "experts-internal": Hostile(config(_experts_implementation_internal=EVIL), (CONFIG, "_internal'")),
    "auto-map": Hostile(
        config(auto_map={"AutoModelForSequenceClassification": "code.modeling_evil.Evil"}), (CONFIG, "'auto_map'")
    ),
    "auto-map-of-the-hub": Hostile(config(auto_map={"AutoConfig": "evil/repo--code.Evil"}), (CONFIG, "'auto_map'")),
    "auto-map-nested": Hostile(config(a=[[{"b": {"auto_map": {}}}]]), (CONFIG, "'auto_map'")),
    "auto-map-null": Hostile(config(auto_map=None), (CONFIG, "'auto_map'")),
    "auto-map-tokenizer": Hostile(
        values("tokenizer_config.json", auto_map={"AutoTokenizer": ["code.modeling_evil.Evil", None]}),
        ("tokenizer_config.json", "'auto_map'"),
    ),
    "auto-map-special-tokens": Hostile(
        values("special_tokens_map.json", auto_map={}), ("special_tokens_map.json", "'auto_map'")
    ),
    "cve-2026-5241-trust": Hostile(config(trust_remote_code=True), (CONFIG, "'trust_remote_code'")),
    "cve-2026-5241-lightglue": Hostile(
        config(model_type="lightglue", keypoint_detector_config={"model_type": "evil"}),
        ("'lightglue'", "known: albert"),
    ),
    "custom-pipelines": Hostile(config(custom_pipelines={"text": {"impl": "evil.P"}}), (CONFIG, "'custom_pipelines'")),
    "quantization": Hostile(config(quantization_config={"quant_method": "gptq"}), (CONFIG, "'quantization_config'")),
    "weights-elsewhere": Hostile(config(transformers_weights="../w.safetensors"), (CONFIG, "'transformers_weights'")),
    "configuration-elsewhere": Hostile(
        config(configuration_files=["config.4.0.0.json"]), (CONFIG, "'configuration_files'")
    ),
    "fusion": Hostile(config(fusion_config={"a": 1}), (CONFIG, "'fusion_config'")),
    "tokenizer-elsewhere": Hostile(
        values("tokenizer_config.json", fast_tokenizer_files=["tokenizer.1.0.json"]),
        ("tokenizer_config.json", "'fast_tokenizer_files'"),
    ),
    "key-dunder": Hostile(config(__class__="Evil"), (CONFIG, "'__class__'")),
    # M4: what kind of model
    "decoder": Hostile(config(model_type="gpt2"), ("'gpt2'", "known: albert")),
    "no-model-type": Hostile(
        text_of_config('"model_type": "bert"', '"architectures_": ["EvilModel"]'), ("type None", "known: albert")
    ),
    "activation": Hostile(config(hidden_act="os.system"), (CONFIG, "os.system")),
    # M3: the JSON itself
    "twice": Hostile(text_of_config("{", '{"model_type": "evil",'), (CONFIG, "'model_type'", "twice")),
    "deep": Hostile(config(a=nested(DEEP)), (CONFIG, "deeper than 32")),
    "very-deep": Hostile(content(CONFIG, b'{"a":' * 100_000), (CONFIG, "cannot be read as JSON")),
    "large": Hostile(config(a="x" * 2**20), (CONFIG, "at most 1 MiB")),
    "large-tokenizer-config": Hostile(
        values("tokenizer_config.json", a="x" * 2**20), ("tokenizer_config.json", "at most 1 MiB")
    ),
    "nan": Hostile(config(layer_norm_eps=float("nan")), (CONFIG, "NaN")),
    "infinity": Hostile(text_of_config("{", '{"layer_norm_eps": 1e999,'), (CONFIG, "1e999")),
    "list": Hostile(content(CONFIG, b"[]"), (CONFIG, "not a JSON object")),
    "no-utf8": Hostile(content(CONFIG, b'{"a": "\xff"}'), (CONFIG, "cannot be read as JSON")),
    "long-number": Hostile(text_of_config("{", '{"a": ' + "9" * 5_000 + ","), (CONFIG, "cannot be read as JSON")),
    "training-json-twice": Hostile(
        content("training.json", b'{"max_length": 64, "max_length": 1}'), ("training.json", "'max_length'"), base=False
    ),
    # Sizes
    "layers": Hostile(config(num_hidden_layers=10**9), ("1000000000 layers", CONFIG)),
    "layers-in-groups": Hostile(config(num_hidden_groups=1_000, inner_group_num=1_000), ("layers", CONFIG)),
    "hidden-size": Hostile(config(hidden_size=2**20), ("mismatched keys",)),
    "hidden-size-overflow": Hostile(config(hidden_size=2**40), (CONFIG, "hidden_size", "at most 16777216")),
    "hidden-size-negative": Hostile(config(hidden_size=-32), (CONFIG, "hidden_size = -32")),
    "intermediate-size-text": Hostile(config(intermediate_size="64"), (CONFIG, "intermediate_size = '64'")),
    "vocabulary-size": Hostile(config(vocab_size=2**24), ("mismatched keys",)),
    "vocabulary-size-overflow": Hostile(config(vocab_size=2**40), (CONFIG, "vocab_size", "at most 16777216")),
    "positions": Hostile(config(max_position_embeddings=2**30), (CONFIG, "max_position_embeddings", "at most 65536")),
    "heads": Hostile(config(num_attention_heads=5), (CONFIG, "attention heads")),
    "no-token-types": Hostile(config(type_vocab_size=0), (CONFIG, "type_vocab_size = 0")),
    # Settings that would fail or lie in the middle of a job
    "dropout": Hostile(config(hidden_dropout_prob=2.0), (CONFIG, "hidden_dropout_prob = 2.0")),
    "dropout-flag": Hostile(config(attention_probs_dropout_prob=True), (CONFIG, "attention_probs_dropout_prob = True")),
    "epsilon": Hostile(config(layer_norm_eps=-1), (CONFIG, "layer_norm_eps = -1")),
    "spread": Hostile(config(initializer_range="0.02"), (CONFIG, "initializer_range = '0.02'")),
    "padding-id": Hostile(config(pad_token_id=10**6), (CONFIG,)),
    "padding-id-negative": Hostile(config(pad_token_id=-1), (CONFIG, "pad_token_id = -1")),
    "causal": Hostile(config(is_decoder=True), (CONFIG, "is_decoder = True")),
    "causal-encoder-decoder": Hostile(config(is_encoder_decoder=True), (CONFIG, "is_encoder_decoder = True")),
    "cross-attention": Hostile(config(add_cross_attention=1), (CONFIG, "add_cross_attention = 1")),
    "activation-with-kernels": Hostile(config(hidden_act="xielu"), (CONFIG, "'xielu'")),
    # M8: labels
    "label-twice": Hostile(
        config(id2label={0: "a", 1: "b", 2: "a"}), ("id2label", CONFIG, "a label twice"), base=False
    ),
    "label-with-escapes": Hostile(three_labels("a", "\x1b[2Jb", "c"), ("id2label", CONFIG, "\\x1b"), base=False),
    "label-right-to-left": Hostile(three_labels("a", "b\u202e", "c"), ("id2label", CONFIG, "\\u202e"), base=False),
    "label-too-long": Hostile(three_labels("a", "b" * 65, "c"), ("id2label", CONFIG, "1 to 64"), base=False),
    "label-count": Hostile(config(num_labels=4), ("num_labels = 4", CONFIG), base=False),
    "label-count-of-the-head": Hostile(three_labels("a", "b", "c", "d"), ("mismatched keys", "classifier"), base=False),
    # M1 and M8: weights
    "cve-2025-32434": Hostile(only_pickle("pytorch_model.bin"), (WEIGHTS, "pytorch_model.bin is a pickle")),
    "cve-2026-24747": Hostile(only_pickle("model.pt"), (f"no {WEIGHTS}",)),
    "cve-2026-4538": Hostile(only_pickle("model.pt2"), (f"no {WEIGHTS}",)),
    "pickle-as-safetensors": Hostile(
        lambda folder: content(WEIGHTS, (folder / "pytorch_model.bin").read_bytes())(folder),
        (WEIGHTS, "cannot be loaded"),
    ),
    "header-endless": Hostile(weights(lambda data: b"\xff" * 8 + data[8:]), (WEIGHTS, "cut off")),
    "header-large": Hostile(
        header(lambda entries: entries.update({"__metadata__": {"a": "x" * 2**20}})), (WEIGHTS, "cut off")
    ),
    "header-twice": Hostile(
        weights(lambda data: struct.pack("<Q", 13) + b'{"a":1,"a":1}' + data), ("header of", WEIGHTS, "'a'")
    ),
    "header-entry": Hostile(header(lambda entries: entries.update(evil=3)), ("header of", WEIGHTS, "'evil'")),
    "tensors-cut-off": Hostile(weights(lambda data: data[:-4]), (WEIGHTS, "cannot be loaded")),
    "tensors-overlap": Hostile(header(overlap), (WEIGHTS, "classifier")),
    "tensors-and-more": Hostile(weights(lambda data: data + b"#!/bin/sh"), (WEIGHTS, "cannot be loaded")),
    "tensor-of-bytes": Hostile(
        header(lambda entries: entries["classifier.bias"].update(dtype="U8", shape=[12])), (WEIGHTS, "'U8'")
    ),
    "tensor-negative": Hostile(header(shape_of_first([-1, -32])), (WEIGHTS, "no sizes")),
    "tensor-huge": Hostile(header(shape_of_first([2**40, 2**40])), (WEIGHTS, "cannot be loaded")),
    "tensor-huge-and-empty": Hostile(
        header(lambda entries: entries.update(evil={"dtype": "F32", "shape": [0, 2**70], "data_offsets": [0, 0]})),
        (WEIGHTS, "'evil'", "no sizes"),
    ),
    "tensor-axes": Hostile(
        header(lambda entries: entries.update(evil={"dtype": "F32", "shape": [0] * 1_000, "data_offsets": [0, 0]})),
        (WEIGHTS, "'evil'", "no sizes"),
    ),
    "tensor-shape": Hostile(header(flatten), ("mismatched keys: classifier.weight",), base=False),
    "tensor-missing": Hostile(
        header(rename("classifier.bias", "classifier.other")), ("missing keys: classifier.bias",), base=False
    ),
    "tensor-extra": Hostile(
        header(lambda entries: entries.update(evil={"dtype": "F32", "shape": [1], "data_offsets": [0, 0]})),
        (WEIGHTS, "'evil'"),
    ),
    "tensor-extra-empty": Hostile(
        header(
            lambda entries: entries.update(evil={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}),
        ),
        ("unexpected keys: evil",),
        base=False,
    ),
    "tensor-missing-in-the-encoder": Hostile(
        header(rename("bert.encoder.layer.1.output.dense.bias", "bert.other")), ("missing keys: bert.encoder.layer.1",)
    ),
    # M7: the index
    "index-parent": Hostile(index("../outside.safetensors"), ("index.json", "'../outside.safetensors'")),
    "index-absolute": Hostile(index("/etc/hostname"), ("index.json", "'/etc/hostname'")),
    "index-pickle": Hostile(index("pytorch_model.bin"), ("index.json", "'pytorch_model.bin'")),
    "index-overlap": Hostile(
        index("a.safetensors", "b.safetensors", keep=True), ("b.safetensors", "another weight file")
    ),
    "index-key-twice": Hostile(index_twice, ("index.json", "'a'", "twice")),
    # M10: links, and what is no file
    "link-weights": Hostile(link(WEIGHTS), (WEIGHTS, "link")),
    "link-config": Hostile(link(CONFIG), (CONFIG, "link")),
    "link-tokenizer": Hostile(link(TOKENIZER), (TOKENIZER, "link")),
    "link-secret": Hostile(link("tokenizer_config.json", "/etc/passwd"), ("tokenizer_config.json", "link")),
    "link-loop": Hostile(link("tokenizer_config.json", "tokenizer_config.json"), ("tokenizer_config.json", "link")),
    "link-nowhere": Hostile(link("tokenizer_config.json", "absent"), ("tokenizer_config.json", "link")),
    "fifo-config": Hostile(fifo(CONFIG), (CONFIG,)),
    "fifo-weights": Hostile(fifo(WEIGHTS), (WEIGHTS,)),
    # Code
    "cve-2026-68770": Hostile(content("modeling_evil.py", b"raise SystemExit(0)"), ("modeling_evil.py", "code")),
    "code-shadows-a-module": Hostile(content("json.py", b"raise SystemExit(0)"), ("json.py", "code")),
    "code-compiled": Hostile(content("evil.so", b"\x7fELF"), ("evil.so", "code")),
    "adapter": Hostile(
        values("adapter_config.json", base_model_name_or_path="evil/repo"), ("adapter_config.json", "adapter")
    ),
    # M9: the tokenizer
    "split-regex": Hostile(step("pre_tokenizer", SPLIT), (TOKENIZER, "pre_tokenizer", "'Split'")),
    "split-regex-nested": Hostile(
        step("pre_tokenizer", sequence("pretokenizers", {"type": "Whitespace"}, sequence("pretokenizers", SPLIT))),
        (TOKENIZER, "pre_tokenizer", "'Split'"),
    ),
    "replace-regex": Hostile(step("normalizer", replace({"Regex": LOOP})), (TOKENIZER, "Replace", LOOP)),
    "replace-regex-decoder": Hostile(step("decoder", replace({"Regex": LOOP})), (TOKENIZER, "decoder", LOOP)),
    "replace-grows": Hostile(step("normalizer", replace({"String": "a"}, "a" * 10_000)), (TOKENIZER, "normalizer")),
    "replace-doubles": Hostile(
        step("normalizer", sequence("normalizers", *[replace({"String": "a"}, "aa")] * 40)), (TOKENIZER, "normalizer")
    ),
    "replace-nothing": Hostile(step("normalizer", replace({"String": ""}, "a")), (TOKENIZER, "empty String")),
    "charsmap-grows": Hostile(
        step("normalizer", {"type": "Precompiled", "precompiled_charsmap": TABLE}), (TOKENIZER, "precompiled_charsmap")
    ),
    "charsmap-grows-in-a-trie": Hostile(
        step("normalizer", precompiled({b"e": "\ufdfa".encode()})), (TOKENIZER, "precompiled_charsmap", "18 characters")
    ),
    "charsmap-leads-out": Hostile(
        step("normalizer", precompiled({b"e": b"a"}, cut=1024)), (TOKENIZER, "precompiled_charsmap", "damaged")
    ),
    "charsmap-none": Hostile(
        step("normalizer", {"type": "Precompiled", "precompiled_charsmap": "!"}), (TOKENIZER, "precompiled_charsmap")
    ),
    "normalizer-of-bytes": Hostile(step("normalizer", {"type": "ByteLevel"}), (TOKENIZER, "normalizer", "'ByteLevel'")),
    "normalizer-twice": Hostile(
        step("normalizer", sequence("normalizers", {"type": "NFKD"}, {"type": "Lowercase"}, {"type": "NFKD"})),
        (TOKENIZER, "normalizer NFKD twice"),
    ),
    "normalizer-endless": Hostile(
        step("normalizer", sequence("normalizers", *[replace({"String": "a"}, "b")] * 1_000)), (TOKENIZER, "12 steps")
    ),
    "normalizer-nested": Hostile(
        step("normalizer", sequence("normalizers", *[sequence("normalizers")] * 1_000)), (TOKENIZER, "12 steps")
    ),
    "normalizer-prepends": Hostile(
        step("normalizer", {"type": "Prepend", "prepend": "a" * 1_000}), (TOKENIZER, "normalizer", "before a text")
    ),
    "pre-tokenizer-of-bytes-twice": Hostile(
        step("pre_tokenizer", sequence("pretokenizers", *[BYTES] * 3)), (TOKENIZER, "pre_tokenizer ByteLevel twice")
    ),
    "decoder-endless": Hostile(
        step("decoder", sequence("decoders", *[{"type": "Fuse"}] * 1_000)), (TOKENIZER, "decoder", "12 steps")
    ),
    "normalizer-unknown": Hostile(step("normalizer", {"type": "Python"}), (TOKENIZER, "normalizer", "'Python'")),
    "normalizer-typeless": Hostile(step("normalizer", ["Python"]), (TOKENIZER, "normalizer", "None")),
    "post-processor-unknown": Hostile(
        step("post_processor", {"type": "Evil"}), (TOKENIZER, "post_processor", "'Evil'")
    ),
    "post-processor-long": Hostile(
        step(
            "post_processor",
            {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 1_000},
        ),
        (TOKENIZER, "post_processor"),
    ),
    "post-processor-two-texts": Hostile(step("post_processor", template(2)), (TOKENIZER, "post_processor", "one text")),
    "post-processor-many-ids": Hostile(
        step("post_processor", template(1, ids=[2] * 1_000)), (TOKENIZER, "post_processor", "16 tokens")
    ),
    "decoder-unknown": Hostile(step("decoder", {"type": "Evil"}), (TOKENIZER, "decoder", "'Evil'")),
    "tokenizer-model": Hostile(model(type="Python"), (TOKENIZER, "'Python'")),
    "tokenizer-dropout": Hostile(model(type="BPE", dropout=0.1), (TOKENIZER, "dropout")),
    "tokenizer-quadratic": Hostile(model(max_input_chars_per_word=10**9), (TOKENIZER, "max_input_chars_per_word")),
    "tokenizer-long-words": Hostile(model(max_input_chars_per_word=1_000), (TOKENIZER, "max_input_chars_per_word")),
    "tokenizer-prefix": Hostile(
        model(continuing_subword_prefix="#" * 100_000), (TOKENIZER, "continuing_subword_prefix")
    ),
    "tokenizer-suffix": Hostile(model(type="BPE", end_of_word_suffix="<" * 100_000), (TOKENIZER, "end_of_word_suffix")),
    "tokenizer-long-pieces": Hostile(unigram(*("a" * length for length in range(1, 1_000))), (TOKENIZER, "a piece of")),
    "tokenizer-pieces-that-are-none": Hostile(
        values(TOKENIZER, model={"type": "Unigram", "unk_id": 0, "vocab": ["a"]}), (TOKENIZER, "pairs")
    ),
    "added-tokens": Hostile(
        values(TOKENIZER, added_tokens=[{"id": 5, "content": "a"}] * 10_001), (TOKENIZER, "10000 added_tokens")
    ),
    "added-tokens-of-the-config": Hostile(
        values("tokenizer_config.json", additional_special_tokens=["a"] * 10_001),
        ("tokenizer_config.json", "additional_special_tokens"),
    ),
    "no-unknown-word-piece": Hostile(model(unk_token="[NONE]"), (TOKENIZER, "unk_token = '[NONE]'")),
    "no-unknown-word": Hostile(model(type="WordLevel", unk_token=None), (TOKENIZER, "unk_token = None")),
    "no-unknown-bytes": Hostile(model(type="BPE", merges=[], unk_token="<u>"), (TOKENIZER, "unk_token = '<u>'")),
    "no-unknown-piece": Hostile(unigram("a", unk_id=None), (TOKENIZER, "unk_id = None")),
    "no-unknown-piece-there": Hostile(unigram("a", unk_id=10**6), (TOKENIZER, "unk_id = 1000000")),
    "no-unknown-and-no-type": Hostile(untyped(unk_token="[NONE]"), (TOKENIZER, "unk_token = '[NONE]'")),
    "tokenizer-ids": Hostile(more_ids, (TOKENIZER, "70000"), base=False),
    "tokenizer-negative-ids": Hostile(model(vocab={"[UNK]": -1}), (TOKENIZER,), base=False),
    "tokenizer-list": Hostile(content(TOKENIZER, b"[]"), (TOKENIZER, "not a JSON object")),
    "tokenizer-twice": Hostile(content(TOKENIZER, b'{"model": {}, "model": {}}'), (TOKENIZER, "'model'", "twice")),
    "tokenizer-deep": Hostile(values(TOKENIZER, a=nested(DEEP)), (TOKENIZER, "deeper than 32")),
    "tokenizer-pickle": Hostile(without_json, (f"no {TOKENIZER}",), base=False),
    "cve-2026-9856": Hostile(
        values("tokenizer_config.json", chat_template=[{"name": "../../canary", "template": "x"}]),
        ("tokenizer_config.json", "chat_template", "'../../canary'"),
    ),
    "vocabulary-list": Hostile(content("vocab.json", b"[]"), ("vocab.json", "not a JSON object")),
    "vocabulary-large": Hostile(
        content("vocab.json", json.dumps({str(number): number for number in range(10_000)}).encode()),
        ("vocab.json", "10000 tokens", "vocab_size"),
    ),
    "vocabulary-long": Hostile(content("vocab.json", b'{"%s": 1}' % (b"a" * 2_000)), ("vocab.json", "2000 characters")),
    "words-many": Hostile(content("vocab.txt", b"a\n" * 10_000), ("vocab.txt", "10001 lines", "vocab_size")),
    "words-long": Hostile(content("vocab.txt", b"a" * 2**20), ("vocab.txt", "1048576 characters")),
    "words-no-text": Hostile(content("vocab.txt", b"a\nb\xff\n"), ("vocab.txt", "not UTF-8")),
    "words-link": Hostile(added_link("vocab.txt", "/etc/passwd"), ("vocab.txt", "link")),
    "merges-many": Hostile(content("merges.txt", b"a b\n" * 10_000), ("merges.txt", "10001 lines", "vocab_size")),
    "merges-no-text": Hostile(content("merges.txt", b"\xff b\n"), ("merges.txt", "not UTF-8")),
    "added-tokens-many": Hostile(
        content("added_tokens.json", json.dumps({str(number): number for number in range(10_000)}).encode()),
        ("added_tokens.json", "10000 tokens"),
    ),
}


# Graphs: whoever changes one signs the record anew


def graph(change: Change) -> Change:
    """Change the files of the float graph; the record has the hashes of what they become."""

    def rewrite(folder: Path) -> None:
        change(folder)
        files = [folder / name for name in graph_files("float")]
        hashes = [hashlib.sha256(each.read_bytes()).hexdigest() if each.is_file() else "0" * 64 for each in files]
        edit(folder, RECORD, lambda record: record.update(graphs={"float": hashes}))

    return rewrite


def graph_text(old: str, new: str) -> Change:
    def replace(folder: Path) -> None:
        text = (folder / XML).read_text()
        assert old in text
        (folder / XML).write_text(text.replace(old, new, 1))

    return graph(replace)


def graph_of(build: Callable[[Text, int, int], int]) -> Change:
    """Another graph in its place, which labels, too; it adds what is built of the two inputs to the logits."""

    def write(folder: Path) -> None:
        text, ids, mask = begin()
        put(end(text, ids, build(text, ids, mask)), folder)

    return graph(write)


def put(text: Text, folder: Path) -> None:
    path = text.write(folder)
    path.rename(folder / XML)
    path.with_suffix(".bin").rename(folder / BIN)


def without_labels(folder: Path) -> None:
    """Its result is what it was given."""
    text, ids, _ = begin()
    text.add("Result", ids, outputs=0)
    put(text, folder)


def shifted(**changes: int) -> Change:
    """The first constant is said to lie somewhere else."""

    def shift(folder: Path) -> None:
        text = (folder / XML).read_text()
        for name, value in changes.items():
            text = re.sub(rf' {name}="[0-9]+"', f' {name}="{value}"', text, count=1)
        (folder / XML).write_text(text)

    return graph(shift)


def hole(folder: Path) -> None:
    """A petabyte, and no block of it on the disk."""
    os.truncate(folder / BIN, 2**42)


def graph_link(folder: Path) -> None:
    link(XML)(folder)


def foreign(kind: str, version: str, inside: str = "") -> Change:
    """An operation that no encoder has, in the place of one that it has."""
    return graph_text('type="Tanh" version="opset1">', f'type="{kind}" version="{version}">{inside}')


XML, BIN = graph_files("float")
ENTITIES = (
    "<!DOCTYPE net ["
    + "".join(f'<!ENTITY a{level} "{f"&a{level - 1};" * 10 if level else "lol"}">' for level in range(10))
    + "]>"
)
HOSTILE |= {
    name: Hostile(change, says, base=False, graph=True)
    for name, (change, says) in {
        "graph-extension": (foreign("Tanh", "extension"), (XML, "'Tanh' of 'extension'")),
        "graph-unknown": (foreign("Evil", "opset1"), (XML, "'Evil' of 'opset1'", "label with --engine torch")),
        "graph-state": (foreign("ReadValue", "opset6"), (XML, "'ReadValue'")),
        "graph-loop": (foreign("Loop", "opset5", "<body/>"), (XML, "'body' in net/layers/layer")),
        "graph-branch": (foreign("If", "opset8"), (XML, "'If'")),
        "graph-scatter": (foreign("ScatterNDUpdate", "opset3"), (XML, "'ScatterNDUpdate'")),
        "graph-text": (graph_text('element_type="f32"', 'element_type="string"'), (XML, "'Const' with")),
        "graph-preprocessing": (graph_text("<layers>", "<pre-process/><layers>"), (XML, "'pre-process' in net")),
        "graph-entities": (graph_text("<net ", f"{ENTITIES}<net "), (XML, "a declaration")),
        "graph-external": (
            graph_text("<net ", '<!DOCTYPE net SYSTEM "file:///etc/hostname"><net '),
            (XML, "a declaration"),
        ),
        "graph-utf-16": (
            graph(lambda folder: (folder / XML).write_text((folder / XML).read_text(), "utf-16")),
            (XML, "does not begin with"),
        ),
        "graph-large": (graph(lambda folder: os.truncate(folder / XML, 2**24 + 1)), (XML, "larger than 16 MiB")),
        "graph-constant-outside": (shifted(offset=10**9), (BIN, "its graph has constants of")),
        "graph-constant-overflow": (shifted(offset=2**64 - 8), (XML, "'Const' with")),
        "graph-constant-size": (shifted(size=4), (XML, "not as many bytes as its shape asks for")),
        "graph-hole": (hole, (BIN, f"has {2**42} bytes")),
        "graph-weights-cut-off": (graph(lambda folder: os.truncate(folder / BIN, 100)), (BIN, "has 100 bytes")),
        "graph-pipe": (fifo(BIN), (BIN, "not an ordinary file")),
        "graph-link": (graph_link, (XML, "a link that leads out")),
        "graph-missing": (lambda folder: (folder / XML).unlink(), (XML, "is missing", "make it again with")),
        "graph-changed": (content(BIN, b""), (BIN, "has 0 bytes")),
        "graph-of-another-model": (values(RECORD, model="0" * 64), (RECORD, "of another model", "optimize --model")),
        "graph-without-hashes": (values(RECORD, graphs={"float": [None, None]}), (RECORD, "no graphs with the hashes")),
        "graph-elsewhere": (values(RECORD, graphs={"../float": ["0" * 64] * 2}), (RECORD, "no graphs with the hashes")),
        "graph-cycle": (graph_text('from-layer="0"', 'from-layer="99"'), (XML, "is of none before it")),
        "graph-without-labels": (graph(without_labels), (XML, "gives logits of (2, 4) for 2 texts, not 3 for each")),
        "graph-division": (
            graph_of(lambda text, ids, mask: text.add("Mod", text.constant(-(2**63)), text.constant(-1), **NUMPY)),
            (XML, "'Mod' by a whole number"),
        ),
        "graph-bomb": (
            graph_of(
                lambda text, ids, mask: text.add(
                    "Broadcast", text.constant(1), text.constant([10**6, 10**6]), mode="numpy"
                )
            ),
            (XML, "needs room for 2000000"),
        ),
        "graph-bomb-of-the-data": (
            graph_of(
                lambda text, ids, mask: text.add(
                    "Tile", ids, text.add("ReduceSum", ids, text.constant(0), keep_dims="false")
                )
            ),
            (XML, "'Tile' with a shape or axis that comes from 'ReduceSum'"),
        ),
    }.items()
}


class Bait:
    """Unpickled, it leaves a canary."""

    def __init__(self, canary: Path):
        self.canary = str(canary)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.canary,)


def plant_bait(folder: Path, canary: Path) -> None:
    """What must lie there unread, in every folder, the harmless one too: pickles by their usual names, and code."""
    pickled = pickle.dumps(Bait(canary))
    for name in (
        "pytorch_model.bin",
        "training_args.bin",
        "rng_state.pth",
        "optimizer.pt",
        "model.joblib",
        ".metadata",
    ):
        (folder / name).write_bytes(pickled)
    (folder / "code").mkdir()
    for name in ("__init__.py", "modeling_evil.py", "kernels.py"):
        (folder / "code" / name).write_text(f"import os\nos.mkdir({str(canary)!r})\n")
