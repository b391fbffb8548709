"""What a request says, and where a step of its reply ends."""

from collections.abc import Sequence
from typing import Any

import regex

from generators.openai import OpenAI, Step
from generators.replies import Choice
from search.endpoints import Endpoint

PATIENCE = 0.05  # seconds for one search of a pattern, which may be slow on purpose
MARK = "\n"  # ends a line


def request(config: OpenAI, server: Endpoint, prompt: Any, text: str, seed: int, n: int) -> tuple[bool, dict[str, Any]]:
    """Whether it goes to /chat/completions, and its body: n ways to go on with `text` after `prompt`."""
    stop = [*config.stop, *([MARK] if config.step and config.step.unit == "line" and server.stop_reason else [])]
    body: dict[str, Any] = {
        **server.body,
        "model": config.model or server.model,
        "temperature": config.temperature,
        "top_p": config.top_p,
        server.limit_field: config.per_step,
        **({"stop": stop} if stop else {}),
        **({"seed": seed} if server.seed else {}),
        **({"n": n} if n > 1 else {}),
    }
    if isinstance(prompt, str) and server.completions:
        return False, body | {"prompt": prompt + text} | ({"logprobs": 1} if config.logprobs else {})
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if text:
        turns = [*turns, {"role": "assistant", "content": text}]
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return True, body | {"messages": turns} | ({"logprobs": True} if config.logprobs else {})


def cut(text: str, stop: Sequence[str]) -> str | None:
    """The text before the first stop string, None without one: some servers leave it in (`transformers serve`)."""
    found = [at for end in stop if (at := text.find(end)) >= 0]
    return text[: min(found)] if found else None


def stepped(step: Step, stop: Sequence[str], choice: Choice) -> tuple[str, bool]:
    """What a step adds to the text, and whether that ends it.

    A server may say that it stopped at the end of a line. Any other text is cut here behind the step's end: the first
    tokens of a longer draw are a draw of a shorter one.
    """
    text = choice.text or ""
    if step.unit == "line" and choice.stopped == MARK:
        return text.removesuffix(MARK) + MARK, False
    at = behind(step, text)
    within = text[:at] if at else text
    if (said := cut(within, stop)) is not None:
        return said, True
    if 0 < at < len(text) or (at and choice.reason == "length"):
        return within, False
    return text, choice.reason != "length"


def behind(step: Step, text: str) -> int:
    """Where the first step of a text ends; 0 when it has no end."""
    if step.unit == "line":
        return text.find(MARK) + 1
    try:
        found = regex.search(step.pattern or "", text, timeout=PATIENCE)
    except TimeoutError:
        return 0
    return found.end() if found else 0
