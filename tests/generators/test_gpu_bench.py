"""`bench.gpu`, run without a GPU, here beside what has imported the same: no step asks for what would wait."""

import json

import pytest

from bench import gpu

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def test_without_a_gpu_it_says_so_and_ends_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main(["--tiny", "sd"])
    assert capsys.readouterr().out.startswith("This machine has no GPU that torch can use: nothing was measured")


@pytest.mark.parametrize(("family", "more"), [("sd", ["--guidance", "2"]), ("flux-dev", ["--size", "16", "16"])])
def test_it_measures_a_pipeline(
    family: str, more: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No operator of a step, nor of the denoiser, reads a number back; the ratios of so small a network say nothing."""
    monkeypatch.setenv(gpu.MODELS, "")
    monkeypatch.setattr(gpu, "TURNS", 1)
    gpu.main(["--tiny", family, "--cpu", "--rows", "1", "3", "--steps", "2", *more])
    result = json.loads(capsys.readouterr().out)
    assert (result["device"], result["dtype"]) == ("cpu", "bfloat16")
    assert [batch["rows"] for batch in result["batches"]] == [1, 3]
    for batch in result["batches"]:
        assert batch["waits"] == batch["own_waits"] == {}
        assert min(batch["nfe"], batch["own_nfe"], batch["ratio"]) > 0
        assert 0 < batch["decode_share"] < 1


def test_what_waits_is_seen() -> None:
    import torch

    assert gpu.waits(lambda: torch.arange(3).nonzero()) == {"aten::nonzero": 1}
    assert gpu.waits(lambda: [float(x) for x in torch.ones(2)]) == {"aten::_local_scalar_dense": 2}
