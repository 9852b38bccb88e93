"""What every request passes: checks of its origin, and headers that restrict the page.

The server listens on loopback, but any site that the user visits can send requests there. ``Host`` must name this
machine, so that no other name can be resolved to it (DNS rebinding). Requests of other sites are refused by ``Origin``
and ``Sec-Fetch-Site``. No frame of other sites may hold the page.
"""

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOSTS = ("127.0.0.1", "localhost")  # on any port, as a tunnel may give it another one
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; "
    "connect-src 'self'; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses requests of other sites, and adds the headers to every answer that has none of its own."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called for every request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        problem = _problem(scope["method"], scope["path"], Headers(scope=scope))
        app = self.app if problem is None else JSONResponse({"error": problem}, status_code=403)
        await app(scope, receive, send_with_headers)


def _problem(method: str, path: str, headers: Headers) -> str | None:
    """Why a request is refused; None for one of the page itself."""
    host = headers.get("host", "")
    if host.partition(":")[0] not in _HOSTS:
        return "this page is for this machine alone: open it at 127.0.0.1 or localhost"
    reads = method in ("GET", "HEAD")
    if not reads and headers.get("origin") != f"http://{host}":
        return "the request comes from another site"
    # A link on another site may lead to a page, but no other site reads data.
    is_page = reads and not path.startswith("/api/")
    if not is_page and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return "the request comes from another site"
    return None
