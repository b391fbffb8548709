"""The exam, taken by every built-in verifier; and the exam itself, on verifiers that break the contract."""

import asyncio
import base64
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest

import verifiers
from search.ports import Answer, Item, Score, unscored
from verifiers.builtin import VERIFIERS
from verifiers.conformance import Failed, examine, fake
from verifiers.images.reading import png


def pictures():
    """Noise, a blank image, and a bar that looks like a one, as uint8 [28, 28]."""
    bar = np.zeros((28, 28), np.uint8)
    bar[5:23, 13:16] = 255
    noise = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    return [bar, np.zeros((28, 28), np.uint8), *noise]


TIME = {"call_seconds": 100.0, "total_seconds": 150.0}
"""These programs end, however busy the machine is."""
PROGRAMS = ["def f(x): return x * x", "def f(x): return 5", "```\ndef f(x):\n    return 1 / 0\n```", "none"]
MOLECULES = ["CC(=O)Oc1ccccc1C(=O)O", "OCC", "CCO", "CC(C)(C)(C)C", "", "no molecule"]

COLOURED = [*pictures()[:2], np.random.default_rng(1).integers(0, 256, (40, 50, 3)).astype(np.uint8)]
REFERENCE = f"data:image/png;base64,{base64.b64encode(png(pictures()[0])).decode()}"

SAMPLES = {
    "toy/linear": ({}, None, [0.5, -1, 3.25]),
    "toy/quadratic": ({"center": 1.0}, None, [0.5, -1, 3.25]),
    "toy/ones": ({}, None, [[0, 1, 1], "0110", [0, 0, 0]]),
    "toy/count": ({"symbol": 2}, None, [[0, 2, 2], "0212", [1]]),
    "any": ({}, None, ["7", " 7 ", [0, 1], {"text": "7"}]),
    "exact": ({}, "7", ["7", " 7 ", "8"]),
    "numeric": ({}, "7", ["7", "It is 7.0", "8", "none"]),
    "regex": ({"pattern": r"(\d+)"}, None, ["7", "a 12 b", "none"]),
    "boxed": ({}, "1/2", [r"\boxed{0.5}", r"so \boxed{\frac12}", r"\boxed{2}", "none"]),
    "math": ({}, "1/2", ["0.5", "It is $x$.", "none at all"]),
    "reasoning_gym": ({}, {"task": "lcm", "answer": "12", "metadata": {}}, ["12", r"\boxed{12}", "13", "12 it is"]),
    "judge": ({"endpoint": "judge"}, None, ["a", "abc", 7]),
    "judge/pairwise": ({"endpoint": "judge", "opponents": 2}, None, ["a", "abc", 7]),
    "http": ({"hook": "letters"}, None, ["a", "abc", 7]),
    "reward_model": ({"path": "classifier", "longest": 256}, None, ["a", "abc", 7]),
    "process_reward": ({"path": "steps", "longest": 256}, None, ["a", "abc\n\nd", 7]),
    "perplexity": ({"path": "language", "longest": 256}, None, ["a", "abc", 7]),
    "ensemble": ({"verifiers": ["numeric", "exact"]}, "7", ["7", "7.0", "8"]),
    "cascade": ({"stages": [{"verifier": "exact", "above": 1.0}, {"verifier": "numeric"}]}, "7", ["7", "7.0", "8"]),
    "weighted": ({"terms": [{"verifier": "numeric"}, {"verifier": "exact", "weight": -0.5}]}, "7", ["7", "7.0", "8"]),
    "product": ({"factors": [{"verifier": "numeric"}, {"verifier": "exact", "passed": True}]}, "7", ["7", "7.0", "8"]),
    "soft": ({"verifier": "exact", "tilt": 2.0}, "7", ["7", {"fills": ["7", "8"]}, "8"]),
    "calibrated": ({"verifier": "numeric", "pairs": [[0, False], [1, True]]}, "7", ["7", "7.0", "8"]),
    "program/values": (TIME, {"entry": "f", "cases": [{"args": [2], "expected": 4}]}, PROGRAMS),
    "program/asserts": (TIME, {"entry": "f", "tests": "assert f(2) == 4"}, PROGRAMS),
    "program/stdio": (
        TIME,
        {"cases": [{"stdin": "2", "stdout": "4"}]},
        ["print(int(input()) ** 2)", "print(5)", "1 +"],
    ),
    "json_schema": ({"schema": {"type": "object"}}, None, ["{}", '{"a": 1}', "[1]", "{"]),
    "digit_classifier": ({}, "1", pictures()),
    "digit_classifier_b": ({}, 1, pictures()),
    "ccexam": ({}, "1", pictures()),
    "molecule/valid": ({}, None, MOLECULES),
    "molecule/qed": ({}, None, MOLECULES),
    "molecule/sa": ({}, None, MOLECULES),
    "molecule/logp": ({"low": 1.0, "high": 2.0}, None, MOLECULES),
    "molecule/weight": ({"high": 170.0}, None, MOLECULES),
    "molecule/substructure": ({"smarts": "C(=O)O"}, None, MOLECULES),
    "molecule/similarity": ({}, "CCO", MOLECULES),
    "molecule/pains": ({}, None, MOLECULES),
    "dna/binding": ({"factor": "CRX"}, None, ["TAATCCCC", "ACGTACGT", "GGGGATTA", "ACG"]),
    "rna/folding": ({}, None, ["GGGGAAAACCCC", "AAAA", "GGGT"]),
    "trajectory_variance": ({}, None, [Answer(0, Item(), 0.25), Answer("a", Item(), 0.5), Answer(0, Item(), -1.0), 7]),
    "image_quality": ({"measure": "contrast"}, None, COLOURED),
    "jpeg_size": ({}, None, COLOURED),
    "image_similarity": ({}, REFERENCE, COLOURED),
    "clip_score": ({"path": "clip", "template": "a {}"}, None, COLOURED),
    "siglip_score": ({"path": "siglip"}, None, COLOURED),
    "pick_score": ({"path": "clip"}, None, COLOURED),
    "hps": ({"path": "clip"}, None, COLOURED),
    "aesthetic": ({"path": "clip", "head": "over_clip"}, None, COLOURED),
    "image_reward": ({"path": "blip", "head": "over_blip"}, None, COLOURED),
    "nsfw": ({"path": "classifier"}, None, COLOURED),
    "feature_similarity": ({"path": "clip"}, REFERENCE, COLOURED),
    "vqa_score": ({"path": "seer"}, None, COLOURED),
    "image_judge": ({"endpoint": "judge"}, None, COLOURED),
    "ocr_match": ({}, "1", COLOURED[:1]),
    "terrain/slope": ({"target": 0.2}, None, pictures()),
    "terrain/range": ({"target": 1.0}, None, pictures()),
    "terrain/route": ({}, None, pictures()),
}


def test_every_builtin_sits_the_exam():
    assert sorted(SAMPLES) == sorted(VERIFIERS.builtins)


SEEING = [
    "clip_score", "siglip_score", "pick_score", "hps", "aesthetic", "image_reward", "nsfw", "feature_similarity",
    "vqa_score",
]  # fmt: skip
NEEDS = {
    **{name: ("rdkit", "molecules") for name in SAMPLES if name.startswith("molecule/")},
    "rna/folding": ("viennarna", "rna"),
    "ccexam": ("ccexam", "judges"),
    "boxed": ("math-verify", "text"),
    "math": ("math-verify", "text"),
    "reasoning_gym": ("reasoning-gym", "language"),
    "reward_model": ("transformers", "language"),
    "process_reward": ("transformers", "language"),
    "perplexity": ("transformers", "language"),
    **dict.fromkeys(SEEING, ("transformers", "images")),
    "ocr_match": ("rapidocr-onnxruntime", "ocr"),
}
"""Distributions that are not always there, and the extra that brings each."""


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize("name", sorted(VERIFIERS.builtins))
def test_the_exam(name, request):
    if name in NEEDS:
        distribution, extra = NEEDS[name]
        try:
            version(distribution)
        except PackageNotFoundError:
            pytest.skip(f"NOT EXAMINED: the verifier {name!r} needs the distribution {distribution} (extra `{extra}`).")
    config, target, values = SAMPLES[name]
    if "path" in config:
        made = request.getfixturevalue("eyes" if name in SEEING else "tiny")
        config = {**config, **{field: made[config[field]] for field in ("path", "head") if field in config}}
    plugin = VERIFIERS.find(name)
    item = Item(id="i", prompt="a cat" if name in SEEING else "", target=target)
    answers = [value if isinstance(value, Answer) else Answer(value, item) for value in values]
    examine(plugin.factory(plugin.config.model_validate(config)), answers, plugin.facts.together)


@pytest.mark.parametrize("name", sorted(VERIFIERS.builtins))
def test_every_builtin_has_a_card_and_described_settings(name):
    plugin = VERIFIERS.find(name)
    card = Path(verifiers.__file__).parent / "cards" / f"{name.replace('/', '-')}.md"
    assert plugin.card == card.read_text()
    assert plugin.card.startswith(f"# {name}\n")
    for word in ("value", "passed", f"version {plugin.facts.version}", "Cost"):
        assert word in plugin.card, f"the card of {name} does not mention {word!r}"
    for setting, schema in plugin.schema().get("properties", {}).items():
        assert "description" in schema, f"{name}: {setting} has no description"
        assert f"`{setting}`" in plugin.card, f"the card of {name} does not mention its setting {setting!r}"


ANSWERS = [Answer(value, Item(target="a")) for value in ("a", "bb", "ccc")]


class Forgetful:
    """Gives another score at every call."""

    calls = 0

    def __call__(self, answers):
        """One more than last time."""
        self.calls += 1
        return [Score(float(self.calls)) for _ in answers]


def each(judge):
    return lambda answers: [judge(a.value) for a in answers]


def short(answers):
    return [Score(1.0) for _ in answers][1:]


def hasty(answers):
    _ = answers[0]
    return [Score(1.0) for _ in answers]


def sociable(answers):
    return [Score(1.0 / len(answers)) for _ in answers]


def positional(answers):
    return [Score(float(i)) for i, _ in enumerate(answers)]


def greedy(answers):
    for a in answers:
        if isinstance(a.value, list):
            a.value.append(1)
    return [Score(0.0) for _ in answers]


async def plain(answers):
    await asyncio.sleep(0)
    return [Score(1.0) if isinstance(a.value, str) else unscored("not text") for a in answers]


async def late(answers):
    await asyncio.sleep(0)
    return [Score(float(len(a.value))) for a in answers]


@pytest.mark.parametrize(
    ("verifier", "complaint"),
    [
        (short, "3 answers got 2 scores"),
        (hasty, "raised IndexError"),
        (sociable, "in a larger batch"),
        (positional, "in another order"),
        (Forgetful(), "the second time"),
        (each(lambda v: Score(float("nan"))), "finite"),
        (each(lambda v: Score(np.float32(1))), "finite"),
        (each(lambda v: Score(None)), "needs a reason"),
        (each(lambda v: Score(None, False, "broken")), "neither passes nor votes"),
        (each(lambda v: 1.0), "expected a Score"),
        (each(lambda v: Score(1.0, np.bool_(True))), "passed is True"),
        (each(lambda v: Score(1.0, True, None, 7)), "canonical is text"),
        (each(lambda v: Score(float(v == "a" or len(v)))), "on a hostile answer, None: the verifier raised TypeError"),
        (late, "on a hostile answer, None: the verifier raised TypeError"),
    ],
)
def test_the_exam_finds_the_fault(verifier, complaint):
    with pytest.raises(Failed, match=complaint):
        examine(verifier, ANSWERS)


def test_the_exam_finds_changed_answers():
    with pytest.raises(Failed, match="changed the answers"):
        examine(greedy, [Answer([1], Item())])


def test_async_verifiers_and_the_fake_pass():
    examine(plain, ANSWERS)
    examine(fake({"a": 1.0, "bb": 0.0, "ccc": None}), ANSWERS)


def test_the_fake_says_what_it_was_told():
    assert fake({"a": 1.0, "bb": 0.0})(ANSWERS) == [
        Score(1.0, True, None, "a"),
        Score(0.0, False, None, "bb"),
        unscored("the fake has no value for this answer"),
    ]


def test_the_exam_needs_an_answer():
    with pytest.raises(ValueError, match="at least one answer"):
        examine(plain, [])
