"""The trained model: what it draws are molecules, given symbols stay, and a prompt that cannot be used says why."""

from typing import Any

import numpy as np
import pytest

from generators.builtin import GENERATORS
from generators.molecules import ALPHABET, template
from generators.unmasking import MASK
from search import keys
from search.ports import Item, Rows

pytest.importorskip("torch", reason="NOT EXAMINED: needs the extra `molecules`")
pytest.importorskip("selfies", reason="NOT EXAMINED: needs the extra `molecules`")


def begun(prompt: str, n: int, **config: Any) -> tuple[Any, Rows]:
    found = GENERATORS.find("molecules")
    generator = found.factory(found.config(**config))
    return generator, generator.start([Item(prompt=prompt)] * n, keys.rows(keys.problem(0, "molecules"), 0, n))


def ended(generator: Any, rows: Rows) -> Rows:
    while not rows.done.all():
        live = np.flatnonzero(~rows.done)
        rows = rows.updated(live, generator.advance(rows[live]))
    return rows


def test_draws_are_molecules_and_previews_become_them() -> None:
    """Of 32 draws all are molecules, most unlike each other, with a QED far above that of random symbols, .36."""
    chem = pytest.importorskip("rdkit.Chem", reason="NOT EXAMINED: needs the extra `molecules`")
    from rdkit.Chem import QED

    generator, rows = begun("", 32)
    rows = ended(generator, rows)
    answers = generator.finish(rows)
    assert rows.step.tolist() == [40] * 32
    molecules = [chem.MolFromSmiles(answer) for answer in answers]
    assert None not in molecules
    assert len(set(answers)) > 28
    assert np.mean([QED.qed(molecule) for molecule in molecules]) > 0.45
    assert generator.preview(rows) == answers


def test_without_the_interpreter_it_is_the_same_network() -> None:
    """Traced on two rows, it gives the eager network's very numbers for any count of rows."""
    import torch
    from safetensors.torch import load_file

    from generators.digits import device
    from generators.transformer import WEIGHTS, loaded, network

    if device() != "cpu":
        pytest.skip("traced on CPUs alone")
    eager = network(len(ALPHABET), 40, width=128, layers=5, heads=4)
    eager.load_state_dict({k: v.float() for k, v in load_file(WEIGHTS / "molecules.safetensors").items()})
    given = torch.from_numpy(np.random.default_rng(0).integers(0, len(ALPHABET) + 1, (5, 40)))
    with torch.inference_mode():
        for n in (1, 5):
            assert torch.equal(loaded("molecules")[0](given[:n]).cpu(), eager.eval()(given[:n]))


def test_given_symbols_stay_and_cost_nothing() -> None:
    """Five of a ring's six atoms, the sixth and the closing bond are to be found."""
    prompt = "[C][=C][C][=C][C]_[Ring1]_"
    generator, rows = begun(prompt, 16)
    rows = ended(generator, rows)
    assert rows.step.tolist() == [2] * 16
    given = template(prompt)
    kept = given != MASK
    assert (rows.columns["text"][:, kept] == given[kept]).all()
    assert len(set(generator.finish(rows))) > 1


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("[C][Xx]...", r"holds '\[Xx\]'; valid: \[nop\] \[C\]"),
        ("CCO", "holds 'C'; valid"),
        ("[C][C]", "leaves nothing free: write _ for a symbol, or ... at the end"),
        ("_" * 41, "has 41 symbols; at most 40 fit"),
    ],
)
def test_a_prompt_that_cannot_be_used(prompt: str, message: str) -> None:
    config = GENERATORS.find("molecules").config()
    with pytest.raises(ValueError, match=message):
        config.check(Item(prompt=prompt))


def test_a_prompt_is_read_as_it_is_written() -> None:
    read = template(" [C] [=C]_[N]... ")
    assert read[:4].tolist() == [ALPHABET.index("[C]"), ALPHABET.index("[=C]"), MASK, ALPHABET.index("[N]")]
    assert (read[4:] == MASK).all()
    assert (template("") == MASK).all()
    assert (template("[C]_")[2:] == ALPHABET.index("[nop]")).all()
