# ruff: noqa: E501 - one case a line reads best
"""Recipes with one mistake each, with the line and the words that the message must have.

A case is the good recipe below with one piece of its text replaced, or a whole text of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

GOOD = """\
name: tiny
model:
  config: {hidden_size: 32, num_hidden_layers: 4}
tokenizer:
  train: {vocabulary: 4096}
data:
  sources:
    - name: labels
      path: labels.csv
      weight: 1
  sequence_length: 512
  validation_tokens: 10k
batch:
  sequences: 8
optimizer:
  lr: 1e-3
phases:
  - name: clm
    objective: causal
    tokens: 300k
    schedule: {kind: warmup_constant, warmup: 30k}
  - name: mlm
    objective: masked
    masking_rate: 0.15
    tokens: 60k
    schedule: {kind: one_minus_sqrt}
training:
  checkpoint_every: 10
benchmark: bench
"""
BENCHMARK = """\
name: bench
seeds: [1, 2]
tasks:
  - name: task
    type: single_label
    data: {path: labels.csv}
    split: {train: 80, validation: 10, test: 10}
    max_length: 64
    epochs: 1
"""


@dataclass(frozen=True)
class Bad:
    id: str
    line: int
    """0 if the message is about the whole file."""
    message: str
    old: str = ""
    new: str = ""
    text: str | bytes = ""
    """The whole file, instead of a replacement."""

    @property
    def content(self) -> bytes:
        if self.text:
            return self.text if isinstance(self.text, bytes) else self.text.encode()
        assert GOOD.count(self.old) == 1, f"{self.id}: the text to replace occurs {GOOD.count(self.old)} times"
        return GOOD.replace(self.old, self.new).encode()


def billion_laughs() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join(lines) + "\n"


WRONG_TYPE = [
    Bad("tokens-as-words", 20, '\'ten\' is not a quantity: write 3145728', "300k", "ten"),
    Bad("tokens-as-a-page", 20, "is not a quantity: write 3145728", "300k", "x" * 5000),
    Bad("objective-as-a-page", 19, "is none of causal, masked", "objective: causal", 'objective: "' + r"\e[31m" + "x" * 5000 + '"'),
    Bad("tokens-as-list", 20, "phases.clm.tokens: expected a whole number, found a list", "300k", "[1]"),
    Bad("tokens-true", 20, "not true or false", "300k", "true"),
    Bad("tokens-with-unit", 20, "is not a quantity", "300k", "300k tokens"),
    Bad("lr-as-text", 16, 'optimizer.lr: expected a number, found "fast"', "1e-3", "fast"),
    Bad("hidden-size-as-text", 3, "model.config.hidden_size: expected a whole number above 0, found 'small'", "hidden_size: 32", "hidden_size: small"),
    Bad("config-switch-as-number", 3, "model.config.mlp_bias: expected true or false, found 1", "hidden_size: 32", "mlp_bias: 1"),
    Bad("name-as-number", 1, "name: expected text, found 7: put it in quotes", "name: tiny", "name: 7"),
    Bad("text-as-list", 1, "description: expected text, found a list", "name: tiny", "description: [a]\nname: tiny"),
    Bad("schedule-as-text", 26, 'phases.mlm.schedule: expected a mapping, found "one_minus_sqrt": write `kind`', "{kind: one_minus_sqrt}", "one_minus_sqrt"),
    Bad("name-with-space", 1, '"my run" is not a name', "name: tiny", "name: my run"),
    Bad("name-with-path", 1, "is not a name", "name: tiny", "name: ../tiny"),
    Bad("phases-no-list", 17, "phases: expected a list, found a mapping: write each item as `- name: ...`", GOOD[GOOD.index("phases:") : GOOD.index("training:")], "phases: {tokens: 3}\n"),
    Bad("model-as-text", 2, 'model: expected a mapping, found "base"', "model:\n  config: {hidden_size: 32, num_hidden_layers: 4}", "model: base"),
    Bad("batch-as-number", 13, "batch: expected a mapping, found 8: write `sequences`", "batch:\n  sequences: 8", "batch: 8"),
    Bad("compile-as-text", 28, 'training.compile: expected true or false, found "maybe"', "  checkpoint_every: 10", "  compile: maybe"),
    Bad("lr-true", 16, "optimizer.lr: expected a number, found true", "1e-3", "true"),
    Bad("beta-false", 17, "optimizer.betas.1: expected a number, found false", "  lr: 1e-3", "  lr: 1e-3\n  betas: [0.9, false]"),
    Bad("seed-true", 30, "seeds.training: expected a number, found true", "benchmark: bench", "benchmark: bench\nseeds: {training: true}"),
    Bad("layer-true", 27, "phases.mlm.freeze.0.first: expected a number, found true", "one_minus_sqrt}", "one_minus_sqrt}\n    freeze: [{first: true, last: 1}]"),
    Bad("betas-too-many-and-wrong", 17, "optimizer.betas: needs 2 items, not 3", "  lr: 1e-3", "  lr: 1e-3\n  betas: [0.9, 1.5, 0.99]"),
    Bad("betas-too-many", 17, "optimizer.betas: needs 2 items, not 3", "  lr: 1e-3", "  lr: 1e-3\n  betas: [0.9, 0.98, 0.99]"),
    Bad("activation-misspelt", 3, "model.config.hidden_activation: 'gleu' is none of gelu, ", "hidden_size: 32,", "hidden_size: 32, hidden_activation: gleu,"),
    Bad("pooling-unknown", 3, "model.config.classifier_pooling: 'max' is none of cls, mean", "hidden_size: 32,", "hidden_size: 32, classifier_pooling: max,"),
    Bad("layer-types-too-few", 3, "model.config.layer_types: 1 types for 4 layers", "hidden_size: 32,", "hidden_size: 32, layer_types: [full_attention],"),
    Bad("layer-type-unknown", 3, "model.config.layer_types: expected a list of full_attention and sliding_attention", "hidden_size: 32,", "hidden_size: 32, layer_types: [full, full, full, full],"),
    Bad("attention-dropout", 3, "model.config.attention_dropout: packed kernels have none", "hidden_size: 32,", "hidden_size: 32, attention_dropout: 0.1,"),
    Bad("vocabulary-too-small", 3, "model.config.vocab_size: 300 are fewer than the tokenizer's 4,096", "hidden_size: 32,", "hidden_size: 32, vocab_size: 300,"),
    Bad("betas-too-few", 17, "optimizer.betas", "  lr: 1e-3", "  lr: 1e-3\n  betas: [0.9]"),
    Bad("seeds-as-list", 30, "seeds: expected a mapping, found a list", "benchmark: bench", "benchmark: bench\nseeds: [1]"),
]  # fmt: skip
UNKNOWN_KEY = [
    Bad("unknown-top", 27, "trainnig: unknown key; did you mean `training`?", "training:", "trainnig:"),
    Bad("unknown-in-source", 10, "data.sources.labels.wieght: unknown key; did you mean `weight`?", "weight: 1", "wieght: 1"),
    Bad("unknown-in-schedule", 26, "phases.mlm.schedule.flor: unknown key; did you mean `floor`?", "one_minus_sqrt}", "one_minus_sqrt, flor: 0.1}"),
    Bad("unknown-key-nothing-near", 14, "available: microbatch_sequences, sequences", "  sequences: 8", "  zzz: 1\n  sequences: 8"),
    Bad("unknown-merge-key", 14, "batch.<<: YAML 1.2 has no merge keys: write the keys out, or use `extends`", "  sequences: 8", "  <<: {sequences: 4}\n  sequences: 8"),
    Bad("unknown-in-config", 3, "model.config.hiden_size: unknown key; did you mean `hidden_size`?", "hidden_size: 32", "hiden_size: 32"),
    Bad("invisible-in-key", 14, r"batch.\u200bsequences: unknown key; did you mean `sequences`?", "  sequences: 8", "  \u200bsequences: 8\n  sequences: 8"),
    Bad("no-break-space", 15, r'optimizer: expected a mapping, found "lr:\xa01e-3"', "  lr: 1e-3", "  lr:\u00a01e-3"),
    Bad("capital-key", 1, "Name: unknown key; did you mean `name`?", "name: tiny", "Name: tiny\nname: tiny"),
]  # fmt: skip
IMPOSSIBLE = [
    Bad("heads-that-do-not-divide", 3, "5 heads cannot share hidden_size 32 equally", "hidden_size: 32", "num_attention_heads: 5, hidden_size: 32"),
    Bad("heads-of-odd-size", 3, "32 heads of hidden_size 32 have a size of 1 each: rotations need an even number", "hidden_size: 32", "num_attention_heads: 32, hidden_size: 32"),
    Bad("negative-dropout", 3, "model.config.mlp_dropout: expected a probability from 0 to 1, found -0.1", "hidden_size: 32", "mlp_dropout: -0.1"),
    Bad("dropout-in-percent", 3, "model.config.mlp_dropout: expected a probability from 0 to 1, found 10", "hidden_size: 32", "mlp_dropout: 10"),
    Bad("negative-epsilon", 3, "model.config.norm_eps: expected a number, 0 or above, found -1", "hidden_size: 32", "norm_eps: -1"),
    Bad("theta-zero", 3, "model.config.global_rope_theta: expected a number above 0, found 0", "hidden_size: 32", "global_rope_theta: 0"),
    Bad("epsilon-infinite", 3, "model.config.norm_eps: expected a number, 0 or above, found inf", "hidden_size: 32", "norm_eps: .inf, hidden_size: 32"),
    Bad("theta-too-large-for-a-number", 3, "model.config.local_rope_theta: expected a number above 0, found inf", "hidden_size: 32", "local_rope_theta: 1e400, hidden_size: 32"),
    Bad("rotations-of-no-mapping", 3, "model.config.rope_parameters: expected a mapping of finite values", "hidden_size: 32", "rope_parameters: 5, hidden_size: 32"),
    Bad("rotations-by-nan", 3, "model.config.rope_parameters: expected a mapping of finite values", "hidden_size: 32", "rope_parameters: {full_attention: {rope_theta: .nan}}, hidden_size: 32"),
    Bad("token-beyond-the-vocabulary", 3, "model.config.pad_token_id: 4096 is none of the vocabulary's 4,096 ids, 0 to 4,095", "hidden_size: 32", "pad_token_id: 4096, hidden_size: 32"),
    Bad("token-below-zero", 3, "model.config.cls_token_id: -1 is none of the vocabulary's 5,000 ids, 0 to 4,999", "hidden_size: 32", "cls_token_id: -1, vocab_size: 5000, hidden_size: 32"),
    Bad("tokens-zero", 20, "phases.clm.tokens: must be more than 0, not 0", "300k", "0"),
    Bad("tokens-negative", 20, "phases.clm.tokens: must be more than 0, not -5", "300k", "-5"),
    Bad("tokens-fraction", 20, "is not a whole number", "300k", "0.0001k"),
    Bad("tokens-float", 20, "expected a whole number, found 300.5", "300k", "300.5"),
    Bad("tokens-huge", 20, "too large: must be at most 1,000,000,000,000,000", "300k", "1e30"),
    Bad("tokens-endless-exponent", 20, "is not a quantity", "300k", "1e999999999B"),
    Bad("tokens-infinite", 20, "finite number", "300k", ".inf"),
    Bad("tokens-below-a-step", 25, "phases.mlm.tokens: 4,000 are less than one step of 4,096", "60k", "4000"),
    Bad("lr-zero", 16, "optimizer.lr: must be more than 0, not 0", "1e-3", "0"),
    Bad("lr-nan", 16, "optimizer.lr: expected a finite number, found nan", "1e-3", ".nan"),
    Bad("beta-too-large", 17, "optimizer.betas.1: must be less than 1, not 1.5", "  lr: 1e-3", "  lr: 1e-3\n  betas: [0.9, 1.5]"),
    Bad("masking-above-one", 24, "phases.mlm.masking_rate: must be less than 1, not 15", "0.15", "15"),
    Bad("masking-zero", 24, "must be more than 0, not 0", "0.15", "0"),
    Bad("masking-missing", 22, "phases.mlm: a masked phase needs a `masking_rate`", "    masking_rate: 0.15\n", ""),
    Bad("masking-in-causal", 20, "phases.clm.masking_rate: a causal phase predicts every next token", "    tokens: 300k", "    masking_rate: 0.3\n    tokens: 300k"),
    Bad("warmup-longer-than-phase", 21, "phases.clm.schedule.warmup: 400,000 tokens are more", "warmup: 30k", "warmup: 400k"),
    Bad("floor-above-one", 26, "phases.mlm.schedule.floor: must be at most 1, not 2", "one_minus_sqrt}", "one_minus_sqrt, floor: 2}"),
    Bad("freeze-reversed", 27, "phases.mlm.freeze.0.last: 1 is before `first`, 2", "one_minus_sqrt}", "one_minus_sqrt}\n    freeze: [{first: 2, last: 1}]"),
    Bad("freeze-beyond-the-model", 27, "the model has 4 layers, 0 to 3", "one_minus_sqrt}", "one_minus_sqrt}\n    freeze: [{first: 0, last: 7}]"),
    Bad("weights-sum-to-zero", 7, "data.sources: the weights of all sources sum to 0", "weight: 1", "weight: 0"),
    Bad("weight-negative", 10, "must be at least 0, not -1", "weight: 1", "weight: -1"),
    Bad("microbatch-above-batch", 15, "16 are more than the batch's 8", "  sequences: 8", "  sequences: 8\n  microbatch_sequences: 16"),
    Bad("vocabulary-below-the-bytes", 5, "tokenizer.train.vocabulary: 260 is too small: bytes and special tokens already are 261", "4096", "260"),
    Bad("separator-of-two-characters", 10, """data.sources.labels.separator: ';;' separates no fields: write one character, as "," or""", "weight: 1", 'separator: ";;"'),
    Bad("separator-that-quotes", 10, "separates no fields", "weight: 1", "separator: '\"'"),
    Bad("separator-that-ends-lines", 10, "separates no fields", "weight: 1", 'separator: "\\n"'),
    Bad("seed-too-large", 30, "seeds.training: is too large: must be less than 4,294,967,296", "benchmark: bench", "benchmark: bench\nseeds: {training: 4294967296}"),
    Bad("seed-negative", 30, "seeds.training: must be at least 0", "benchmark: bench", "benchmark: bench\nseeds: {training: -1}"),
]  # fmt: skip
CHOICES = [
    Bad("objective-misspelt", 19, '"casual" is none of causal, masked; did you mean `causal`?', "objective: causal", "objective: casual"),
    Bad("schedule-misspelt", 26, "did you mean `one_minus_sqrt`?", "one_minus_sqrt", "one_minus_sqr"),
    Bad("schedule-without-kind", 26, "phases.mlm.schedule.kind: is missing", "{kind: one_minus_sqrt}", "{floor: 0.1}"),
    Bad("carry-unknown", 24, "phases.mlm.carry", "    masking_rate: 0.15", "    carry: nothing\n    masking_rate: 0.15"),
    Bad("type-in-capitals", 19, '"CAUSAL" is none of causal, masked; did you mean `causal`?', "objective: causal", "objective: CAUSAL"),
    Bad("two-origins", 2, "model: give either `pretrained`", "  config:", "  pretrained: a/b\n  config:"),
    Bad("origin-empty", 3, "model.pretrained: is empty: write a value, or leave the key out", "  config: {hidden_size: 32, num_hidden_layers: 4}", '  pretrained: ""'),
    Bad("no-origin", 2, "model: give either `pretrained`", "  config: {hidden_size: 32, num_hidden_layers: 4}", "  revision: main"),
    Bad("no-tokenizer", 4, "random weights have no tokenizer", "train: {vocabulary: 4096}", "revision: main"),
    Bad("weights-of-one-label", 30, "benchmark.tasks.t.positive_weights: the task is of type single_label, which has no weights of labels: remove it", "benchmark: bench", "benchmark: {name: b, seeds: [1], tasks: [{name: t, type: single_label, max_length: 8,\n  epochs: 1, positive_weights: true}]}"),
    Bad("threshold-of-one-label", 30, "benchmark.tasks.t.threshold: the task takes the most probable label: remove it", "benchmark: bench", "benchmark: {name: b, seeds: [1], tasks: [{name: t, type: single_label, max_length: 8,\n  epochs: 1, threshold: 0.3}]}"),
    Bad("threshold-of-flat-entities", 30, "benchmark.tasks.t.threshold: the task takes the most probable label: remove it", "benchmark: bench", "benchmark: {name: b, seeds: [1], tasks: [{name: t, type: ner, entities: flat, max_length: 8,\n  epochs: 1, threshold: 0.3}]}"),
    Bad("probe-of-no-task", 24, "phases.mlm.gate.probe.task: `tusk` is not a task of the benchmark: it has task", "    masking_rate: 0.15", "    gate: {probe: {task: tusk, least: 0.5}}\n    masking_rate: 0.15"),
    Bad("probe-of-no-metric", 24, "phases.mlm.gate.probe.metric: task has no such score; did you mean `macro_f1`?", "    masking_rate: 0.15", "    gate: {probe: {task: task, least: 0.5, metric: macrof1}}\n    masking_rate: 0.15"),
    Bad("probe-of-another-types-metric", 24, "phases.mlm.gate.probe.metric: task has no such score; available: accuracy, macro_f1, micro_f1", "    masking_rate: 0.15", "    gate: {probe: {task: task, least: 0.5, metric: strict_f1}}\n    masking_rate: 0.15"),
    Bad("bad-pattern", 10, "is not a regular expression", "      weight: 1", '      exclude: {code: "[V-"}'),
]  # fmt: skip
MISSING = [
    Bad("no-name", 1, "name: is missing", "name: tiny\n", ""),
    Bad("no-optimizer", 1, "optimizer: is missing", "optimizer:\n  lr: 1e-3\n", ""),
    Bad("no-source-path", 8, "data.sources.labels.path: is missing", "      path: labels.csv\n", ""),
    Bad("no-tokens", 18, "phases.clm.tokens: is missing", "    tokens: 300k\n", ""),
    Bad("null-batch", 13, "batch: is missing", "batch:\n  sequences: 8", "batch: null"),
    Bad("no-phase", 17, "phases: needs at least one item", GOOD[GOOD.index("phases:") : GOOD.index("training:")], "phases: []\n"),
    Bad("no-such-benchmark-file", 29, "benchmark: no such file: configs/recipes/benhc.yaml", "benchmark: bench", "benchmark: benhc.yaml"),
    Bad("no-such-benchmark", 29, 'no benchmark "benhc" in configs/benchmarks; did you mean `bench`?', "benchmark: bench", "benchmark: benhc"),
]  # fmt: skip
REPEATED = [
    Bad("phase-name-twice", 22, "phases.clm: `clm` appears twice", "name: mlm", "name: clm"),
    Bad("source-name-twice", 11, "data.sources.labels: `labels` appears twice", "      weight: 1", "      weight: 1\n    - {name: labels, path: b.csv}"),
    Bad("key-twice", 21, "phases.0.tokens: written twice, first in line 20", "    tokens: 300k", "    tokens: 300k\n    tokens: 400k"),
]  # fmt: skip
NOT_YAML = [
    Bad("empty", 0, "is empty", text=b"\n"),
    Bad("only-comments", 0, "is empty", text="# nothing\n"),
    Bad("a-list", 1, "expected `key: value` lines, found a list", text="- a\n- b\n"),
    Bad("a-word", 1, 'found "recipe"', text="recipe\n"),
    Bad("tab", 14, "a tab is used where YAML wants spaces", "  sequences: 8", "\tsequences: 8"),
    Bad("decimal-comma", 10, "a key without `:` (a decimal comma? write a point, as in 0.5)", "      weight: 1", "    - {name: b, path: b.csv, weight: 0,5}"),
    Bad("key-without-colon", 26, "phases.1.schedule.floor: a key without `:`", "{kind: one_minus_sqrt}", "{kind: one_minus_sqrt, floor}"),
    Bad("no-space-after-colon", 26, "phases.1.schedule.floor:0.1: a space is missing after `:`", "{kind: one_minus_sqrt}", "{kind: one_minus_sqrt, floor:0.1}"),
    Bad("unclosed-brace", 26, "is not closed", "{kind: one_minus_sqrt}", "{kind: one_minus_sqrt"),
    Bad("unclosed-quote", 1, "is not closed", "name: tiny", "name: 'tiny"),
    Bad("two-colons", 1, "quote the text", "name: tiny", "name: tiny: model"),
    Bad("text-that-begins-with-a-bracket", 9, "a text that begins with a bracket must be quoted", "path: labels.csv", "path: [a]/labels.csv"),
    Bad("bad-indentation", 15, "check its indentation", "  sequences: 8", "  sequences: 8\n microbatch_sequences: 1"),
    Bad("two-documents", 2, "one file holds one", "name: tiny\n", "name: tiny\n---\n"),
    Bad("unknown-alias", 16, "undefined alias", "lr: 1e-3", "lr: *rate"),
    Bad("tag", 16, "has no meaning here", "lr: 1e-3", "lr: !!python/object/apply:os.getcwd []"),
    Bad("binary", 0, "is binary (a zero byte at byte 4)", text=b"name\0\x01\x02"),
    Bad("not-utf8", 1, "byte 0xe9 is not UTF-8", text="name: été\n".encode("latin-1")),
    Bad("control-character", 1, "control character", text="name: a\x07b\n"),
    Bad("alias-bomb", 5, "aliases expand to more than 20,000 values", text=billion_laughs()),
    Bad("self-reference", 1, "levels deep (or refers to itself)", text="name: &a [*a]\n"),
    Bad("deep-nesting", 0, "nested too deeply", text="a: " + "[" * 3000),
    Bad("too-large", 0, "larger than 1 MiB", text="# " + "x" * (1 << 20) + "\n"),
    Bad("list-as-key", 1, "a key must be text", text="? [a]\n: 1\n" + GOOD),
]  # fmt: skip
VARIABLES = [
    Bad("variable-not-set", 9, "DETOUR_NOWHERE is not set", "path: labels.csv", "path: ${DETOUR_NOWHERE}/labels.csv"),
    Bad("variable-malformed", 9, "is not a variable: write ${NAME}", "path: labels.csv", "path: ${DETOUR-NOWHERE}/labels.csv"),
    Bad("variable-between-brackets", 10, "between brackets, a text with `${` must be quoted", "      weight: 1", "    - {name: b, path: ${HOME}/b.csv}"),
    Bad("variable-unclosed", 9, "is not a variable: write ${NAME}", "path: labels.csv", "path: ${DETOUR_NOWHERE"),
    Bad("variable-of-wrong-type", 20, "'many' is not a quantity", "300k", "${DETOUR_NOWHERE:-many}"),
]  # fmt: skip
EXTENDS = [
    Bad("extends-missing", 1, "no such file", text="extends: nowhere.yaml\nname: a\n"),
    Bad("extends-nearly", 1, "no such file: configs/recipes/god.yaml; did you mean `good.yaml`?", text="extends: god.yaml\nname: a\n"),
    Bad("extends-nearly-a-shipped-one", 1, "no such file: configs/recipes/quickstrat.yaml; did you mean `quickstart`?", text="extends: quickstrat\nname: a\n"),
    Bad("extends-itself", 1, "goes round in a circle: ", text="extends: bad.yaml\n"),
    Bad("extends-a-list", 1, "expected the name of one YAML file, found a list", text="extends: [a]\n" + GOOD),
    Bad("extends-with-nul", 1, "holds a NUL character", text='extends: "a\\0b"\n' + GOOD),
    Bad("extends-nothing", 1, 'expected the name of one YAML file, found ""', text='extends: ""\n' + GOOD),
    Bad("extends-of-an-unknown-home", 1, "no such file", text="extends: ~nosuchuser\n" + GOOD),
    Bad("extends-a-folder", 0, "is a folder", text="extends: ../recipes\n"),
    Bad("extended-then-wrong", 3, "phases.clm.tokens", text="extends: good.yaml\nphases:\n  clm: {tokens: ten}\n"),
    Bad("extended-then-incomplete", 3, "phases.more.objective: \"x\"", text="extends: good.yaml\nphases:\n  more: {objective: x, tokens: 1M, schedule: {kind: one_minus_sqrt}}\n"),
    Bad("extended-then-nothing-removed", 2, "benchmrk: unknown key; did you mean `benchmark`?", text="extends: good.yaml\nbenchmrk: null\n"),
    Bad("extended-then-nothing-removed-below", 2, "phases.mlm.freez: unknown key; did you mean `freeze`?", text="extends: good.yaml\nphases: {mlm: {freez: null}}\n"),
    Bad("extended-then-no-item-removed", 2, "phases: no item `mml`; did you mean `mlm`?", text="extends: good.yaml\nphases: {mml: null}\n"),
    Bad("extended-then-no-item-removed-below", 3, "benchmark.tasks: no item `tusk`; did you mean `task`?", text="extends: good.yaml\nbenchmark:\n  tasks: {tusk: null}\n"),
    Bad("extended-then-emptied", 2, "phases: needs at least one item", text="extends: good.yaml\nphases: {clm: null, mlm: null}\n"),
]  # fmt: skip
CASES = [
    *WRONG_TYPE, *UNKNOWN_KEY, *IMPOSSIBLE, *CHOICES, *MISSING, *REPEATED, *NOT_YAML, *VARIABLES, *EXTENDS,
]  # fmt: skip
