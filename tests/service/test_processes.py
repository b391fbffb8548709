"""Questions to verifiers in processes are divided among them, and come back whole."""

import asyncio
import multiprocessing
from typing import Any

import pytest

from search.ports import Answer, Item
from service import processes
from service.processes import divided, elsewhere


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, [0]), (1, [1]), (31, [31]), (32, [16, 16]), (33, [16, 17]), (1000, [500, 500])]
)
def test_pieces(count: int, sizes: list[int]) -> None:
    answers = [Answer(str(i), Item()) for i in range(count)]
    pieces = divided(answers, 2, 16)
    assert list(map(len, pieces)) == sizes
    assert [answer for piece in pieces for answer in piece] == answers


def test_scores_come_back_in_order() -> None:
    """Alkanes of 1 to 40 carbon atoms: methane weighs 16.04, and each further atom adds 14.03."""
    pytest.importorskip("rdkit", reason="NOT EXAMINED: needs the extra `molecules`")
    verifier: Any = elsewhere("molecule/weight", '{"high": 0.0}')

    async def asked() -> Any:
        return await verifier([Answer("C" * n, Item()) for n in range(1, 41)])

    weights = [-score.value for score in asyncio.run(asked())]
    assert weights == pytest.approx([16.043 + 14.027 * n for n in range(40)], rel=1e-4)


def test_processes_start_before_the_first_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """They start and import while the worker loads its model, and the network does not wait for them later."""
    pytest.importorskip("rdkit", reason="NOT EXAMINED: needs the extra `molecules`")
    monkeypatch.setattr(processes, "POOL", processes.Pool(2))
    before = set(multiprocessing.active_children())
    elsewhere("molecule/sa", '{"limit": 3.25}')
    assert len(set(multiprocessing.active_children()) - before) == 2
    processes.POOL.get().shutdown()
