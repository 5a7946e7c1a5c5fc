"""A model's server on loopback for agents: chat completions and responses, whole or streamed, as written down here.

The model asks for `get_weather` when it is offered tools, and for `get_tide` too where the question is about the tide.
It answers in one sentence when it was given the tools' results, by the tool `final_answer` if there is one. The model
`broken-1` fails, and `slow-1` says its first words and then nothing until the client hangs up.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

import fake_openai

QUESTION = "What is the weather in Lisbon?"
TIDE_QUESTION = "What are the weather and the tide in Lisbon?"
ANSWER = "It is sunny in Lisbon."
WORDS = ["It is", " sunny in", " Lisbon."]


def get_weather(city: str) -> str:
    """Say what the weather is like in a city.

    Args:
        city: The city's name.
    """
    return f"Sunny in {city}, 24 degrees."


def get_tide(city: str) -> str:
    """Say how high the water is in a city.

    Args:
        city: The city's name.
    """
    raise ValueError("no tide table")


def text_of(content: Any) -> str:
    """The text of a message, which is a text or a list of parts."""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content or [])


def calls(messages: list[dict[str, Any]], tools: Any) -> list[str]:
    """The tools that the model asks for; none, if it has results, or nothing to call."""
    if "final_answer" in str(tools) and "Sunny in" in str(messages[-1]):
        return ["final_answer"]
    if not tools or messages[-1].get("role") == "tool" or messages[-1].get("type") == "function_call_output":
        return []
    question = " ".join(text_of(message.get("content")) for message in messages if message.get("role") == "user")
    return ["get_weather", "get_tide"] if "tide" in question else ["get_weather"]


def completion(request: dict[str, Any]) -> dict[str, Any]:
    """A whole chat completion."""
    whole = fake_openai.completion(request | {"tools": None})
    names = calls(request["messages"], request.get("tools"))
    if names:
        arguments = {"answer": ANSWER} if names == ["final_answer"] else {"city": "Lisbon"}
        functions = [{"name": name, "arguments": json.dumps(arguments)} for name in names]
        tool_calls = [
            {"id": f"call_{place}", "type": "function", "function": function}
            for place, function in enumerate(functions, 1)
        ]
        whole["choices"][0]["message"] |= {"content": None, "tool_calls": tool_calls}
        whole["choices"][0]["finish_reason"] = "tool_calls"
        whole["usage"] |= {"prompt_tokens": 25, "completion_tokens": 7, "total_tokens": 32}
    return whole


def chunks(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same completion in pieces; the last one has the tokens."""
    head = {key: whole[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    message = whole["choices"][0]["message"]
    if message["content"] is None:
        pieces = [{"tool_calls": [call | {"index": place}]} for place, call in enumerate(message["tool_calls"])]
    else:
        pieces = [{"content": word} for word in WORDS]
    for piece in [{"role": "assistant"}, *pieces]:
        yield head | {"choices": [{"index": 0, "delta": piece, "finish_reason": None}]}
    yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": whole["choices"][0]["finish_reason"]}]}
    yield head | {"choices": [], "usage": whole["usage"]}


def response(request: dict[str, Any]) -> dict[str, Any]:
    """A whole answer of the Responses API."""
    asked = request["input"]
    messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    output: list[dict[str, Any]] = []
    for place, name in enumerate(calls(messages, request.get("tools")), 1):
        call = {"id": f"fc_{place}", "call_id": f"call_{place}", "name": name, "status": "completed"}
        output.append(call | {"type": "function_call", "arguments": json.dumps({"city": "Lisbon"})})
    tokens = (25, 7) if output else (40, 9)
    if not output:
        text = {"type": "output_text", "text": ANSWER, "annotations": []}
        message = {"id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
        output.append(message | {"type": "message"})
    return {
        "id": "resp-calls" if tokens[0] == 25 else "resp-answer",
        "object": "response",
        "created_at": 1700000000,
        "model": f"{request['model']}-2026-01-01",
        "status": "completed",
        "output": output,
        "instructions": request.get("instructions"),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": request.get("tools") or [],
        "usage": {
            "input_tokens": tokens[0],
            "output_tokens": tokens[1],
            "total_tokens": sum(tokens),
            "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 2},
        },
    }


def events(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same answer as events of a stream."""
    yield {"type": "response.created", "response": whole | {"status": "in_progress", "output": [], "usage": None}}
    for place, item in enumerate(whole["output"]):
        at = {"output_index": place, "item_id": item["id"]}
        yield {"type": "response.output_item.added", "output_index": place, "item": item}
        if item["type"] == "message":
            for word in WORDS:
                yield {"type": "response.output_text.delta", "content_index": 0, "delta": word, "logprobs": []} | at
        yield {"type": "response.output_item.done", "output_index": place, "item": item}
    yield {"type": "response.completed", "response": whole}


def is_first_word(piece: dict[str, Any]) -> bool:
    """Whether a piece of a stream is the first that a reader sees of the answer."""
    choice = (piece.get("choices") or [{}])[0]
    return WORDS[0] in (piece.get("delta"), choice.get("delta", {}).get("content"))


class Handler(fake_openai.Handler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if request["model"] == "broken-1":
            self.answer(500, {"error": {"message": "The model is on fire.", "type": "server_error", "code": None}})
        elif self.path.endswith("/responses"):
            whole = response(request)
            numbered = ({"sequence_number": place} | event for place, event in enumerate(events(whole)))
            self.stream(numbered, request) if request.get("stream") else self.answer(200, whole)
        else:
            whole = completion(request)
            self.stream(chunks(whole), request) if request.get("stream") else self.answer(200, whole)

    def stream(self, pieces: Iterator[dict[str, Any]], request: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for piece in pieces:
                name = f"event: {piece['type']}\n" if "type" in piece else ""
                self.wfile.write(f"{name}data: {json.dumps(piece)}\n\n".encode())
                self.wfile.flush()
                if request["model"] == "slow-1" and is_first_word(piece):
                    self.connection.recv(1)  # returns when the client hangs up
                    return
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client hung up
        finally:
            self.close_connection = True


@contextmanager
def fake_models() -> Iterator[str]:
    """Serve while the block runs; yields the base URL for the client."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
