"""Make the corpus of a chain. Output: `detour.corpus.layout`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detour.corpus.files import SourceError, check_unchanged
from detour.corpus.layout import TOKENIZER
from detour.corpus.reading import CorpusSpec, TextSource, sampled_texts
from detour.corpus.shards import prepare_corpus
from detour.corpus.tokenizer import load_tokenizer, special_tokens, train_tokenizer, vocabulary_size
from detour.errors import Interrupted

if TYPE_CHECKING:
    from detour.jobs.context import StageContext


def run(context: StageContext) -> dict[str, Any]:
    """The figures returned are of this attempt where they are speeds, of the whole corpus where they are sizes."""
    settings, runtime = context.stage.settings, context.stage.runtime
    spec = _spec(settings, runtime["source_paths"])
    tokenizer = _tokenizer(settings["tokenizer"], runtime, spec, context)
    folder = context.output_dir / TOKENIZER
    tokenizer.save_pretrained(folder)
    index, tokens_per_s = prepare_corpus(
        spec,
        special_tokens(tokenizer),
        vocabulary_size(tokenizer),
        folder,
        context.work_dir / "sources",
        context.output_dir,
        int(runtime.get("workers") or len(os.sched_getaffinity(0))),
        context.attempt,
    )
    return {
        "tokens": index.tokens,
        "documents": index.documents,
        "tokens_per_s": tokens_per_s,
        "vocabulary": index.vocabulary,
        "sources": {name: entry.model_dump(exclude={"sha256"}) for name, entry in index.sources.items()},
    }


def _spec(settings: Mapping[str, Any], source_paths: Mapping[str, Sequence[str]]) -> CorpusSpec:
    sources = []
    for source in settings["sources"]:
        paths = [Path(path) for path in source_paths[source["name"]]]
        if not paths:
            raise SourceError(f"source {source['name']}: no file was found when the chain was planned; plan it again")
        check_unchanged(paths, [file["fingerprint"] for file in source["files"]])
        fields = {key: value for key, value in source.items() if key != "files"}
        sources.append(TextSource(paths=paths, **fields))
    return CorpusSpec(sources, settings["validation_tokens"], settings["sequence_length"], settings["shuffle_seed"])


def _tokenizer(settings: Mapping[str, Any], runtime: Mapping[str, Any], spec: CorpusSpec, context: StageContext) -> Any:
    """Learnt from the sources, or the published one that the plan names. What was learnt is kept between attempts."""
    training = settings.get("train")
    if training is None:
        return load_tokenizer(runtime["tokenizer"], runtime.get("tokenizer_revision"))
    kept = context.work_dir / TOKENIZER
    if not kept.is_dir():
        texts = _stoppable(sampled_texts(spec, training["documents"]), context)
        unfinished = context.work_dir / f"{TOKENIZER}.unfinished"
        train_tokenizer(texts, training["vocabulary"], spec.sequence_length).save_pretrained(unfinished)
        unfinished.replace(kept)
    return load_tokenizer(str(kept))


def _stoppable(texts: Iterator[str], context: StageContext) -> Iterator[str]:
    for text in texts:
        if context.attempt.stop_reason:
            raise Interrupted(f"stopped ({context.attempt.stop_reason}) while learning the tokenizer")
        yield text
