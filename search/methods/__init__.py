"""Search methods: one paper, one file. A method is an async generator over what it can resume from."""

from search.configs import MethodConfig
from search.plugins import Registry

METHODS = Registry(
    "method",
    "winnow.methods",
    {
        "best_of_n": "search.methods.best_of_n:best_of_n",
        "feynman_kac": "search.methods.feynman_kac:feynman_kac",
        "soft_value": "search.methods.soft_value:soft_value",
        "noise_search": "search.methods.noise_search:noise_search",
        "rollover": "search.methods.rollover:rollover",
        "beam": "search.methods.beam:beam",
    },
    MethodConfig,
)
