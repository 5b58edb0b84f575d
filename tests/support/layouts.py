"""Small synthetic data sets in the layouts of the published ones: every document names an organ or two, its labels."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

ORGANS = {"coeur": "ANAT", "cerveau": "ANAT", "fièvre": "DISO", "aspirine": "CHEM"}
OTHERS = ("patient", "avec", "une", "douleur", "du", "sous", "traitement", "par", "suivi", "sans")
CODES = {"coeur": "C01", "cerveau": "C02", "fièvre": "C03", "aspirine": "C04"}
CHAPTERS = {
    "coeur": "I00-I99  Maladies de l'appareil circulatoire",
    "cerveau": "G00-G99  Maladies du système nerveux",
    "fièvre": "R00-R99  Symptômes",
    "aspirine": "T36-T50  Intoxications",
}
PER_SPLIT = {"train": 16, "validation": 8, "test": 8}

Named = list[tuple[str, int]]
"""Organs and where they begin."""


def texts(number: int, seed: int) -> Iterator[tuple[str, Named]]:
    """Different texts of a few words, with the organs in them."""
    draw, seen = random.Random(seed), set[str]()
    while len(seen) < number:
        words = draw.sample(sorted(ORGANS), draw.choice((1, 2))) + draw.choices(OTHERS, k=draw.randrange(4, 9))
        draw.shuffle(words)
        text = " ".join(words)
        if text not in seen:
            seen.add(text)
            places = [sum(len(word) + 1 for word in words[:index]) for index in range(len(words))]
            yield text, [(word, place) for word, place in zip(words, places, strict=True) if word in ORGANS]


def brat(folder: Path, name: str, text: str, named: Named, terminology: str = "AnnotatorNotes") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
    lines = []
    for number, (word, start) in enumerate(named, 1):
        lines.append(f"T{number}\t{ORGANS[word]} {start} {start + len(word)}\t{word}\n")
        lines.append(f"#{number}\t{terminology} T{number}\t{CODES[word]}\n")
    (folder / f"{name}.ann").write_text("".join(lines), encoding="utf-8")


def write_diamed(root: Path) -> None:
    folder = root / "diamed" / "splits"
    folder.mkdir(parents=True)
    for seed, (split, number) in enumerate(PER_SPLIT.items()):
        cases: list[dict[str, object]] = [
            {"identifier": f"{split}-{n}", "clinical_case": text, "icd-10": CHAPTERS[named[0][0]]}
            for n, (text, named) in enumerate(texts(number, seed))
        ]
        cases += [{"identifier": "x", "clinical_case": "autre", "icd-10": float("nan")}]
        cases += [{"identifier": "y", "clinical_case": "autre", "icd-10": "Plusieurs cas cliniques"}]
        (folder / f"{split}.json").write_text(json.dumps(cases))


def write_meddialog(root: Path) -> None:
    folder = root / "MedDialog-FR-women"
    labels, turns = ["id\tlabels\tsplit"], ["id\tmachine_translation\tpost-edited"]
    for seed, (split, number) in enumerate(PER_SPLIT.items()):
        for n, (text, named) in enumerate(texts(number, 10 + seed)):
            name = f"hm_{split}_{n}"
            written = [CODES[word] for word, _ in named]
            labels.append(f"{name}_q\t{written!r}\t{'dev' if split == 'validation' else split}")
            turns += [f"{name}_q\t-\t{text} ?", f"{name}_a\t-\trépose ."]
    for part, rows in (("multilabel_annotation", labels), ("post-editing", turns)):
        (folder / part).mkdir(parents=True)
        (folder / part / "data.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_fracco(root: Path) -> None:
    folder = root / "FRACCO"
    (folder / "ann_txt_files").mkdir(parents=True)
    rows = ["doc_name,id,label,code,content,full_span"]
    for n, (text, named) in enumerate(texts(40, 20)):
        (folder / "ann_txt_files" / f"cas{n}.txt").write_text(text, encoding="utf-8")
        for word, start in named:
            rows.append(f"cas{n}.ann,T1,expression_CIM,{CODES[word]};8000/3,{word},{start} {start + len(word)}")
        rows.append(f"cas{n}.ann,T9,morphologie,9999/9,x,0 1")
    (folder / "DetectOnco_Final.csv").write_text("\n".join(rows) + "\n", encoding="utf-8-sig")


def write_frasimed(root: Path, part: str, terminology: str) -> None:
    for n, (text, named) in enumerate(texts(40, 30 + len(part))):
        brat(root / "FRASIMED" / part, f"es-{n}", text, named, terminology)


def write_quaero(root: Path) -> None:
    for corpus in ("EMEA", "MEDLINE"):
        for seed, split in enumerate(("train", "dev", "test")):
            folder = root / "QUAERO" / "corpus" / split / corpus
            for n, (text, named) in enumerate(texts(12, 40 + seed)):
                brat(folder, f"{corpus}{n}", text, named)
            (folder / "annotation.conf").write_text("[entities]\nANAT\n")
            (folder / ".stats_cache").write_bytes(b"\x80\x04")
            (folder / f"{corpus}0.ann~").write_text("T1\tOLD 0 1\tx\n")


def write_chemprot(root: Path) -> None:
    (root / "chemprot").mkdir(parents=True)
    for seed, (split, name) in enumerate((("train", "train"), ("validation", "dev"), ("test", "test"))):
        rows = ["index\tsentence\tlabel"]
        for n, (text, named) in enumerate(texts(PER_SPLIT[split], 50 + seed)):
            rows.append(f'{n}\t"{text}\tCPR:{len(named)}')
        (root / "chemprot" / f"{name}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_hoc(root: Path) -> None:
    (root / "hoc").mkdir(parents=True)
    for seed, (split, number) in enumerate(PER_SPLIT.items()):
        rows = [
            json.dumps({"text": t, "labels": [CODES[w] for w, _ in named]}) for t, named in texts(number, 60 + seed)
        ]
        (root / "hoc" / f"{split}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_bc5cdr(root: Path) -> None:
    folder = root / "BC5CDR-IOB"
    folder.mkdir(parents=True)
    for seed, name in enumerate(("train", "devel", "test")):
        sentences = []
        for text, named in texts(16, 70 + seed):
            tags = {word: f"B-{ORGANS[word]}" for word, _ in named}
            sentences.append("\n".join(f"{word}\t{tags.get(word, 'O')}" for word in text.split()))
        (folder / f"{name}.tsv").write_text("\n\n".join(sentences) + "\n", encoding="utf-8")


ENGLISH = ("chemprot", "hoc", "bc5cdr")
"""Tasks of the English benchmark that have files here."""


def write_all(root: Path) -> None:
    """The eight French sets and three English ones, in the places under $DETOUR_TASKS that shipped benchmarks use."""
    write_diamed(root)
    write_meddialog(root)
    write_fracco(root)
    write_frasimed(root, "CANTEMIST-FRASIMED", "ICD-O-3.1")
    write_frasimed(root, "DISTEMIST-FRASIMED", "SNOMED")
    write_quaero(root)
    write_chemprot(root)
    write_hoc(root)
    write_bc5cdr(root)
