"""Print what captured OTLP requests hold: spans as a tree, log records, with attributes.

    describe.py [--brief] FILE...

needs the packages of python/requirements.txt.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}


def read(path: Path) -> dict[str, Any]:
    body = path.read_bytes()
    if path.suffix == ".gz":
        body = gzip.decompress(body)
    if ".json" in path.suffixes:
        return json.loads(body)
    request = REQUESTS[next(s[1:] for s in path.suffixes if s[1:] in REQUESTS)]()
    request.ParseFromString(body)
    return MessageToDict(request, preserving_proto_field_name=False)


def value(any_value: dict[str, Any]) -> Any:
    if "arrayValue" in any_value:
        return [value(v) for v in any_value["arrayValue"].get("values", [])]
    if "kvlistValue" in any_value:
        return {kv["key"]: value(kv["value"]) for kv in any_value["kvlistValue"].get("values", [])}
    return next(iter(any_value.values()), None)


def show_attributes(attributes: list[dict[str, Any]], indent: str) -> None:
    for kv in attributes:
        print(f"{indent}· {kv['key']} = {json.dumps(value(kv.get('value', {})), ensure_ascii=False)[:220]}")


def main(brief: bool, paths: list[Path]) -> None:
    spans: list[dict[str, Any]] = []
    for path in paths:
        request = read(path)
        print(f"== {path.name}")
        for group in request.get("resourceSpans", []) + request.get("resourceLogs", []):
            if not brief:
                show_attributes(group.get("resource", {}).get("attributes", []), "resource ")
            for scoped in group.get("scopeSpans", []) + group.get("scopeLogs", []):
                print("scope", scoped.get("scope", {}))
                for record in scoped.get("logRecords", []):
                    print("LOG", {k: v for k, v in record.items() if k not in ("attributes", "body")})
                    print("    body", json.dumps(value(record.get("body", {})))[:300])
                    show_attributes(record.get("attributes", []), "    ")
                spans += scoped.get("spans", [])

    ids = {span["spanId"] for span in spans}

    def show(span: dict[str, Any], depth: int) -> None:
        indent = "    " * depth
        print(f"{indent}SPAN {span['name']!r} of {span['traceId']}: {span.get('kind')} {span.get('status')}")
        if not brief:
            show_attributes(span.get("attributes", []), indent + "  ")
            for event in span.get("events", []):
                print(f"{indent}  EVENT {event['name']}")
                show_attributes(event.get("attributes", []), indent + "    ")
            for link in span.get("links", []):
                print(f"{indent}  LINK {link}")
        for child in spans:
            if child.get("parentSpanId") == span["spanId"]:
                show(child, depth + 1)

    for span in spans:
        if span.get("parentSpanId", "") not in ids:
            show(span, 0)


if __name__ == "__main__":
    main("--brief" in sys.argv, [Path(a) for a in sys.argv[1:] if a != "--brief"])
