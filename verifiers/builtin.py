"""The verifiers that come with Winnow. Naming one imports nothing heavy."""

from search.plugins import Registry

VERIFIERS = Registry(
    "verifier",
    "winnow.verifiers",
    {
        "toy/linear": "verifiers.toy:linear",
        "toy/quadratic": "verifiers.toy:quadratic",
        "toy/ones": "verifiers.toy:ones",
        "toy/count": "verifiers.toy:count",
        "any": "verifiers.anything:anything",
        "exact": "verifiers.answers:exact",
        "numeric": "verifiers.answers:numeric",
        "regex": "verifiers.answers:regex",
        "boxed": "verifiers.mathematics:boxed",
        "math": "verifiers.mathematics:math",
        "reasoning_gym": "verifiers.gym:reasoning_gym",
        "judge": "verifiers.judge:judge",
        "judge/pairwise": "verifiers.tournament:pairwise",
        "http": "verifiers.hook:http",
        "reward_model": "verifiers.reward:reward_model",
        "process_reward": "verifiers.reward:process_reward",
        "perplexity": "verifiers.reward:perplexity",
        "ensemble": "verifiers.composites:ensemble",
        "cascade": "verifiers.composites:cascade",
        "calibrated": "verifiers.calibration:calibrated",
        "program/values": "verifiers.program:values",
        "program/asserts": "verifiers.program:asserts",
        "program/stdio": "verifiers.program:stdio",
        "json_schema": "verifiers.structured:json_schema",
        "digit_classifier": "verifiers.digits:digit_classifier",
        "digit_classifier_b": "verifiers.digits:digit_classifier_b",
        "ccexam": "verifiers.digits:ccexam",
        "terrain/slope": "verifiers.terrain:slope",
        "terrain/range": "verifiers.terrain:height_range",
        "terrain/route": "verifiers.terrain:route",
    },
)
"""Every built-in verifier; plug-ins of other distributions join by the entry-point group `winnow.verifiers`."""
