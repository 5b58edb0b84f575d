"""Entities as targets of windows: those that a perfect model can find, and the count of all others."""

from __future__ import annotations

import shutil
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from detour.config.models import Task
from detour.evaluation.ner_encoding import EncodedEntities, encode_ner, scored
from detour.tasks.document import Document, Entity
from detour.tasks.loading import TaskDocuments
from tests.support.corpora import SPECIAL_TOKENS, small_tokenizer

WORDS = ("coeur", "l'aspirine", "5mg", "fièvre.", "cerveau\n", "…", "maladie chronique")
LABELS = ("ANAT", "DISO")


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Draw documents with entities anywhere: nested, crossing, repeated, discontinuous, in words and across windows."""
    text = " ".join(draw(st.lists(st.sampled_from(WORDS), max_size=40)))
    places = st.integers(0, len(text))
    ends = st.lists(places, min_size=2, max_size=4, unique=True).map(sorted) if len(text) > 4 else st.nothing()
    entities = draw(st.lists(st.tuples(st.sampled_from(LABELS), ends), max_size=8)) if len(text) > 4 else []
    fragments = [
        (label, tuple(zip(found[0 : len(found) // 2 * 2 : 2], found[1::2], strict=True))) for label, found in entities
    ]
    return Document(text, entities=tuple(Entity(label, found) for label, found in fragments))


@given(st.lists(documents(), min_size=1, max_size=3), st.sampled_from(["nested", "flat"]), st.integers(8, 24))
@settings(max_examples=15, deadline=None)
def test_every_entity_is_either_a_target_or_counted(
    model_folder: Path, found: list[Document], entities: str, max_length: int
) -> None:
    task = Task.model_validate(
        {"name": "t", "type": "ner", "entities": entities, "max_length": max_length, "steps": 1, "data": {"path": "x"}}
    )
    encoded = encode_ner(TaskDocuments(tuple(found), (), (), {}, {}), task, model_folder).train
    assert all(len(window.token_ids) <= max_length for window in encoded.windows)
    lost = 0
    for number, document in enumerate(found):
        spans = {(entity.label, entity.start, entity.end) for entity in scored(document, is_flat=entities == "flat")}
        lost += len(spans - found_by(encoded, number, sorted({e.label for one in found for e in one.entities})))
    assert lost <= encoded.reach.cut + encoded.reach.unaligned
    kept = sum(len(scored(document, is_flat=entities == "flat")) for document in found)
    distinct = sum(len({(e.label, e.fragments) for e in document.entities}) for document in found)
    assert (encoded.reach.entities, encoded.reach.overlapping) == (kept, distinct - kept)


def test_an_entity_of_white_space_only_is_counted_and_no_word_is_its_target(model_folder: Path) -> None:
    task = Task.model_validate({"name": "t", "type": "ner", "max_length": 24, "steps": 1, "data": {"path": "x"}})
    entities = [Entity("DISO", ((place, place + 1),)) for place in (0, 6, 12)]
    found = TaskDocuments((Document(" coeur sain \n", entities=tuple(entities)),), (), (), {}, {})
    train = encode_ner(found, task, model_folder).train
    assert (train.targets, train.reach.unaligned) == ([[]], 3)


def test_windows_are_enclosed_as_documents_are_if_the_tokenizer_only_has_the_ends_of_a_sequence(
    model_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "model")
    tokens = {f"{role}_token": SPECIAL_TOKENS[role] for role in ("pad", "mask", "unk")}
    ends = {"bos_token": SPECIAL_TOKENS["cls"], "eos_token": SPECIAL_TOKENS["sep"]}
    PreTrainedTokenizerFast(tokenizer_object=small_tokenizer(), **tokens, **ends).save_pretrained(folder)
    task = Task.model_validate({"name": "t", "type": "ner", "max_length": 24, "steps": 1, "data": {"path": "x"}})
    found = TaskDocuments((Document("coeur"),), (), (), {}, {})
    with_both = encode_ner(found, task, model_folder).train.windows
    assert encode_ner(found, task, folder).train.windows == with_both
    assert None not in with_both[0].token_ids


def found_by(encoded: EncodedEntities, document: int, labels: list[str]) -> set[tuple[str, int, int]]:
    """Return the entities that a model which finds every target would predict in a document."""
    return {
        (labels[label], window.places[first][0], window.places[last][1])
        for window, targets in zip(encoded.windows, encoded.targets, strict=True)
        if window.document == document
        for first, last, label in targets
    }
