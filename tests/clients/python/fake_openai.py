"""A completions server on loopback that needs no model: what it answers is written down here.

It asks for the tool `get_weather` when it is offered tools, answers in one sentence when it was given a tool's
result, and fails for the model `broken-1`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Say what the weather is like in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def completion(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a chat completion request."""
    message: dict[str, Any] = {"role": "assistant", "content": "It is sunny in Lisbon.", "refusal": None}
    finish, tokens = "stop", (40, 9)
    if request.get("tools") and request["messages"][-1]["role"] != "tool":
        arguments = json.dumps({"city": "Lisbon"})
        call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
        message |= {"content": None, "tool_calls": [call]}
        finish, tokens = "tool_calls", (25, 7)
    return {
        "id": f"chatcmpl-{finish}",
        "object": "chat.completion",
        "created": 1700000000,
        "model": f"{request['model']}-2026-01-01",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "total_tokens": sum(tokens),
            "prompt_tokens_details": {"cached_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if request["model"] == "broken-1":
            self.answer(500, {"error": {"message": "The model is on fire.", "type": "server_error", "code": None}})
        else:
            self.answer(200, completion(request))

    def answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def fake_openai() -> Iterator[str]:
    """Serve while the block runs; yields the base URL for the client."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
