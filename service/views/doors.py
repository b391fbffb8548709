"""What OpenAI's doors answer with: their spelling, and `search` beside it."""

from typing import Any, Literal

from pydantic import Field

from service.views.base import View
from service.views.jobs import Usage

Finish = Literal["stop", "length"]


class Found(View):
    """How one returned answer was found. `seed` is its row's key."""

    sample: int
    seed: str
    scores: dict[str, float | None]
    grades: dict[str, float | None]


class Searched(View):
    """The search behind a reply; the job has all answers, scores and costs."""

    job: str
    drawn: int
    lost: int
    evaluations: int
    stop_reason: str | None
    returned: list[Found] = Field(description="One for each choice, in order.")


class ImagesSearched(Searched):
    """The search behind images."""

    method: str
    verifiers: list[str]
    usage: Usage | None = Field(description="Of the job; null in a batch, where a job answers many lines.")


class ImageData(View):
    """One image."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: None = None


class ImagesReply(View):
    """Reply of /v1/images/generations."""

    created: int
    data: list[ImageData]
    output_format: Literal["png"] = "png"
    search: ImagesSearched


class Spoken(View):
    """What the assistant says."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class TokenLogprob(View):
    """A token and its log-probability."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[Any] = Field(default_factory=list)


class ChatLogprobs(View):
    """Of every token of a choice."""

    content: list[TokenLogprob]
    refusal: None = None


class ChatChoice(View):
    """One answer."""

    index: int
    message: Spoken
    logprobs: ChatLogprobs | None = None
    finish_reason: Finish


class Tokens(View):
    """Tokens of all answers drawn, returned or not: what the search cost. Left out where not all were reported."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(View):
    """Reply of /v1/chat/completions."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Tokens | None
    search: Searched


class TextLogprobs(View):
    """Of every token of a choice."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: None = None
    text_offset: list[int]


class TextChoice(View):
    """One answer."""

    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: Finish


class TextCompletion(View):
    """Reply of /v1/completions. `search` has one entry for each prompt."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Tokens | None
    search: list[Searched]


class FileView(View):
    """An uploaded or written file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: Literal["batch", "batch_output"]
    status: Literal["processed"] = "processed"


class Files(View):
    """A page of files, newest first."""

    object: Literal["list"] = "list"
    data: list[FileView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Deleted(View):
    """What is gone."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class BatchFault(View):
    """Why a batch was not begun. line: of the input file, from 1."""

    code: str
    message: str
    line: int | None
    param: str | None = None


class BatchFaults(View):
    """The first faults."""

    object: Literal["list"] = "list"
    data: list[BatchFault]


class RequestCounts(View):
    """Lines of a batch."""

    total: int
    completed: int
    failed: int


class BatchView(View):
    """A batch."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    errors: BatchFaults | None
    input_file_id: str
    completion_window: str
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ]
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None
    jobs: list[str] = Field(description="Jobs made of its lines so far, in order.")


class Batches(View):
    """A page of batches, newest first."""

    object: Literal["list"] = "list"
    data: list[BatchView]
    first_id: str | None
    last_id: str | None
    has_more: bool
