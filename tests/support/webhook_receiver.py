"""A receiver of webhooks behind TLS, which verifies each delivery with the reference library."""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests").decode()
Answer = tuple[int, dict[str, str]]


@dataclass
class Receiver:
    """`answer`: what the next delivery gets, from its content: status and headers, or after a wait."""

    url: str
    secret_file: Path
    ca_file: Path
    answer: Callable[[dict[str, Any]], Answer] = lambda _: (204, {})
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The data of what was received of one type, first to last."""
        return [content["data"] for _, content in self.received if content["type"] == kind]

    def ids(self) -> list[str]:
        return [message_id for message_id, _ in self.received]

    def table(self, name: str = "billing", **keys: Any) -> str:
        """The table of the policy file that has workers tell this receiver."""
        given = {"url": self.url, "secret_file": str(self.secret_file), "allow_private": True, **keys}
        lines = (f"{key} = {json.dumps(value)}" for key, value in given.items())
        return "\n".join(["[[webhook]]", f'name = "{name}"', *lines, ""])


@contextmanager
def receiver(folder: Path) -> Iterator[Receiver]:
    """Receive at `https://localhost`, with a certificate of an authority of its own."""
    authority = trustme.CA()
    (folder / "ca.pem").write_bytes(authority.cert_pem.bytes())
    (folder / "secret").write_text(SECRET + "\n")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                content = Webhook(SECRET).verify(body, dict(self.headers.items()))
            except WebhookVerificationError as error:
                found.refused.append(str(error))
                self.send_error(400)
                return
            status, headers = found.answer(content)
            found.received.append((self.headers["webhook-id"], content))
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def do_GET(self) -> None:
            # What a redirect is followed with.
            found.refused.append(f"GET {self.path}")
            self.send_error(405)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"https://localhost:{server.server_port}/hooks/scaleout?key=of-the-receiver"
    found = Receiver(url, folder / "secret", folder / "ca.pem")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
