"""What must never happen on a page, whatever a test does with it."""

from dataclasses import dataclass, field

from playwright.sync_api import BrowserContext, ConsoleMessage, Request, WebError

TELL = """
document.addEventListener('securitypolicyviolation', (event) =>
  console.error(`content policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}`));
for (const name of ['alert', 'confirm', 'prompt']) window[name] = () => console.error(`${name} was called`);
"""
REFUSED = "Failed to load resource: the server responded with a status of 4"


@dataclass
class Watched:
    """Faults seen so far. refusals: whether answers 4xx of the API are part of the test."""

    origin: str
    refusals: bool = False
    faults: list[str] = field(default_factory=list)

    def console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if not (self.refusals and message.text.startswith(REFUSED)):
            self.faults.append(f"console {message.type}: {message.text[:500]} at {message.location}")

    def error(self, error: WebError) -> None:
        self.faults.append(f"error: {error.error}")

    def request(self, request: Request) -> None:
        inside = request.url == self.origin or request.url.startswith((f"{self.origin}/", "data:", "blob:"))
        if not inside:
            self.faults.append(f"a request to {request.url[:500]}")

    def check(self) -> None:
        """Nothing was wrong."""
        assert self.faults == []


def watched(context: BrowserContext, origin: str) -> Watched:
    """Watch all pages of a context; requests may go to `origin` only."""
    seen = Watched(origin)
    context.add_init_script(TELL)
    context.on("console", seen.console)
    context.on("weberror", seen.error)
    context.on("request", seen.request)
    return seen
