"""The opponents of the bench do the same work: else its ratios would say nothing."""

import numpy as np

from bench.company import Pipeline, digits
from search import keys
from search.ports import Item


def test_the_eager_pipeline_draws_the_pictures_of_our_generator() -> None:
    """From the same noise, pixel by pixel; one grey level is left for rounding."""
    names, generator = keys.rows(keys.problem(1, "7"), 0, 2), digits(4, "float32")
    theirs = Pipeline("digits", "float32")(keys.normals(names, keys.START, 784), 7, steps=4)
    rows = generator.start([Item(prompt="7")] * 2, names)
    while not rows.done.all():
        rows = generator.advance(rows)
    ours = generator.finish(rows)
    assert np.ptp(ours) > 200
    assert np.abs(np.stack(theirs).astype(int) - np.stack(ours)).max() <= 1
