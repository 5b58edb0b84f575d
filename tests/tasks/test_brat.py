"""BRAT standoff, correct and as found in the wild."""

from __future__ import annotations

import unicodedata
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.config.models import Task
from detour.errors import UserError
from detour.tasks.document import Document, Entity
from detour.tasks.entities import count_entities, nested_pairs, outermost, without_overlaps
from detour.tasks.readers import brat, brat_codes


def task(type: str = "ner", **data: Any) -> Task:
    of_data = {"path": "x", "reader": "brat", **data}
    return Task.model_validate({"name": "t", "type": type, "data": of_data, "max_length": 64, "steps": 1})


def write(folder: Path, text: bytes | str, annotations: bytes | str, name: str = "d") -> list[Path]:
    paths = [folder / f"{name}.ann", folder / f"{name}.txt"]
    for path, content in zip(paths, (annotations, text), strict=True):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return paths


def read(folder: Path, text: bytes | str, annotations: bytes | str, **data: Any) -> Document:
    (document,) = brat.read(write(folder, text, annotations), task(**data), Counter())
    return document


def test_nested_discontinuous_and_coded_entities_are_read_and_other_annotations_skipped(tmp_path: Path) -> None:
    annotations = (
        "T1\tDISO 0 20\tcancer du sein droit\n"
        + "T2\tANAT 10 14\tsein\n"
        + "T3\tDISO 0 6;15 20\tcancer droit\n"
        + "#1\tAnnotatorNotes T1\tC001+C002, C003\n"
        + "A1\tNegated by context T1 yes\nR1\tIn Arg1:T1 Arg2:T2\n*\tEquiv T1 T2\nE1\tDISO:T1\nN1\tRef T1 X:1\tx\n"
    )
    document = read(tmp_path, "cancer du sein droit\n", annotations)
    assert document.entities == (
        Entity("DISO", ((0, 20),), ("C001", "C002", "C003")),
        Entity("ANAT", ((10, 14),)),
        Entity("DISO", ((0, 6), (15, 20))),
    )
    counts = count_entities([document])
    assert (counts.entities, counts.discontinuous, counts.nested_pairs, counts.outermost) == (3, 1, 2, 1)


def test_an_entity_broken_across_lines_is_one_entity(tmp_path: Path) -> None:
    document = read(tmp_path, "le cancer\ndu sein", "T1\tDISO 3 9;10 17\tcancer du sein\n")
    assert document.entities[0].fragments == ((3, 17),)


def test_fragments_can_be_in_the_order_of_the_mention(tmp_path: Path) -> None:
    document = read(tmp_path, "troubles liés au stress", "T1\tDISO 9 23;0 8\tliés au stress troubles\n")
    assert document.entities[0].fragments == ((0, 8), (9, 23))


MENTION = "T1\tDISO {} {}\tfièvre\n"
COUNTED = {
    "with a byte-order mark": ("\ufeffla fièvre", 4),
    "without the byte-order mark of the file": ("\ufeffla fièvre", 3),
    "with both characters of a line end": ("a\r\nla fièvre", 6),
    "with one character a line end": ("a\r\nla fièvre", 5),
    "decomposed": (unicodedata.normalize("NFD", "été: la fièvre"), 10),
    "after composition": (unicodedata.normalize("NFD", "été: la fièvre"), 8),
}


@pytest.mark.parametrize("case", COUNTED)
def test_offsets_in_any_known_unit_are_recognized(case: str, tmp_path: Path) -> None:
    text, start = COUNTED[case]
    length = 7 if case == "decomposed" else 6
    document = read(tmp_path, text, MENTION.format(start, start + length).encode())
    (entity,) = document.entities
    found = document.text[entity.start : entity.end]
    assert unicodedata.normalize("NFC", found) == "fièvre"


def test_empty_documents_and_repeated_entities_are_kept(tmp_path: Path) -> None:
    write(tmp_path, "", "", "empty")
    write(tmp_path, "fièvre", "T1\tDISO 0 6\tfièvre\nT2\tDISO 0 6\tfièvre\n", "twice")
    documents = list(brat.read(sorted(tmp_path.iterdir()), task(), Counter()))
    assert [len(document.entities) for document in documents] == [0, 2]
    assert count_entities(documents).repeated == 1


BAD = {
    "T1\tDISO 3 9\n": "d.ann: line 1: says '', and d.txt has",
    "T1\tDISO 0 99\tfièvre\n": "d.ann: line 1: the span ends at 99 and d.txt has 9 characters",
    "T1\tDISO 5 3\tx\n": "d.ann: line 1: '5 3' holds a span without characters",
    "T1\tDISO -3 3\tx\n": "d.ann: line 1: '-3 3' holds a span without characters: expected 0 <= START < END",
    "T1 DISO 3 9 fièvre\n": "d.ann: line 1: 'T1 DISO 3 9 fièvre' is not an entity: expected LABEL START END",
    "T1\tDISO three\tx\n": "d.ann: line 1: 'DISO three' is not an entity: expected LABEL START END",
    "T1\tDISO 0 4;2 6\tx\n": "d.ann: line 1: the fragments '0 4;2 6' of one entity overlap",
    "T1\tDISO 3 9\tfièvre\nT1\tDISO 3 9\tfièvre\n": "d.ann: line 2: T1 appears twice",
    "\n<xml>\n": "d.ann: line 2: not BRAT: begins with '<xml>'",
    "\tT1\tDISO 3 9\tfièvre\n": "d.ann: line 1: not BRAT: begins with ''",
    "T1\tDISO 3 9\tgrippe\n": "d.ann: line 1: says 'grippe', and d.txt has 'fièvre' there",
}


@pytest.mark.parametrize("annotations", BAD)
def test_a_bad_line_is_one_message_with_file_and_line(annotations: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read(tmp_path, "la fièvre", annotations)
    assert BAD[annotations] in str(refused.value)


def test_a_file_that_is_not_utf8_is_refused_at_its_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"d.txt: line 2: not UTF-8 at byte 5: .*; convert it to UTF-8"):
        read(tmp_path, b"la\nfi\xe8vre", "")


@pytest.mark.parametrize(("gone", "message"), [("d.txt", "d.ann: has no text"), ("d.ann", "d.txt: has no annotations")])
def test_a_text_file_without_annotations_or_vice_versa_is_refused(gone: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, "x", "")
    (tmp_path / gone).unlink()
    with pytest.raises(UserError, match=message):
        list(brat.read(sorted(tmp_path.iterdir()), task(), Counter()))


def test_a_terminology_selects_notes_of_any_type(tmp_path: Path) -> None:
    annotations = "T1\tm 0 6\tfièvre\n#1\tICD-O-3.1 T1\t8500/3\n#2\tSNOMED T1\t58477004\n#3\tAnnotatorNotes T1\tnote\n"
    paths = write(tmp_path, "fièvre", annotations)
    for terminology, labels in (("ICD-O-3.1", {"8500/3"}), ("SNOMED", {"58477004"})):
        asked = task("multilabel", reader="brat-codes", terminology=terminology)
        (document,) = brat_codes.read(paths, asked, Counter())
        assert document.labels == labels


def test_a_note_on_an_entity_that_is_not_there_is_counted(tmp_path: Path) -> None:
    annotations = "T1\tm 0 6\tfièvre\n#1\tSNOMED T1\t58477004\n#2\tSNOMED T9\t1\n#3\tAnnotatorNotes R1\tof a relation\n"
    dropped: Counter[str] = Counter()
    (document,) = brat_codes.read(
        write(tmp_path, "fièvre", annotations), task("multilabel", reader="brat-codes"), dropped
    )
    assert document.labels == {"58477004"}
    assert dropped == {"a note on an entity that is not in its file": 1}


def test_entities_can_be_reduced_to_the_outermost_or_the_longest_without_overlap() -> None:
    inner, outer = Entity("A", ((2, 4),)), Entity("B", ((0, 6),))
    crossing, apart = Entity("C", ((5, 9),)), Entity("D", ((10, 12),))
    entities = [inner, outer, crossing, apart]
    assert outermost(entities) == [outer, crossing, apart]
    assert without_overlaps(entities) == [outer, apart]


SPANS = st.lists(
    st.builds(lambda start, length: Entity("A", ((start, start + length),)), st.integers(0, 12), st.integers(1, 8)),
    max_size=9,
)


@given(SPANS)
def test_the_number_of_nested_entities_equals_a_count_over_every_pair(entities: list[Entity]) -> None:
    pairs = [(one, other) for one in entities for other in entities if one.covers(other)]
    assert nested_pairs(entities) == sum((a.start, a.end) != (b.start, b.end) for a, b in pairs)
    outer = {(e.start, e.end) for e in entities} - {(b.start, b.end) for a, b in pairs if a.fragments != b.fragments}
    assert {(entity.start, entity.end) for entity in outermost(entities)} == outer
    assert len(outermost(entities)) == len(outer)


@given(SPANS)
def test_kept_entities_never_overlap_and_a_dropped_one_overlaps_one_at_least_as_long(
    entities: list[Entity],
) -> None:
    kept = without_overlaps(entities)
    assert kept == sorted(kept, key=lambda one: one.start)
    assert not any(one.overlaps(other) for one, other in combinations(kept, 2))
    for entity in entities:
        length = entity.end - entity.start
        assert any(entity.overlaps(one) and one.end - one.start >= length for one in kept)
