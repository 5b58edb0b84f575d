"""The tokenizer of a corpus: trained on its own text, or published."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from detour.corpus.layout import SpecialTokens
from detour.errors import UserError
from detour.files import is_lfs_pointer

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "<mask>",
}
"""Tokens with the ids 0 to 4, in this order. The mask is spelt as users of the French models expect."""
TOKENIZER_FILE = "tokenizer.json"


class TokenizerError(UserError):
    """A tokenizer cannot be loaded or does not fit its purpose."""


def train_tokenizer(texts: Iterable[str], vocabulary: int, max_tokens: int) -> Any:
    """Train a byte-level BPE of at most `vocabulary` tokens, special ones included, as a fast transformers tokenizer.

    The same texts in the same order give the same tokenizer. It can encode any text, because all 256 bytes are tokens.
    """
    from transformers import PreTrainedTokenizerFast

    # As in RoBERTa, the mask absorbs the space before it, so that it replaces a whole word with its space.
    mask = AddedToken(SPECIAL_TOKENS["mask_token"], lstrip=True, normalized=False, special=True)
    named = SPECIAL_TOKENS | {"mask_token": mask}
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(named.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = _around(backend, SPECIAL_TOKENS["cls_token"], SPECIAL_TOKENS["sep_token"])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_tokens,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        **named,
    )


def load_tokenizer(name: str, revision: str | None = None) -> Any:
    """Load a published tokenizer, by hub id or folder, that produces the ids of its own tokenizer.json.

    `AutoTokenizer` would rebuild it with the class named in its config, which may produce other ids. If it does not put
    a text between [CLS] and [SEP], it gets the template used for corpora. Code that a repository ships is never run.
    Raises TokenizerError if it cannot be loaded, lacks a token or differs from its file.
    """
    from transformers import PreTrainedTokenizerFast

    if name.startswith(("/", "./", "../")) and not Path(name).is_dir():
        raise TokenizerError(f"tokenizer {name}: no such folder")
    file = _tokenizer_file(name, revision)
    if file and is_lfs_pointer(file):
        raise TokenizerError(f"{file}: a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned")
    try:
        loader = PreTrainedTokenizerFast if file else _auto_tokenizer()
        tokenizer = loader.from_pretrained(name, revision=revision, trust_remote_code=False)
    except Exception as error:  # many libraries raise their own errors; in any case there is no tokenizer
        at = f" (revision {revision})" if revision else ""
        raise TokenizerError(
            f"tokenizer {name}{at}: cannot be loaded: {_first_sentence(error)} Give a folder that holds it, "
            "or fetch it once where the hub can be reached."
        ) from error
    if not tokenizer.is_fast:
        raise TokenizerError(f"tokenizer {name}: has no fast version (no {TOKENIZER_FILE}); convert it first")
    if file and (difference := _difference(tokenizer.backend_tokenizer, Tokenizer.from_file(str(file)))):
        raise TokenizerError(f"tokenizer {name}: {difference}; remove from its other files what {TOKENIZER_FILE} lacks")
    _put_between(tokenizer.backend_tokenizer, special_tokens(tokenizer))
    return tokenizer


def _auto_tokenizer() -> Any:
    """Imported only if needed, because it imports torch, as long as all else that a preparation does."""
    from transformers import AutoTokenizer

    return AutoTokenizer


def _tokenizer_file(name: str, revision: str | None) -> Path | None:
    """Return tokenizer.json of a folder or a hub id; None if there is none or the hub cannot be reached."""
    from transformers.utils import cached_file

    try:
        found = cached_file(name, TOKENIZER_FILE, revision=revision)
    except OSError:
        return None
    return Path(found) if found else None


def _difference(loaded: Tokenizer, own: Tokenizer) -> str | None:
    """Return how a loaded tokenizer would produce other ids than its own file; added special tokens are allowed."""
    now, file = (json.loads(backend.to_str()) for backend in (loaded, own))
    if changed := [part for part in ("normalizer", "pre_tokenizer", "model") if now[part] != file[part]]:
        return f"is loaded with another {' and '.join(changed)} than its {TOKENIZER_FILE} has"
    known = {token["content"]: token for token in file["added_tokens"]}
    for token in now["added_tokens"]:
        content, was = token["content"], known.get(token["content"])
        if token != was and not (token["special"] and token["id"] == (was or token)["id"]):
            return f"gives the token {content!r} other properties than its {TOKENIZER_FILE} does"
    by_id: dict[int, str] = {}
    for content, token_id in loaded.get_vocab().items():
        if (other := by_id.setdefault(token_id, content)) != content:
            return f"has the id {token_id} for both {other!r} and {content!r}"
    return None


def _put_between(backend: Tokenizer, special: SpecialTokens) -> None:
    """Make the tokenizer put texts between [CLS] and [SEP], as in a corpus, unless it already does."""
    backend.no_padding()
    backend.no_truncation()
    text = "a"
    plain = backend.encode(text, add_special_tokens=False).ids
    if backend.encode(text).ids != [special.cls, *plain, special.sep]:
        backend.post_processor = _around(backend, _token(backend, special.cls), _token(backend, special.sep))


def vocabulary_size(tokenizer: Any) -> int:
    """Return the rows that an embedding needs: the largest id plus one, more than the tokens if ids have gaps."""
    ids: Iterable[int] = tokenizer.get_vocab().values()
    return max(ids) + 1


def special_tokens(tokenizer: Any) -> SpecialTokens:
    """Return the ids of the tokens that pretraining needs. Raises TokenizerError naming those that are missing.

    Without [CLS] or [SEP], the tokens for the beginning and end of a sequence are used.
    """
    ids = {
        "pad": tokenizer.pad_token_id,
        "cls": _first(tokenizer.cls_token_id, tokenizer.bos_token_id),
        "sep": _first(tokenizer.sep_token_id, tokenizer.eos_token_id),
        "mask": tokenizer.mask_token_id,
    }
    if absent := [role for role, token_id in ids.items() if token_id is None]:
        raise TokenizerError(f"tokenizer {tokenizer.name_or_path}: has no {', '.join(absent)} token")
    return SpecialTokens(**ids, unk=tokenizer.unk_token_id)


def document_tokenizer(folder: Path, special: SpecialTokens) -> Tokenizer:
    """Load the saved tokenizer as applied to a corpus: every document between [CLS] and [SEP], without truncation.

    `[SEP]` or `<mask>` in the text of a document is encoded as characters, not as the special token.
    """
    backend = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    backend.post_processor = _around(backend, _token(backend, special.cls), _token(backend, special.sep))
    return backend


def _around(backend: Tokenizer, cls: str, sep: str) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=[cls, "$A", sep],
        pair=[cls, "$A", sep, "$B:1", f"{sep}:1"],
        special_tokens=[(token, backend.token_to_id(token)) for token in dict.fromkeys((cls, sep))],
    )


def _token(backend: Tokenizer, token_id: int) -> str:
    token = backend.id_to_token(token_id)
    if token is None:
        raise TokenizerError(f"the tokenizer has no token with the id {token_id}")
    return token


def _first(*candidates: int | None) -> int | None:
    return next((candidate for candidate in candidates if candidate is not None), None)


def _first_sentence(error: Exception) -> str:
    first = " ".join(str(error).split()).split(". ")[0].rstrip(".") or type(error).__name__
    return f"{first}."
