from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from detour.config.data import SMALLEST_VOCABULARY
from detour.corpus.layout import SpecialTokens
from detour.corpus.tokenizer import (
    TokenizerError,
    document_tokenizer,
    load_tokenizer,
    special_tokens,
    train_tokenizer,
    vocabulary_size,
)
from detour.errors import Interrupted
from tests.support.corpora import icd10_labels

ROOT = Path(__file__).parents[2]
SNIPPET = "Le patient présente une <mask> aiguë du myocarde."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(icd10_labels()[:3000], 1000, 512).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder)


def test_the_example_of_the_model_card_finds_its_mask(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = tokenizer(SNIPPET, return_tensors="pt")["input_ids"][0].tolist()
    assert ids.count(tokenizer.mask_token_id) == 1
    assert ids[0] == tokenizer.cls_token_id
    assert ids[-1] == tokenizer.sep_token_id
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert tokens[tokens.index("<mask>") + 1].startswith("Ġ")
    assert tokens[tokens.index("<mask>") - 1] != "Ġ"


def test_the_tokenizer_has_no_token_types_and_knows_its_length(tokenizer: PreTrainedTokenizerBase) -> None:
    assert set(tokenizer("texte")) == {"input_ids", "attention_mask"}
    assert tokenizer.model_max_length == 512
    assert len(tokenizer) == 1000


@pytest.mark.parametrize("text", ["Œdème aigu du poumon", "γ-GT ≥ 3N 🏥\t\n  fin ", "中文 \x07"])
def test_any_text_survives_the_round_trip(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == text


def test_pairs_and_padding_work(tokenizer: PreTrainedTokenizerBase) -> None:
    batch = tokenizer(["a", "une phrase plus longue"], ["b", "c"], padding=True, return_tensors="pt")
    assert batch["input_ids"][0].tolist().count(tokenizer.sep_token_id) == 2
    assert batch["attention_mask"][0, -1] == 0


def test_special_tokens_are_the_first_ids(tokenizer: PreTrainedTokenizerBase) -> None:
    assert special_tokens(tokenizer) == SpecialTokens(pad=0, unk=1, cls=2, sep=3, mask=4)


def test_training_is_the_same_in_another_process_and_needs_no_torch(folder: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from detour.corpus.tokenizer import load_tokenizer, train_tokenizer;"
        "from tests.support.corpora import icd10_labels;"
        "train_tokenizer(icd10_labels()[:3000], 1000, 512).save_pretrained(sys.argv[1]);"
        "load_tokenizer(sys.argv[1]);"
        "assert 'torch' not in sys.modules"
    )
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, env=environment)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_the_smallest_vocabulary_holds_all_bytes_and_special_tokens() -> None:
    assert len(train_tokenizer(["texte"], SMALLEST_VOCABULARY, 512)) == SMALLEST_VOCABULARY


def test_a_stop_while_reading_ends_the_training() -> None:
    def texts() -> Any:
        yield "texte"
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        train_tokenizer(texts(), 1000, 512)


def test_documents_are_enclosed_whole_and_contain_no_special_token(folder: Path) -> None:
    encode = document_tokenizer(folder, SpecialTokens(pad=0, unk=1, cls=2, sep=3, mask=4)).encode
    ids = encode("un [SEP] deux <mask> trois [PAD] " * 300).ids
    assert (ids[0], ids[-1]) == (2, 3)
    assert not {0, 1, 2, 3, 4} & set(ids[1:-1])
    assert len(ids) > 512


def test_a_folder_is_loaded(folder: Path) -> None:
    loaded = load_tokenizer(str(folder))
    assert loaded(SNIPPET)["input_ids"] == AutoTokenizer.from_pretrained(folder)(SNIPPET)["input_ids"]


def word_pieces(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None, **config: Any) -> Path:
    """A folder of a WordPiece tokenizer, `change` applied to its tokenizer.json, with a config that may contradict."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=names, show_progress=False)
    backend.train_from_iterator(icd10_labels()[:500], trainer)
    written = json.loads(backend.to_str())
    change(written)
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(written))
    roles = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), names, strict=True))
    (folder / "tokenizer_config.json").write_text(json.dumps(roles | config))
    return folder


TEXT = "Le patient, âgé de 45 ans, présente une dyspnée d'effort."
CLASSES = ["RobertaTokenizerFast", "BertTokenizerFast", "LlamaTokenizerFast", "CamembertTokenizer", "ElectraTokenizer"]


@pytest.mark.parametrize("named", CLASSES)
def test_ids_are_those_of_the_tokenizer_file_whatever_class_the_folder_names(tmp_path: Path, named: str) -> None:
    folder = word_pieces(tmp_path / "tokenizer", tokenizer_class=named)
    (folder / "config.json").write_text(json.dumps({"model_type": "roberta", "vocab_size": 400}))
    own = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT, add_special_tokens=False).ids
    load_tokenizer(str(folder)).save_pretrained(tmp_path / "saved")
    assert load_tokenizer(str(folder))(TEXT, add_special_tokens=False)["input_ids"] == own
    assert document_tokenizer(tmp_path / "saved", SpecialTokens(pad=0, cls=2, sep=3, mask=4)).encode(TEXT).ids == [
        2,
        *own,
        3,
    ]


def test_a_tokenizer_without_template_gets_that_of_the_corpus(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(word_pieces(tmp_path / "tokenizer")))
    tokenizer.save_pretrained(tmp_path / "saved")
    for loaded in (tokenizer, AutoTokenizer.from_pretrained(tmp_path / "saved")):
        ids = loaded(TEXT)["input_ids"]
        assert (ids[0], ids[-1]) == (2, 3)


def test_an_equivalent_template_is_left_as_it_is(folder: Path) -> None:
    before = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert load_tokenizer(str(folder)).backend_tokenizer.to_str() == before.to_str()


def test_the_vocabulary_size_covers_the_largest_id(tmp_path: Path) -> None:
    def leave_a_hole(written: dict[str, Any]) -> None:
        written["model"]["vocab"]["##zzz"] = 450

    tokenizer = load_tokenizer(str(word_pieces(tmp_path / "tokenizer", leave_a_hole)))
    assert (len(tokenizer), vocabulary_size(tokenizer)) == (401, 451)


def test_a_token_with_the_id_of_another_is_refused(tmp_path: Path) -> None:
    def lose_the_mask(written: dict[str, Any]) -> None:
        del written["model"]["vocab"]["[MASK]"]
        written["added_tokens"] = [token for token in written["added_tokens"] if token["content"] != "[MASK]"]

    with pytest.raises(TokenizerError, match=r"has the id 399 for both .*'\[MASK\]'"):
        load_tokenizer(str(word_pieces(tmp_path / "tokenizer", lose_the_mask)))


def test_a_word_added_outside_the_file_is_refused(tmp_path: Path) -> None:
    word = {"content": "patient", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    folder = word_pieces(tmp_path / "tokenizer", added_tokens_decoder={"400": {**word, "special": False}})
    with pytest.raises(TokenizerError, match="gives the token 'patient' other properties"):
        load_tokenizer(str(folder))


def test_a_pointer_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    folder = word_pieces(tmp_path / "tokenizer")
    (folder / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: a Git LFS pointer"):
        load_tokenizer(str(folder))


def test_a_tokenizer_with_bos_and_eos_is_accepted(folder: Path, tmp_path: Path) -> None:
    names = {"bos_token": "[CLS]", "eos_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "<mask>"}
    PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **names).save_pretrained(tmp_path)
    assert special_tokens(load_tokenizer(str(tmp_path))) == SpecialTokens(pad=0, cls=2, sep=3, mask=4)


def test_missing_special_tokens_are_named(folder: Path, tmp_path: Path) -> None:
    names = {"cls_token": "[CLS]", "eos_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **names).save_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match="has no pad, mask token"):
        load_tokenizer(str(tmp_path))


def test_a_missing_folder_is_reported_once(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="no such folder"):
        load_tokenizer(str(tmp_path / "absent"))
    with pytest.raises(TokenizerError, match="cannot be loaded"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerError, match="cannot be loaded"):
        load_tokenizer(str(tmp_path))


def test_an_unreachable_hub_is_one_clear_error(tmp_path: Path) -> None:
    script = (
        "from detour.corpus.tokenizer import load_tokenizer\nfrom detour.errors import UserError\n"
        "try: load_tokenizer('nobody/no-such-tokenizer', 'v1')\nexcept UserError as error: print(error)"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("tokenizer nobody/no-such-tokenizer (revision v1): cannot be loaded: ")
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
