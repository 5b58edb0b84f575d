"""Make the corpus of a chain. Output: `detour.corpus.layout`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from detour.corpus.files import SourceError, check_unchanged
from detour.corpus.layout import TOKENIZER
from detour.corpus.reading import CorpusSpec, TextSource, sampled_texts
from detour.corpus.shards import prepare_corpus
from detour.corpus.tokenizer import load_tokenizer, special_tokens, train_tokenizer, vocabulary_size
from detour.errors import Interrupted
from detour.jobs.origins import require_unchanged

if TYPE_CHECKING:
    from detour.jobs.context import StageContext
    from detour.planning.runtime import PrepareRuntime
    from detour.planning.settings import PrepareSettings
    from detour.planning.stage import PrepareStage


def run(context: StageContext[PrepareStage]) -> dict[str, Any]:
    """The returned speeds are this attempt's, the sizes those of the whole corpus."""
    settings, runtime = context.stage.settings, context.stage.runtime
    spec = _spec(settings, runtime)
    tokenizer = _tokenizer(spec, context)
    folder = context.output_dir / TOKENIZER
    tokenizer.save_pretrained(folder)
    index, tokens_per_s = prepare_corpus(
        spec,
        special_tokens(tokenizer),
        vocabulary_size(tokenizer),
        folder,
        context.work_dir / "sources",
        context.output_dir,
        len(os.sched_getaffinity(0)),
        context.attempt,
    )
    return {
        "tokens": index.tokens,
        "documents": index.documents,
        "tokens_per_s": tokens_per_s,
        "vocabulary": index.vocabulary,
        "sources": {name: entry.model_dump(exclude={"sha256"}) for name, entry in index.sources.items()},
    }


def _spec(settings: PrepareSettings, runtime: PrepareRuntime) -> CorpusSpec:
    sources = []
    for source, files in settings.sources:
        paths = runtime.source_paths[source.name]
        if not paths:
            raise SourceError(f"source {source.name}: no file was found when the chain was planned; plan it again")
        check_unchanged(paths, [file.fingerprint for file in files])
        sources.append(TextSource(source, paths))
    return CorpusSpec(
        sources,
        settings.validation_tokens,
        settings.sequence_length,
        settings.shuffle_seed,
        drop_repeats=settings.repeats == "drop",
    )


def _tokenizer(spec: CorpusSpec, context: StageContext[PrepareStage]) -> Any:
    """A tokenizer learnt from the sources, and kept between attempts, or the published one that the plan names."""
    training, runtime = context.stage.settings.training, context.stage.runtime
    if training is None:
        assert runtime.tokenizer is not None
        require_unchanged(runtime.tokenizer, context.stage.settings.tokenizer)
        return load_tokenizer(runtime.tokenizer, runtime.tokenizer_revision)
    kept = context.work_dir / TOKENIZER
    if not kept.is_dir():
        texts = _stoppable(sampled_texts(spec, training.documents), context)
        unfinished = context.work_dir / f"{TOKENIZER}.unfinished"
        train_tokenizer(texts, training.vocabulary, spec.sequence_length).save_pretrained(unfinished)
        unfinished.replace(kept)
    return load_tokenizer(str(kept))


def _stoppable(texts: Iterator[str], context: StageContext[PrepareStage]) -> Iterator[str]:
    for text in texts:
        if context.attempt.stop_reason:
            raise Interrupted(f"stopped ({context.attempt.stop_reason}) while learning the tokenizer")
        yield text
