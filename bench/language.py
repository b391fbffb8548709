"""SmolLM2 through Winnow's engine against `generate` of transformers, on the same questions, in turns.

    python -m bench.language [--items 30] [--samples 16] [--rounds 3] [--cores 2] [--out FILE]

Items: `lcm` of reasoning-gym, three shots, temperature 0.8, at most 16 tokens, ending at a line's end. `generate`: one
call an item with num_return_sequences, all cores, no top_k. Winnow: best_of_n on an engine with a lane for each core,
all items of a round at once. Tokens are those of the answers, the ending one included; loading is not timed. The
two-sample test permutes, item by item, who gave which answer: chi-square over the answers' texts. Prints one JSON
object.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from generators.builtin import GENERATORS
from generators.language import SmolLM2
from generators.pretrained import Pretrained, converted
from search import keys
from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.methods.best_of_n import BestOfN, best_of_n
from search.ports import Generator, Item, Task
from search.run import run
from service.demo_language import MODEL, questions
from service.settings import core_count

NO_LIMIT = Budget.model_validate({})
Said = list[str]


@cache
def writer() -> Generator:
    """The model as Winnow runs it."""
    found = GENERATORS.find("smollm2")
    return found.factory(SmolLM2.model_validate({k: v for k, v in MODEL.items() if k != "name"}))


async def ours(engine: Engine, items: Sequence[Item], samples: int) -> list[tuple[Said, int]]:
    """Answers to each item, and their tokens; all searches at once."""

    async def one(item: Item) -> tuple[Said, int]:
        task = Task(item, 0, 0, samples)
        tools = Metered(Shared(engine, task, writer(), []), writer(), 0, NO_LIMIT)
        outcome = await run(best_of_n(task, tools, BestOfN.model_validate({"n": samples})), tools)
        if outcome.population is None:
            raise RuntimeError(f"no answers: {outcome.error}")
        return [str(answer) for answer in outcome.population.verdicts.answers], outcome.spent.tokens

    return await asyncio.gather(*map(one, items))


def theirs(control: Pretrained, items: Sequence[Item], samples: int) -> list[tuple[Said, int]]:
    """The same by `generate`, an item after the other."""
    import torch

    found: list[tuple[Said, int]] = []
    ends = {control.tokenizer.eos_token_id}
    for item in items:
        asked = control.tokenizer(item.prompt, return_tensors="pt")
        with torch.inference_mode():
            whole = control.model.generate(
                **asked,
                do_sample=True,
                temperature=MODEL["temperature"],
                top_k=0,
                top_p=1.0,
                max_new_tokens=MODEL["max_tokens"],
                num_return_sequences=samples,
                stop_strings=MODEL["stop"],
                tokenizer=control.tokenizer,
            )
        rows: list[list[int]] = whole[:, asked["input_ids"].shape[1] :].tolist()
        said, tokens = Said(), 0
        for row in rows:
            length = 1
            while length < len(row) and row[length - 1] not in ends and not ended(control, row[:length]):
                length += 1
            tokens += length
            said.append(control.tokenizer.decode(row[:length], skip_special_tokens=True).split("\n")[0])
        found.append((said, tokens))
    return found


def ended(control: Pretrained, ids: list[int]) -> bool:
    """Whether the stop string has come."""
    return "\n" in control.tokenizer.decode(ids)


def chi_square(a: Counter[str], b: Counter[str]) -> float:
    """Of two samples of equal size: sum (a - b)^2 / (a + b)."""
    return sum((a[x] - b[x]) ** 2 / (a[x] + b[x]) for x in {*a, *b})


def two_sample(ours: Sequence[Said], theirs: Sequence[Said], permutations: int = 2000) -> dict[str, float]:
    """Permutation test within items that both draw from one distribution of answers: the statistic and its p-value."""
    pools = [np.array([*a, *b]) for a, b in zip(ours, theirs, strict=True)]

    def statistic(orders: Sequence[Any]) -> float:
        halves = ((pool[order], len(pool) // 2) for pool, order in zip(pools, orders, strict=True))
        return sum(chi_square(Counter(x[:n].tolist()), Counter(x[n:].tolist())) for x, n in halves)

    seen = statistic([np.arange(len(pool)) for pool in pools])
    names = keys.rows(keys.problem(0, "permutations"), 0, len(pools))
    drawn = [
        statistic([keys.uniforms(names[i : i + 1], turn, len(pool))[0].argsort() for i, pool in enumerate(pools)])
        for turn in range(permutations)
    ]
    return {"statistic": seen, "p": (1 + sum(x >= seen - 1e-9 for x in drawn)) / (1 + permutations)}


async def measured(items: Sequence[Item], samples: int, rounds: int, cores: int) -> dict[str, Any]:
    """Both sides in turns, `rounds` times on a share of the items."""
    import torch

    torch.set_num_threads(1)  # that of the engine's lanes; `generate` gets all cores
    engine, found = Engine(cores), dict[str, list[tuple[Said, int]]](winnow=[], generate=[])
    seconds = {"winnow": 0.0, "generate": 0.0}
    control = converted(Path(writer().network.path()))  # type: ignore[attr-defined]
    control.model.eval()
    await engine.load("smollm2", writer(), items[0])
    theirs(control, items[:1], 2)
    for turn in range(rounds):
        for name in ("winnow", "generate") if turn % 2 else ("generate", "winnow"):
            part, started = items[turn::rounds], time.perf_counter()
            if name == "winnow":
                found[name] += await ours(engine, part, samples)
            else:
                torch.set_num_threads(cores)
                found[name] += theirs(control, part, samples)
                torch.set_num_threads(1)
            seconds[name] += time.perf_counter() - started
            n = sum(tokens for _, tokens in found[name])
            print(f"{name}: {n} tokens in {seconds[name]:.1f} s", file=sys.stderr, flush=True)
    tokens = {name: sum(n for _, n in answers) for name, answers in found.items()}
    rates = {name: tokens[name] / seconds[name] for name in tokens}
    said = {name: [texts for texts, _ in answers] for name, answers in found.items()}
    filled = engine.batchers[writer().batch_key, "advance"].filled
    return {
        "tokens": tokens,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "tokens_per_second": {name: round(value, 1) for name, value in rates.items()},
        "ratio": round(rates["winnow"] / rates["generate"], 2),
        "rows_a_call": round(filled.mean, 1),
        "two_sample": two_sample(said["winnow"], said["generate"]),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=30)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=core_count(), help="for both; 1 when others use the machine")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    items = [Item.model_validate(item) for item in questions("lcm", options.items)]
    shape = {"items": options.items, "samples": options.samples, "rounds": options.rounds, "cores": options.cores}
    whole = {
        "bench": "language",
        **shape,
        **asyncio.run(measured(items, options.samples, options.rounds, options.cores)),
    }
    print(json.dumps(whole))
    if options.out:
        options.out.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
