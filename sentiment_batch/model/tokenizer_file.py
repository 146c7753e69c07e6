"""tokenizer.json: what a tokenizer may be made of.

The `tokenizers` library builds whatever the file describes: a regular expression that takes exponential time, a
replacement that turns a text into gigabytes, a sampling that gives other labels each time. The rules below hold for
what transformers writes for each kind of encoder, and keep a text of 32,768 characters (all that is looked at for 512
tokens) under a second, whatever it is: no step makes a text longer but those that Unicode or SentencePiece's own
table let grow, and what the model does for each character is bounded. The seconds beside the bounds are for such a
text, tokenizers 0.23, one core.
"""

from collections.abc import Iterator
from typing import Any

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.charsmap import check_charsmap

# The steps that transformers 5 makes for encoders, of each kind; then the key under which a Sequence has its own.
_KNOWN = {
    "normalizer": "BertNormalizer Lowercase NFC NFD NFKC NFKD Nmt Precompiled Prepend Replace Strip StripAccents",
    "pre_tokenizer": "BertPreTokenizer ByteLevel CharDelimiterSplit Digits Metaspace Punctuation UnicodeScripts "
    "Whitespace WhitespaceSplit",
    "post_processor": "BertProcessing ByteLevel RobertaProcessing TemplateProcessing",
    "decoder": "BPEDecoder ByteFallback ByteLevel Fuse Metaspace Replace Strip WordPiece",
}
_SEQUENCE = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
}
_REPEATED = {"Replace", "Sequence", "Strip"}  # any other step twice does nothing more, or makes a text grow twice
_STEPS = 12  # of a kind; ALBERT has 8 with its Sequence. A thousand passes over a text take 4 s
_MODELS = ("BPE", "Unigram", "WordLevel", "WordPiece")
# The regular expressions that transformers itself writes into such files; they take linear time.
_REGEXES = {" {2,}", r"\s+", r"\s{2,}|[\n\r\t]"}
_PREFIX = 8  # characters, as "##" and "</w>"; one of 100,000 takes 25 s
_WORD = 200  # characters: .35 s, and the time grows with its square. transformers and `tokenizers` write 100
_PIECE = 64  # characters of a Unigram's piece: .13 s, by 1,000 4 s. SentencePiece makes 16
_PIECES = 10_000_000  # bytes of them all: each may take 340 of memory. XLM-R's 250,000 have about 2,500,000
_ADDED = 10_000  # tokens
_TEMPLATE = 16  # tokens


def check_tokenizer(tokenizer: dict[str, Any], where: str) -> None:
    """Raise `ModelRefused` unless the content of the file describes a tokenizer of known and harmless steps."""
    for kind in _KNOWN:
        seen: list[str] = []
        for step in _steps(tokenizer.get(kind), kind, where):
            if step["type"] in seen and step["type"] not in _REPEATED and kind != "decoder":
                raise ModelRefused(f"{where} has the {kind} {step['type']} twice, which no tokenizer here needs")
            seen.append(step["type"])
            if len(seen) > _STEPS:
                raise ModelRefused(f"{where} has a {kind} of more than {_STEPS} steps")
            _check_step(step, kind, where)
    if len(_of(list, {"added_tokens": [], **tokenizer}, "added_tokens", where)) > _ADDED:
        raise ModelRefused(f"{where} has more than {_ADDED} added_tokens")
    _check_model(_of(dict, tokenizer, "model", where), where)


def _steps(step: Any, kind: str, where: str) -> Iterator[dict[str, Any]]:
    """The steps of a kind one by one: a Sequence, then those in it."""
    if step is None:
        return
    known = _KNOWN[kind].split()
    name = step.get("type") if isinstance(step, dict) else None
    if name == "Sequence":
        yield step
        for each in _of(list, step, _SEQUENCE[kind], where):
            yield from _steps(each, kind, where)
    elif isinstance(name, str) and name in known:
        yield step
    else:
        raise ModelRefused(f"{where} has a {kind} of type {name!r:.60}; known: {', '.join(known)}, Sequence")


def _check_step(step: dict[str, Any], kind: str, where: str) -> None:
    """The steps with options that matter."""
    if step["type"] == "Replace":
        _check_replacement(step, kind, where)
    elif step["type"] == "Prepend":
        if len(_of(str, step, "prepend", where)) > 1:
            raise ModelRefused(f"{where} has a {kind} that puts more than one character before a text")
    elif step["type"] == "Precompiled":
        try:
            check_charsmap(_of(str, step, "precompiled_charsmap", where))
        except ValueError as error:
            raise ModelRefused(f"{where} has a precompiled_charsmap that {error}") from None
    elif step["type"] == "TemplateProcessing":
        _check_template(step, where)


def _check_replacement(step: dict[str, Any], kind: str, where: str) -> None:
    pattern = _of(dict, step, "pattern", where)
    regex = pattern.get("Regex")
    if regex is not None and regex not in _REGEXES:
        raise ModelRefused(
            f"{where} has a {kind} Replace with the Regex {regex!r:.60}; only those of transformers are known"
        )
    shortest = 1 if regex is not None else len(_of(str, pattern, "String", where))
    if not shortest:
        raise ModelRefused(f"{where} has a {kind} Replace of the empty String")
    if len(_of(str, step, "content", where)) > shortest:
        raise ModelRefused(f"{where} has a {kind} Replace that makes a text longer")


def _check_template(step: dict[str, Any], where: str) -> None:
    """The text once, and few tokens around it, also where one name of the template stands for several ids."""
    single = _of(list, step, "single", where)
    tokens = _of(dict, {"special_tokens": {}, **step}, "special_tokens", where)
    texts = sum(isinstance(piece, dict) and "Sequence" in piece for piece in single)
    ids = [each.get("ids") if isinstance(each, dict) else None for each in tokens.values()]
    if texts != 1 or len(single) > _TEMPLATE or not all(isinstance(each, list) for each in ids):
        raise ModelRefused(f"{where}: its post_processor is not one text with at most {_TEMPLATE} tokens around it")
    if sum(map(len, ids)) > _TEMPLATE:  # type: ignore[arg-type]
        raise ModelRefused(f"{where}: its post_processor adds more than {_TEMPLATE} tokens to a text")


def _check_model(model: dict[str, Any], where: str) -> None:
    kind = _kind_of(model, where)
    if model.get("dropout"):
        raise ModelRefused(f"{where} has a model with dropout: it would give other labels each time")
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key) is not None and len(_of(str, model, key, where)) > _PREFIX:
            raise ModelRefused(f"{where} has a {key} of more than {_PREFIX} characters")
    longest = model.get("max_input_chars_per_word", 0)
    if type(longest) is not int or not 0 <= longest <= _WORD:
        raise ModelRefused(f"{where} has max_input_chars_per_word = {longest!r:.60}; at most {_WORD}")
    if kind == "Unigram":
        _check_pieces(_of(list, model, "vocab", where), where)
        known = type(model.get("unk_id")) is int and 0 <= model["unk_id"] < len(model["vocab"])
        unknown = "unk_id"
    else:
        words = _of(dict, model, "vocab", where)
        unknown = "unk_token"
        token = model.get(unknown)
        known = isinstance(token, str) and token in words
        known |= kind == "BPE" and token is None  # it leaves out what it does not know
    if not known:
        raise ModelRefused(
            f"{where} has {unknown} = {model.get(unknown)!r:.60}, which is not in its vocabulary: "
            "it would fail at the first unknown word; save the tokenizer with it"
        )


def unknown_id(tokenizer: dict[str, Any]) -> int | None:
    """The id of what the vocabulary does not know, in a file that was checked; None where no text has such a token."""
    model = tokenizer["model"]
    found = model["unk_id"] if isinstance(model["vocab"], list) else model["vocab"].get(model.get("unk_token"))
    return found if type(found) is int else None


def _kind_of(model: dict[str, Any], where: str) -> str:
    """Files of old releases do not say it; then it is what the library takes them for."""
    kind = model.get("type")
    if kind is None:
        if "merges" in model:
            return "BPE"
        if isinstance(model.get("vocab"), list):
            return "Unigram"
        return "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"
    if not isinstance(kind, str) or kind not in _MODELS:
        raise ModelRefused(f"{where} has a model of type {kind!r:.60}; known: {', '.join(_MODELS)}")
    return kind


def _check_pieces(pieces: list[Any], where: str) -> None:
    total = 0
    for piece in pieces:
        if not isinstance(piece, list) or len(piece) != 2 or not isinstance(piece[0], str):
            raise ModelRefused(f"{where} has a vocab that is not pairs of a piece and its score")
        if len(piece[0]) > _PIECE:
            raise ModelRefused(f"{where} has a piece of {len(piece[0])} characters in its vocab; at most {_PIECE}")
        total += len(piece[0].encode(errors="surrogatepass"))
    if total > _PIECES:
        raise ModelRefused(f"{where} has pieces of {total} bytes in its vocab; at most {_PIECES}")


def _of(kind: type[Any], value: dict[str, Any], key: str, where: str) -> Any:
    if not isinstance(value.get(key), kind):
        raise ModelRefused(f"{where} cannot be read: {key} is missing or not what it must be")
    return value[key]
