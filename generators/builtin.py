"""The generators that come with Winnow, by name."""

from search.configs import ModelConfig
from search.plugins import Registry

GENERATORS = Registry(
    "model",
    "winnow.generators",
    {
        "toy/gaussian_mixture": "generators.gaussian_mixture:gaussian_mixture",
        "toy/bits": "generators.toy:bits",
        "toy/markov": "generators.toy:markov",
        "toy/noop": "generators.toy:noop",
        "dna8": "generators.dna:dna8",
        "rna": "generators.rna:rna",
        "molecules": "generators.molecules:molecules",
        "digits": "generators.digits:digits",
        "digits-early": "generators.digits:digits_early",
        "digits-unconditional": "generators.digits:digits_unconditional",
        "terrain": "generators.terrain:terrain",
        "smollm2": "generators.language:smollm2",
        "language": "generators.language:language",
        "endpoint": "generators.openai:endpoint",
        "diffusers": "generators.pictures:diffusers",
    },
    ModelConfig,
)
