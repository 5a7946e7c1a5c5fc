#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = [
#   "blake3>=1.0,<2",
#   "cryptography>=48",
# ]
# ///
"""Verifies logs of Annals, their proofs and their tiles, from the specification alone.

    verify.py log AUDIT.DB [--checkpoint FILE] [--key VKEY] [--epoch-key VKEY] [--json]
    verify.py proof FILE --key VKEY [--checkpoint OLD] [--payload-file FILE] [--json]
    verify.py tiles DIR --key VKEY [--json]

The exit status is 0 if all is good, 1 if there is tampering or damage, and 2 if it could not be checked. `--key`,
`--epoch-key` and `--checkpoint` may each be given several times.

The program is written to be read from top to bottom beside docs/format.md, and it follows that page's order: the
encoding (section 2), the layouts (3, 4 and 6), hashes and the tree (5 and 10), signed notes and keys (11), the log
(7, 8 and 11), proofs (12) and tiles (10). "Section" in a comment means a section of that page.

How the file of a log is opened. It is never written to. If a `-wal` file lies beside it, then the latest rows may be in
there: SQLite reads both together, and needs a `-shm` file to do so, which it makes if the folder can be written. If it
cannot be written, and there is no `-shm` yet, the log cannot be checked where it lies: copy the file together with its
`-wal` elsewhere. A file whose `-wal` was taken away is only an older state of the log: that the rest is missing shows
only a checkpoint that was kept elsewhere. If there is no `-wal`, or nothing in it, then the file holds all of the log,
and is read as an immutable one: nothing is made beside it, and the folder need not be writable. If it changes
nevertheless while it is read, the verdict is that it could not be checked.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import functools
import hashlib
import json
import os
import re
import sqlite3
import stat
import sys
import unicodedata
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    NoReturn,
    Optional,
    Sequence,
    Set,
    Tuple,
    TypeVar,
    Union,
)

try:
    from blake3 import blake3
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError as missing:
    print(f"could not check: {missing}; install it with: pip install blake3 cryptography", file=sys.stderr)
    raise SystemExit(2) from missing
with contextlib.suppress(ImportError):  # from version 48 on; with an older one all but ML-DSA is checked
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey


class Malformed(Exception):
    """Bytes or text that are not well formed as what they should be."""


class CannotCheck(Exception):
    """The check cannot be made. It says nothing for or against what was to be checked."""


class Failure(Exception):
    """A check that failed: its name, what is wrong, and the seq of the event if it concerns one."""

    def __init__(self, seq: Optional[int], check: str, detail: str) -> None:
        super().__init__(detail)
        self.seq = seq
        self.check = check
        self.detail = detail

    def as_json(self) -> Dict[str, Any]:
        return {"seq": self.seq, "check": self.check, "detail": self.detail}

    def __str__(self) -> str:
        where = "" if self.seq is None else f" at event {self.seq}"
        return f"{self.check}{where}: {self.detail}"


# ---------------------------------------------------------------------------------------------------------------------
# Section 2: encoding of values
#
# A decoder takes bytes and a position and returns a value and the position after it. It raises Malformed, or IndexError
# where a single byte is read past the end: `decode_all` makes a Malformed of that. The bytes are never cut and copied
# but for the values themselves, so that decoding takes time in proportion to their number.
# ---------------------------------------------------------------------------------------------------------------------

Decoder = Callable[[bytes, int], Tuple[Any, int]]

U16_MARKER, U32_MARKER, U64_MARKER = 0xFB, 0xFC, 0xFD


def varint(widest: int) -> Decoder:
    """A decoder of varints whose longest form has the marker `widest`."""

    def decode(data: bytes, at: int) -> Tuple[int, int]:
        first = data[at]
        if first < U16_MARKER:
            return first, at + 1
        if first > widest:
            raise Malformed(f"varint marker {first:#04x}")
        width = 2 << (first - U16_MARKER)  # 2, 4 or 8 bytes
        end = at + 1 + width
        if end > len(data):
            raise Malformed("a number is cut off")
        value = int.from_bytes(data[at + 1 : end], "little")
        # One value has one form: what fits a shorter form must have it.
        if value < U16_MARKER or (width > 2 and value >> (width * 4) == 0):
            raise Malformed("a varint is longer than its value needs")
        return value, end

    return decode


decode_u16, decode_u32, decode_u64 = varint(U16_MARKER), varint(U32_MARKER), varint(U64_MARKER)


def decode_u8(data: bytes, at: int) -> Tuple[int, int]:
    return data[at], at + 1


def decode_i64(data: bytes, at: int) -> Tuple[int, int]:
    zigzag, at = decode_u64(data, at)
    return (zigzag >> 1) ^ -(zigzag & 1), at


def fixed(size: int) -> Decoder:
    """A decoder of that many bytes, without a length."""

    def decode(data: bytes, at: int) -> Tuple[bytes, int]:
        end = at + size
        if end > len(data):
            raise Malformed("a value is cut off")
        return data[at:end], end

    return decode


def decode_bytes(data: bytes, at: int) -> Tuple[bytes, int]:
    """`bytes` of section 12: their number, then the bytes."""
    length, at = decode_u64(data, at)
    end = at + length
    if end > len(data):
        raise Malformed("a length beyond the end of the bytes")
    return data[at:end], end


def decode_string(data: bytes, at: int) -> Tuple[str, int]:
    raw, at = decode_bytes(data, at)
    try:
        return raw.decode("utf-8"), at  # strict: neither surrogates nor overlong forms
    except UnicodeDecodeError as error:
        raise Malformed("text that is not UTF-8") from error


def option(inner: Decoder) -> Decoder:
    def decode(data: bytes, at: int) -> Tuple[Any, int]:
        tag = data[at]
        if tag == 0:
            return None, at + 1
        if tag == 1:
            return inner(data, at + 1)
        raise Malformed(f"option tag {tag}")

    return decode


def list_of(inner: Decoder, keep: bool) -> Decoder:
    def decode(data: bytes, at: int) -> Tuple[Optional[List[Any]], int]:
        count, at = decode_u64(data, at)
        items: Optional[List[Any]] = [] if keep else None
        # An item has at least one byte, so a count beyond the end of the bytes ends there.
        for _ in range(count):
            item, at = inner(data, at)
            if items is not None:
                items.append(item)
        return items, at

    return decode


def map_of(inner: Decoder, keep: bool) -> Decoder:
    def decode(data: bytes, at: int) -> Tuple[Optional[Dict[str, Any]], int]:
        count, at = decode_u64(data, at)
        pairs: Optional[Dict[str, Any]] = {} if keep else None
        before: Optional[str] = None
        for _ in range(count):
            key, at = decode_string(data, at)
            # Strings compare by code points, which is the order of their UTF-8 bytes.
            if before is not None and key <= before:
                raise Malformed("keys of a map are out of order or repeated")
            before = key
            value, at = inner(data, at)
            if pairs is not None:
                pairs[key] = value
        return pairs, at

    return decode


def word_of(words: Sequence[str]) -> Decoder:
    def decode(data: bytes, at: int) -> Tuple[str, int]:
        number, at = decode_u32(data, at)
        if number >= len(words):
            raise Malformed(f"{number} is no word")
        return words[number], at

    return decode


def object_of(fields: str, keep: bool) -> Decoder:
    """A decoder of an object: `fields` holds "name type" for each field, separated by semicolons."""
    parts = [text.split() for text in fields.split(";")]
    decoders = [(name, decoder(kind, keep)) for name, kind in parts]

    def decode(data: bytes, at: int) -> Tuple[Optional[Dict[str, Any]], int]:
        values: Optional[Dict[str, Any]] = {} if keep else None
        for name, decode_field in decoders:
            value, at = decode_field(data, at)
            if values is not None:
                values[name] = value
        return values, at

    return decode


SIMPLE_TYPES: Dict[str, Decoder] = {
    "u8": decode_u8,
    "u16": decode_u16,
    "u32": decode_u32,
    "u64": decode_u64,
    "i64": decode_i64,
    "time": decode_i64,
    "f64": fixed(8),  # the bytes are the value: they are never taken through arithmetic
    "bytes": decode_bytes,
    "bytes16": fixed(16),
    "bytes32": fixed(32),
    "string": decode_string,
    "json": decode_string,
    "id": decode_string,
}


@functools.lru_cache(maxsize=None)
def decoder(kind: str, keep: bool = True) -> Decoder:
    """The decoder of a type, written as in the specification.

    Without `keep` its bytes are checked, but lists, maps and objects are not put together: then a payload takes no more
    memory than its bytes, however many items they hold.
    """
    if kind in SIMPLE_TYPES:
        return SIMPLE_TYPES[kind]
    if kind in WORDS:
        return word_of(WORDS[kind].split())
    if kind in OBJECTS:
        return object_of(OBJECTS[kind], keep)
    outer, inner = kind[:-1].split("(", 1)
    if outer == "option":
        return option(decoder(inner, keep))
    return {"list": list_of, "map": map_of}[outer](decoder(inner, keep), keep)


def decode_all(decode: Decoder, data: bytes, at: int = 0) -> Any:
    """The value that `data` holds from `at` to its end, or Malformed."""
    try:
        value, end = decode(data, at)
    except IndexError as error:
        raise Malformed("the bytes end too early") from error
    if end != len(data):
        raise Malformed("bytes are left over")
    return value


# ---------------------------------------------------------------------------------------------------------------------
# Sections 3, 4 and 6: entries, payloads and their layouts
# ---------------------------------------------------------------------------------------------------------------------

FORMAT = 1
LONGEST_ENTRY = 65_503
SALT = 16
PLAIN = 0
LOG_CREATED, COVERAGE_DECLARED, EVENTS_LOST, PAYLOAD_REDACTED, KEY_CHANGED = 1, 176, 240, 241, 243

WORDS = {
    "session_progress": "queued running paused",
    "session_end": "completed failed cancelled disconnected",
    "step_end": "ok error cancelled",
    "step_kind": "llm tool retrieval agent chain guardrail other embedding",
    "severity": "critical high medium low info",
    "outcome": "pass fail warning skip error",
    "finding_status": "open confirmed dismissed applied rejected reverted",
    "subject_kind": "session step decision finding action",
    "verdict": "approved rejected overridden escalated modified",
    "action_outcome": "success denied failed",
    "policy_effect": "allow deny escalate",
    "basis": "observed claimed",
    "key_role": "stable epoch",
    "key_change_cause": "generated rotated lost compromised",
    "api_key_scope": "emit read verify admin",
}

OBJECTS = {
    "considered_option": "option string; score option(f64); attributes map(json)",
    "correction": "original option(string); corrected option(string); strategy option(string)",
    "actor": "id string; kind option(string)",
    "delegation": "actor actor; authorization option(string)",
    "changes": "before option(json); after option(json)",
    "request_context": "ip option(string); user_agent option(string); request_id option(string)",
    "continues": "origin string; size u64; root bytes32",
    # Section 3.
    "entry": """format u8; seq u64; event_id bytes16; kind u16; kind_version u8; session option(id);
        occurred_at option(time); recorded_at time; principal option(bytes16); encoding u8; payload_digest bytes32""",
    # Section 12: the `extra` line of a proof.
    "extra": "version u8; leaf bytes; payload option(bytes)",
    # Section 6, the versions of each kind.
    "log.created": "origin string; software string; continues option(continues)",
    "session.started": """profile option(string); input option(string); input_hash option(string);
        conversation option(string); parent_session option(id); agent option(string); agent_version option(string);
        model option(string); source option(string); tenant option(string); labels map(string);
        attributes map(json)""",
    "session.updated": """status option(session_progress); progress option(f64); message option(string);
        attributes map(json)""",
    "session.ended": """status session_end; summary option(string); risk_level option(severity); scores map(f64);
        tokens_input option(u64); tokens_output option(u64); cost_usd option(f64); error option(string);
        attributes map(json)""",
    "step.started": """step id; parent_step option(id); module option(string); kind option(step_kind);
        model option(string); input option(string); input_summary option(string); attributes map(json)""",
    "step.ended": """step id; status step_end; output option(string); output_summary option(string);
        confidence option(f64); tokens_input option(u64); tokens_output option(u64); cost_usd option(f64);
        error option(string); attributes map(json)""",
    "step.ended, version 2": """step id; status step_end; output option(string); output_summary option(string);
        confidence option(f64); tokens_input option(u64); tokens_output option(u64); tokens_cache_read option(u64);
        tokens_cache_write option(u64); tokens_reasoning option(u64); cost_usd option(f64); error option(string);
        basis option(basis); attributes map(json)""",
    "decision.made": """decision id; step option(id); decision_type option(string);
        options_considered list(considered_option); chosen_option option(string); chosen_options list(string);
        rationale option(string); confidence option(f64); actor option(string); attributes map(json)""",
    "decision.made, version 2": """decision id; step option(id); decision_type option(string);
        options_considered list(considered_option); chosen_option option(string); chosen_options list(string);
        rationale option(string); confidence option(f64); actor option(string); on_behalf_of list(delegation);
        basis option(basis); attributes map(json)""",
    "finding.raised": """finding id; step option(id); category option(string); pattern_type option(string);
        severity option(severity); outcome option(outcome); confidence option(f64); title option(string);
        description option(string); plain_english option(string); suggestion option(string);
        legal_source option(string); evidence option(json); scope option(string); rule_version option(string);
        attributes map(json)""",
    "finding.updated": """finding id; status option(finding_status); actor option(string); reason option(string);
        correction option(correction); attributes map(json)""",
    "review.recorded": """actor string; subject_kind subject_kind; verdict verdict; review id;
        subject_id option(string); reason option(string); attributes map(json)""",
    "review.recorded, version 2": """actor string; subject_kind subject_kind; verdict verdict; review id;
        subject_id option(string); reason option(string); role option(string); authority option(string);
        identified_by option(string); evidence_seen list(string); approved_digest option(bytes32);
        expires_at option(time); attributes map(json)""",
    "artifact.attached": """artifact bytes32; step option(id); label option(string); position option(u64);
        media_type option(string); size option(u64); attributes map(json)""",
    "metric.recorded": "name string; value f64; unit option(string); labels map(string); attributes map(json)",
    "note.logged": """message string; step option(id); level option(string); data option(json);
        attributes map(json)""",
    "action.recorded": """actor actor; action string; entity_type option(string); entity_id option(string);
        outcome option(action_outcome); reason option(string); changes option(changes);
        context option(request_context); tenant option(string); attributes map(json)""",
    "action.recorded, version 2": """actor actor; action string; entity_type option(string); entity_id option(string);
        outcome option(action_outcome); reason option(string); changes option(changes);
        context option(request_context); tenant option(string); on_behalf_of list(delegation); basis option(basis);
        attributes map(json)""",
    "otel.span": """span json; resource option(json); resource_schema_url option(string); scope option(json);
        scope_schema_url option(string); attributes map(json)""",
    "otel.log": """log_record json; resource option(json); resource_schema_url option(string); scope option(json);
        scope_schema_url option(string); attributes map(json)""",
    "coverage.declared": """source string; instance option(string); records list(string); omits list(string);
        announced map(u64); attributes map(json)""",
    "policy.decided": """policy string; effect policy_effect; policy_version option(string); rule option(string);
        reason option(string); step option(id); subject_kind option(subject_kind); subject_id option(string);
        actor option(string); input option(json); attributes map(json)""",
    "custom": "name string; data option(json); attributes map(json)",
    "events.lost": "count u64; since time; reason string",
    "events.lost, version 2": "count u64; since time; reason string; ids list(bytes16)",
    "payload.redacted": "seqs list(u64); actor string; reason string; authority option(string)",
    "projection.skipped": "projection string; version u32; seq u64; actor string; reason string",
    "key.changed": """role key_role; vkey string; previous option(string); certificate option(string);
        cause key_change_cause; actor string; reason option(string)""",
    "apikey.created": """name string; scopes list(api_key_scope); secret_hash bytes32; expires_at option(time);
        actor string; reason option(string)""",
    "apikey.revoked": "key bytes16; actor string; reason option(string)",
}

KINDS = {
    LOG_CREATED: "log.created",
    16: "session.started",
    17: "session.updated",
    18: "session.ended",
    32: "step.started",
    33: "step.ended",
    48: "decision.made",
    64: "finding.raised",
    65: "finding.updated",
    66: "review.recorded",
    80: "artifact.attached",
    96: "metric.recorded",
    112: "note.logged",
    128: "action.recorded",
    144: "otel.span",
    145: "otel.log",
    160: "policy.decided",
    COVERAGE_DECLARED: "coverage.declared",
    200: "custom",
    EVENTS_LOST: "events.lost",
    PAYLOAD_REDACTED: "payload.redacted",
    242: "projection.skipped",
    KEY_CHANGED: "key.changed",
    244: "apikey.created",
    245: "apikey.revoked",
}

Entry = Dict[str, Any]


def is_reserved(kind: int) -> bool:
    """Whether Annals alone writes events of this kind. Their payloads are never redacted."""
    return kind == LOG_CREATED or kind >= 240


def read_entry(data: Any) -> Entry:
    """The fields of a well-formed entry. Malformed otherwise, also if its format is not known."""
    if not isinstance(data, bytes):
        raise Malformed("the entry is no blob")
    if not data:
        raise Malformed("the entry is empty")
    if data[0] != FORMAT:
        raise Malformed(f"the entry has format {data[0]}: a newer verifier is needed")
    if len(data) > LONGEST_ENTRY:
        raise Malformed(f"the entry has {len(data)} bytes, more than {LONGEST_ENTRY}")
    entry: Entry = decode_all(decoder("entry"), data)
    return entry


def layout_of(entry: Entry) -> Optional[str]:
    """The layout of the entry's payload, or None if the payload is opaque to this verifier."""
    kind, version = KINDS.get(entry["kind"]), entry["kind_version"]
    if entry["encoding"] != PLAIN or kind is None:
        return None
    layout = kind if version == 1 else f"{kind}, version {version}"
    return layout if layout in OBJECTS else None


def check_payload(entry: Entry, cell: bytes) -> None:
    """The checks `payload-digest` and `payload` of section 8, for a payload cell that is there."""
    seq = entry["seq"]
    if payload_digest(cell) != entry["payload_digest"]:
        raise Failure(seq, "payload-digest", "the payload is not the one that was recorded")
    if len(cell) < SALT:
        raise Failure(seq, "payload", "the payload is shorter than its salt")
    layout = layout_of(entry)
    if layout is not None:
        try:
            decode_all(decoder(layout, keep=False), cell, SALT)
        except Malformed as error:
            raise Failure(seq, "payload", f"the payload is not well formed as {layout}: {error}") from error


# ---------------------------------------------------------------------------------------------------------------------
# Sections 5 and 10: digest, leaf, link and tree
# ---------------------------------------------------------------------------------------------------------------------

NO_LINK = bytes(32)  # stands before event 1

# A context is hashed once: copies of these start behind it.
PAYLOAD_HASHER = blake3(derive_key_context="annals 2026-11-20 v1 payload")
LINK_HASHER = blake3(derive_key_context="annals 2026-11-20 v1 link")


def payload_digest(cell: bytes) -> bytes:
    return PAYLOAD_HASHER.copy().update(cell).digest()


def link_of(leaf: bytes) -> bytes:
    return LINK_HASHER.copy().update(leaf).digest()


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A growing Merkle tree of RFC 6962, which keeps only the roots of its full subtrees.

    The sizes of the subtrees are the powers of two of which the tree's size is the sum, largest first.
    """

    def __init__(self) -> None:
        self.size = 0
        self.subtrees: List[bytes] = []

    def append(self, hash_of_leaf: bytes) -> None:
        node, size = hash_of_leaf, self.size
        while size & 1:
            node = node_hash(self.subtrees.pop(), node)
            size >>= 1
        self.subtrees.append(node)
        self.size += 1

    def root(self) -> bytes:
        if not self.subtrees:
            return hashlib.sha256(b"").digest()
        node = self.subtrees[-1]
        for left in self.subtrees[-2::-1]:
            node = node_hash(left, node)
        return node


def root_of(hashes: Iterable[bytes]) -> bytes:
    tree = Tree()
    for value in hashes:
        tree.append(value)
    return tree.root()


def inclusion_holds(index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the path leads from the hash of leaf `index` to the root of the tree of `size` leaves."""
    if index >= size:
        return False
    place, last, node = index, size - 1, leaf  # places of the node and of the last one on its level
    for sibling in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            # A last node without a sibling stands for itself on the levels above.
            while not place & 1 and place != 0:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and node == root


def consistency_holds(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the path shows that the tree of `new` leaves begins with the one of `old` leaves."""
    if old > new:
        return False
    if old == 0 and old_root != Tree().root():
        return False
    if old == new and old_root != new_root:
        return False
    if old in (0, new):  # every tree begins with the empty one, and with itself: there is nothing to show
        return not path
    # If the old tree is a full subtree of the new one, its root is not repeated in the path.
    nodes = ([old_root] if old & (old - 1) == 0 else []) + list(path)
    if not nodes:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    in_old = in_new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            in_old, in_new = node_hash(sibling, in_old), node_hash(sibling, in_new)
            while not place & 1 and place != 0:
                place, last = place >> 1, last >> 1
        else:
            in_new = node_hash(in_new, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and in_old == old_root and in_new == new_root


# ---------------------------------------------------------------------------------------------------------------------
# Section 11: signed notes, keys and checkpoints
# ---------------------------------------------------------------------------------------------------------------------

# Types of signatures, of signed-note and tlog-cosignature, and the bytes of a public key of each.
ED25519, COSIGNATURE, ML_DSA_44 = 0x01, 0x04, 0x06
KEY_BYTES = {ED25519: 32, COSIGNATURE: 32, ML_DSA_44: 1_312}
ML_DSA_44_SIGNATURE = 2_420  # bytes
SIGNATURE_START = "\u2014 "
MOST_SIGNATURES = 66
LONGEST_NOTE = 1 << 20
LONGEST_NAME = 255  # bytes of an origin, and so of a key's name
LATEST_TIME = 2**63 - 1  # of a cosignature
LARGEST_U64 = 2**64 - 1


def decimal(text: str) -> int:
    """A number in ASCII digits without leading zeros, as sizes and indexes are written."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,19}", text) or int(text) > LARGEST_U64:
        raise Malformed(f"{shown(text)} is no size or index")
    return int(text)


def from_base64(text: str) -> bytes:
    """The bytes of standard base64 with padding. Each has one text only."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Malformed("not base64") from error
    if base64.b64encode(data).decode("ascii") != text:
        raise Malformed("not the base64 of its bytes")
    return data


def hash_from_base64(text: str) -> bytes:
    data = from_base64(text)
    if len(data) != 32:
        raise Malformed(f"a hash of {len(data)} bytes")
    return data


def is_key_name(name: str) -> bool:
    return bool(name) and not any(c == "+" or c.isspace() or unicodedata.category(c) == "Cc" for c in name)


# Ed25519, strictly. Libraries differ in which keys and signatures they take where those are not what an honest signer
# makes: under a key of small order anybody can sign, and what has a second spelling can be changed without a trace. So
# what section 11 asks is asked here, before a library is asked for the equation.
FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493  # L
CURVE_D = -121665 * pow(121666, FIELD - 2, FIELD) % FIELD
Y_OF_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
Y_OF_SMALL_ORDER = (0, 1, FIELD - 1, Y_OF_ORDER_8, FIELD - Y_OF_ORDER_8)


def is_strict_point(data: bytes) -> bool:
    """Whether 32 bytes are a point of the curve in its only spelling, and not one of the eight of small order."""
    y = int.from_bytes(data, "little") & ((1 << 255) - 1)
    if len(data) != 32 or y >= FIELD or y in Y_OF_SMALL_ORDER:
        return False
    x_squared = (y * y - 1) * pow(CURVE_D * y * y + 1, FIELD - 2, FIELD) % FIELD
    return pow(x_squared, (FIELD - 1) // 2, FIELD) == 1


def ed25519_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    if len(signature) != 64 or not is_strict_point(public) or not is_strict_point(signature[:32]):
        return False
    if int.from_bytes(signature[32:], "little") >= ORDER:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@functools.lru_cache(maxsize=None)
def has_ml_dsa() -> bool:
    """Whether the library that is installed knows ML-DSA-44. All else can be checked without it."""
    try:
        MLDSA44PublicKey.from_public_bytes(bytes(KEY_BYTES[ML_DSA_44]))
    except (NameError, UnsupportedAlgorithm):
        return False
    except ValueError:
        pass
    return True


def ml_dsa_44_holds(public: bytes, message: bytes, signature: bytes, context: bytes = b"") -> bool:
    if len(signature) != ML_DSA_44_SIGNATURE or len(public) != KEY_BYTES[ML_DSA_44]:
        return False
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message, context)
    except (InvalidSignature, ValueError):
        return False
    return True


def short(text: str) -> bytes:
    """A text with its length before it, in one byte."""
    data = text.encode("utf-8")
    if len(data) > 255:
        raise Malformed("a name is too long")
    return bytes([len(data)]) + data


def subtree_message(name: str, time: int, text: str) -> bytes:
    """What a cosignature by ML-DSA-44 signs: the subtree that is the whole tree of a checkpoint."""
    origin, size, root = checkpoint_text(text)
    return b"".join(
        (
            b"subtree/v1\n\0",
            short(name),
            time.to_bytes(8, "big"),
            short(origin),
            bytes(8),
            size.to_bytes(8, "big"),
            root,
        )
    )


@dataclass(frozen=True)
class Key:
    """A public key that signs notes."""

    name: str
    id: bytes
    type: int
    public: bytes

    @classmethod
    def parse(cls, vkey: str) -> Key:
        """A vkey: the name, the key id in hexadecimal, and type and public key in base64, with `+` between them."""
        name, _, rest = vkey.partition("+")
        key_id, _, material = rest.partition("+")
        if not is_key_name(name) or not re.fullmatch(r"[0-9a-f]{8}", key_id):
            raise Malformed("it is not of the form name+id+key")
        if len(name.encode("utf-8")) > LONGEST_NAME:
            raise Malformed(f"its name has more than {LONGEST_NAME} bytes")
        data = from_base64(material)
        if not data or data[0] not in KEY_BYTES:
            raise Malformed("it is of a type that is not known")
        if len(data) != 1 + KEY_BYTES[data[0]]:
            raise Malformed(f"it has {len(data) - 1} bytes, and keys of its type have {KEY_BYTES[data[0]]}")
        if data[0] != ML_DSA_44 and not is_strict_point(data[1:]):
            raise Malformed("its bytes are no point of Ed25519 that can be used: anybody could sign under it")
        if bytes.fromhex(key_id) != hashlib.sha256(name.encode("utf-8") + b"\n" + data).digest()[:4]:
            raise Malformed("its id is not that of its key")
        return cls(name, bytes.fromhex(key_id), data[0], data[1:])

    def signed(self, text: str, signature: bytes) -> bool:
        """Whether the signature, without the key id before it, is this key's for the text."""
        message = text.encode("utf-8")
        if self.type == ED25519:
            return ed25519_holds(self.public, message, signature)
        # A cosigner signs the time with the text, and the time stands before the signature.
        time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
        if time > LATEST_TIME:
            return False
        if self.type == COSIGNATURE:
            return ed25519_holds(self.public, b"cosignature/v1\ntime %d\n" % time + message, signature)
        try:
            return ml_dsa_44_holds(self.public, subtree_message(self.name, time, text), signature)
        except Malformed:  # it signs checkpoints, and no other text
            return False

    def can_be_checked(self) -> bool:
        return self.type != ML_DSA_44 or has_ml_dsa()

    def vkey(self) -> str:
        material = base64.b64encode(bytes([self.type]) + self.public).decode("ascii")
        return f"{self.name}+{self.id.hex()}+{material}"

    def __str__(self) -> str:
        return f"{shown(self.name, quotes=False)}+{self.id.hex()}"


@dataclass(frozen=True)
class Signature:
    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class Note:
    """A signed note. Nothing that its text says counts before a trusted key's signature was checked."""

    text: str
    signatures: Tuple[Signature, ...]

    @classmethod
    def parse(cls, note: str) -> Note:
        try:
            if len(note.encode("utf-8")) > LONGEST_NOTE:
                raise Malformed(f"a note has more than {LONGEST_NOTE} bytes")
        except UnicodeEncodeError as error:
            raise Malformed("a note that is not UTF-8") from error
        if re.search(r"[\x00-\x09\x0b-\x1f]", note):
            raise Malformed("a note holds control characters")
        text, separator, lines = note.rpartition("\n\n")
        if not separator or not lines.endswith("\n"):
            raise Malformed("a note has no signatures after an empty line")
        signature_lines = lines[:-1].split("\n")
        if len(signature_lines) > MOST_SIGNATURES:
            raise Malformed(f"a note has more than {MOST_SIGNATURES} signatures")
        return cls(text + "\n", tuple(parse_signature(line) for line in signature_lines))


def parse_signature(line: str) -> Signature:
    parts = line.split(" ")
    if len(parts) != 3 or not line.startswith(SIGNATURE_START) or not is_key_name(parts[1]):
        raise Malformed("a signature line of a note is not of its form")
    data = from_base64(parts[2])
    if len(data) < 5:
        raise Malformed("a signature of a note is too short")
    return Signature(parts[1], data[:4], data[4:])


@dataclass(frozen=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes
    note: Note

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        note = Note.parse(text)
        return cls(*checkpoint_text(note.text), note)


def checkpoint_text(text: str) -> Tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint. More lines are signed too, and say nothing here."""
    lines = text[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise Malformed("a checkpoint's text is not three lines or more: origin, size and root")
    if len(lines[0].encode("utf-8")) > LONGEST_NAME:
        raise Malformed(f"an origin has more than {LONGEST_NAME} bytes")
    return lines[0], decimal(lines[1]), hash_from_base64(lines[2])


def with_one_line_between(text: str) -> str:
    """Checkpoints with one empty line between them, of a file in which there may be none, or several.

    Signatures end a checkpoint, and whatever follows begins the next one.
    """
    lines: List[str] = []
    at = "between"
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        if at in ("between", "signed") and line == "\n":
            at = "between"
            continue
        begins = at == "between" or (at == "signed" and not line.startswith(SIGNATURE_START))
        if begins:
            lines += ["\n"] if lines else []
            at = "text"
        elif at == "text":
            at = "signatures" if line == "\n" else "text"
        elif line.startswith(SIGNATURE_START):
            at = "signed"
        lines.append(line)
    return "".join(lines)


def parse_checkpoints(text: str) -> List[Checkpoint]:
    """The checkpoints of a checkpoint file. Each has two runs of lines, its text and its signatures."""
    runs = text.split("\n\n")
    if len(runs) % 2:
        raise Malformed("it is not checkpoints with an empty line between them")
    last = len(runs) - 2
    return [
        Checkpoint.parse(f"{runs[i]}\n\n{runs[i + 1]}" + ("\n" if i < last else "")) for i in range(0, len(runs), 2)
    ]


STABLE, EPOCH = "stable", "epoch"


@dataclass
class TrustedKey:
    """A key that is trusted in a role, for checkpoints of sizes from `since` to `until`."""

    key: Key
    role: str
    since: int = 0
    until: Optional[int] = None
    given: bool = False

    def trusted_for(self, size: int) -> bool:
        return self.since <= size and (self.until is None or size <= self.until)


AnyKey = TypeVar("AnyKey", "TrustedKey", "Predecessor")


@dataclass
class Predecessor:
    """A key that a trusted one took over from, by the event `until`."""

    key: Key
    role: str
    successor: Key
    cause: str
    until: int
    since: int = 0

    def may_sign(self, size: int) -> bool:
        return self.since <= size <= self.until

    def readings(self) -> str:
        """What a checkpoint by this key says that does not fit."""
        compromised = ", which the log says was compromised" if self.cause == "compromised" else ""
        return (
            f"it is signed by {self.key}{compromised}, which {self.successor} took over from at event {self.until}: "
            "either the log was rewritten since, or whoever has the retired key signed for another log"
        )


class NotJudged(Exception):
    """No key that is known here signed the checkpoint: it says nothing, for or against."""


@dataclass
class Trust:
    """The keys that a verifier trusts: those that it was given, and those that trust was handed on to."""

    keys: List[TrustedKey] = field(default_factory=list)
    not_checked: Set[str] = field(default_factory=set)  # keys whose signatures this installation cannot check
    predecessors: List[Predecessor] = field(default_factory=list)

    def needs_epoch(self) -> bool:
        """Whether an epoch key was given. Then a checkpoint must have a signature in that role."""
        return any(trusted.role == EPOCH for trusted in self.keys)

    def counts(self, role: str) -> bool:
        return role == EPOCH or not self.needs_epoch()

    def good_signers(self, note: Note, keys: Sequence[AnyKey]) -> List[AnyKey]:
        """Those of `keys` that signed the note. Malformed if a signature by the name and id of one is not good."""
        signers: List[AnyKey] = []
        for signature in note.signatures:
            named = [t for t in keys if (t.key.name, t.key.id) == (signature.name, signature.key_id)]
            if len({t.key for t in named}) > 1:
                raise Malformed(f"two different keys are named {named[0].key}: nobody can tell which signed")
            if named and not named[0].key.can_be_checked():
                self.not_checked.add(str(named[0].key))
                continue
            good = [t for t in named if t.key.signed(note.text, signature.signature)]
            if named and not good:
                raise Malformed(f"the signature by {named[0].key} is not good")
            signers.extend(t for t in good if t not in signers)
        return signers

    def signer(self, checkpoint: Checkpoint) -> Key:
        """The key for which the checkpoint is taken, where there is no log that leads back to others."""
        try:
            taken = self.taken(checkpoint)
        except NotJudged as error:
            raise Failure(None, "checkpoint-signature", str(error)) from error
        return taken.key

    def taken(self, checkpoint: Checkpoint) -> Union[TrustedKey, Predecessor]:
        """For which key the checkpoint is taken: the check `checkpoint-signature`, and the steps of section 11."""

        def fail(why: object) -> NoReturn:
            raise Failure(None, "checkpoint-signature", f"checkpoint of size {checkpoint.size}: {why}")

        try:
            signers = self.good_signers(checkpoint.note, self.keys)
        except Malformed as error:
            fail(error)
        # A key of the log is an Ed25519 key with the origin as its name. All others are those of witnesses.
        signers = [t for t in signers if may_sign_for(t.key, checkpoint.origin)]
        in_time = [t for t in signers if t.trusted_for(checkpoint.size)]
        for trusted in in_time:
            if self.counts(trusted.role):
                return trusted
        try:
            before = self.good_signers(checkpoint.note, self.predecessors)
        except Malformed as error:
            fail(error)
        for predecessor in before:
            if predecessor.may_sign(checkpoint.size) and self.counts(predecessor.role):
                return predecessor
        if in_time or any(p.may_sign(checkpoint.size) for p in before):
            fail("no epoch key that is trusted for this size signed it")
        if signers:
            fail(f"{signers[0].key} signed it, but is not trusted for this size")
        if before:
            fail(f"{before[0].key} signed it, which event {before[0].until} retired: whoever signed has a retired key")
        keys = ", ".join(str(t.key) for t in self.keys)
        by = ", ".join(f"{shown(s.name, quotes=False)}+{s.key_id.hex()}" for s in checkpoint.note.signatures)
        raise NotJudged(
            f"the checkpoint of size {checkpoint.size} of {shown(checkpoint.origin)} is signed by {by}, and none of "
            f"these is a key that is known here and signs for that log; known are {keys}"
        )


def may_sign_for(key: Key, origin: str) -> bool:
    return key.name == origin and key.type == ED25519


# ---------------------------------------------------------------------------------------------------------------------
# Section 1: the file of a log
# ---------------------------------------------------------------------------------------------------------------------

APPLICATION_ID = 0x416E6C73
KNOWN_SCHEMAS = (1, 2, 3, 4)
SMALLEST_PAGE = 512  # of SQLite
LONGEST_JUDGED_ENTRY = 1 << 20  # an entry beyond it is none; those up to it are judged by their bytes
LONGEST_PAYLOAD = SALT + (64 << 20)  # what a writer may write
LONGEST_STORED_NOTE = 1 << 20

Row = Tuple[Any, Any, Any, Any, Any]  # seq, event_id, entry, payload, hash

# NOT INDEXED: the rows are read from the table itself, and never from an index that a file might bring along.
# What is no blob, or longer than anything that its column has, is not read into memory: NULL stands for it, and for a
# payload that is no blob the name of its type, for one that is too long its length.
ROWS = f"""
    SELECT seq,
           CASE WHEN typeof(event_id) = 'blob' AND length(event_id) = 16 THEN event_id END,
           CASE WHEN typeof(entry) = 'blob' AND length(entry) <= {LONGEST_JUDGED_ENTRY} THEN entry END,
           CASE WHEN payload IS NULL THEN NULL
                WHEN typeof(payload) <> 'blob' THEN typeof(payload)
                WHEN length(payload) <= {LONGEST_PAYLOAD} THEN payload
                ELSE length(payload) END,
           CASE WHEN typeof(hash) = 'blob' AND length(hash) = 32 THEN hash END
    FROM log NOT INDEXED ORDER BY seq"""

# SQLite before 3.43 reads a text to tell its length.
LENGTH = "octet_length" if sqlite3.sqlite_version_info >= (3, 43) else "length"


# What reading a file can raise. The messages of SQLite quote the file, and then need not be UTF-8.
READ_ERRORS = (sqlite3.Error, UnicodeDecodeError)


def said(error: Exception) -> str:
    """What SQLite says, which may quote the file."""
    if isinstance(error, UnicodeDecodeError):
        return shown(error.object.decode("utf-8", "replace"), quotes=False)
    return shown(str(error), quotes=False)


def unreadable(error: Exception) -> Failure:
    return Failure(None, "damage", f"SQLite cannot read the file: {said(error)}")


# A page that should be there is not: the file was cut off. Python tells the codes of SQLite from 3.11 on.
SHORT_READ = 10 | 2 << 8


def unavailable(error: Exception) -> bool:
    """Whether an error of SQLite speaks of the surroundings and not of what the file holds."""
    if not isinstance(error, sqlite3.OperationalError) or getattr(error, "sqlite_errorcode", None) == SHORT_READ:
        return False
    return bool(
        re.search(
            r"locked|unable to open|readonly|read-only|attempt to write|out of memory|unsupported file format"
            r"|disk I/O error|disk is full|interrupted|permission denied",
            str(error),
        )
    )


@dataclass
class LogFile:
    """A log that is open for reading, in one transaction: all reads see the same state."""

    database: sqlite3.Connection
    with_wal: bool
    schema: int

    def rows(self) -> Iterator[Row]:
        """All rows. What SQLite cannot read is raised after the last one that it can."""
        number = 0
        try:
            for row in self.database.execute(ROWS):
                yield row
                number += 1
        except READ_ERRORS as error:
            # Python reads a row ahead, and drops the one that it has when that cannot be read.
            with contextlib.suppress(*READ_ERRORS):
                yield from self.database.execute(f"{ROWS} LIMIT 1 OFFSET ?", (number,))
            raise error

    def entries(self, events: int) -> Iterator[bytes]:
        """The entries of the first events of the log."""
        for (entry,) in self.database.execute("SELECT entry FROM log NOT INDEXED ORDER BY seq LIMIT ?", (events,)):
            yield entry

    def event_ids(self) -> Iterator[Any]:
        for (event_id,) in self.database.execute("SELECT event_id FROM log NOT INDEXED"):
            yield event_id

    def payload(self, seq: int, digest: bytes) -> bytes:
        """The payload of an event that was judged, and had this digest."""
        found = self.database.execute("SELECT payload FROM log NOT INDEXED WHERE seq = ?", (seq,)).fetchone()
        if found is None or not isinstance(found[0], bytes) or payload_digest(found[0]) != digest:
            raise sqlite3.DatabaseError(f"event {seq} is not found again as it was")
        return found[0]

    def other_redactions(self) -> int:
        """How many values the table `redactions` holds that are no integers."""
        count = "SELECT count(*) FROM redactions NOT INDEXED WHERE typeof(seq) <> 'integer'"
        return int(self.database.execute(count).fetchone()[0])

    def redactions(self) -> Iterator[int]:
        for (seq,) in self.database.execute("SELECT seq FROM redactions NOT INDEXED ORDER BY seq"):
            yield seq

    def stored_checkpoints(self) -> Iterator[Any]:
        """The notes of the table `checkpoints`. It is not evidence, so a file may come without it."""
        if self.schema >= 2 and has_table(self.database, "checkpoints"):
            notes = f"SELECT CASE WHEN {LENGTH}(note) <= {LONGEST_STORED_NOTE} THEN note END FROM checkpoints ORDER BY size"
            for (note,) in self.database.execute(notes):
                yield note


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[LogFile]:
    """Opens a log for reading. The beginning of this file says how, and what becomes of a `-wal` beside it."""
    try:
        before = os.stat(path)
    except (OSError, ValueError) as error:
        raise CannotCheck(f"{shown(str(path))} cannot be read: {reason_of(error)}") from error
    if not stat.S_ISREG(before.st_mode):
        raise CannotCheck(f"{shown(str(path))} is no file")
    if before.st_size < SMALLEST_PAGE:
        raise CannotCheck("the file is no SQLite database: it is shorter than a page of one")
    path = path.resolve()
    with_wal = holds(path, "-wal")
    immutable = not with_wal and not holds(path, "-journal")
    database = connect(path, immutable)
    try:
        yield LogFile(database, with_wal, schema_of(database, path))
    except READ_ERRORS as error:
        if not unavailable(error):
            raise
        raise CannotCheck(f"SQLite cannot read the file: {said(error)}") from error
    finally:
        database.close()
    after = os.stat(path)
    changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
    if immutable and (changed or holds(path, "-wal")):
        raise CannotCheck("the log changed while it was read; try again")


def holds(path: Path, suffix: str) -> bool:
    """Whether a file beside the log holds anything. Whoever opens the log to read it leaves an empty one there."""
    try:
        return os.stat(str(path) + suffix).st_size > 0
    except OSError:
        return False


def connect(path: Path, immutable: bool) -> sqlite3.Connection:
    uri = path.as_uri() + ("?mode=ro&immutable=1" if immutable else "?mode=ro")
    try:
        database = sqlite3.connect(uri, uri=True, isolation_level=None)
        # Text stays apart from blobs, and need not be UTF-8: a row that holds some where a blob belongs is judged.
        database.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        # Nothing that a hostile schema holds is run on reading.
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("BEGIN")
        database.execute("PRAGMA application_id").fetchone()  # the first look at the file, and at its header alone
    except sqlite3.OperationalError as error:
        hint = "" if immutable else "; copy it together with its -wal file to a folder that can be written"
        raise CannotCheck(f"SQLite cannot open the file: {said(error)}{hint}") from error
    except READ_ERRORS as error:
        if "not a database" in str(error):
            raise CannotCheck("the file is no SQLite database") from error
        raise unreadable(error) from error
    return database


def schema_of(database: sqlite3.Connection, path: Path) -> int:
    """The version of the schema of a file that is a log."""
    application = database.execute("PRAGMA application_id").fetchone()[0]
    schema = database.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise CannotCheck(f"{shown(str(path))} is no log of Annals")
    if schema > max(KNOWN_SCHEMAS):
        raise CannotCheck(f"the log has schema {schema}: it was made by a newer Annals, and a newer verifier is needed")
    if schema not in KNOWN_SCHEMAS:
        raise CannotCheck(f"the log has schema {schema}, which no Annals writes")
    for table, columns in (("log", "seq, event_id, entry, payload, hash"), ("redactions", "seq")):
        if not has_table(database, table):
            raise Failure(None, "damage", f"the file does not have the ordinary table {table}")
        try:
            database.execute(f"SELECT {columns} FROM {table} NOT INDEXED LIMIT 0").fetchone()
        except READ_ERRORS as error:
            if unavailable(error):
                raise
            raise Failure(None, "damage", f"the table {table} is not as it should be: {said(error)}") from error
    return int(schema)


def has_table(database: sqlite3.Connection, name: str) -> bool:
    """Whether there is an ordinary table of this name: no view, and no virtual one, which can make up rows.

    The statement decides: it is what SQLite goes by, and the number of a page can be any. Old SQLite libraries do not
    compare the name in the statement with that of the row.
    """
    kinds = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?"
    found = database.execute(kinds, (name,)).fetchall()
    made = rf"""CREATE TABLE ({name}[\s(/-]|"{name}"|'{name}'|`{name}`|\[{name}\])"""
    return len(found) == 1 and re.match(made, str(found[0][0])) is not None


# ---------------------------------------------------------------------------------------------------------------------
# Sections 7 and 8: judging the rows of a log
# ---------------------------------------------------------------------------------------------------------------------


# A hostile file may have any number of long texts to say: what is kept of them to be shown has these bounds.
MOST_REMARKS = 50
LONGEST_SHOWN = 500


def redacted_seqs(cell: bytes) -> Iterator[int]:
    """The seqs that the well-formed payload of a payload.redacted names, one by one."""
    count, at = decode_u64(cell, SALT)
    for _ in range(count):
        seq, at = decode_u64(cell, at)
        yield seq


@dataclass
class Licence:
    """What a valid licence says, cut to what can be printed."""

    seq: int
    names: int
    first: Optional[int]
    actor: str
    reason: str
    authority: Optional[str]


class Chain:
    """The rows of a log, judged one by one in the order of seq."""

    def __init__(self) -> None:
        self.events = 0  # rows without a failure before the first with one
        self.head = NO_LINK  # the link of the last of them
        self.failure: Optional[Failure] = None
        self.last_read: Any = None  # seq of the last row that could be read
        self.damage: Optional[str] = None  # what SQLite cannot read
        self.origin: Optional[str] = None
        self.log_id: Optional[bytes] = None
        self.nulls: Set[int] = set()  # events whose NULL payload came as far as the check `redaction`
        self.licensed: Set[int] = set()  # events that valid licences name
        self.reserved: Set[int] = set()  # events of reserved kinds
        self.licences: List[Licence] = []
        self.key_changes: Dict[int, bytes] = {}  # seqs of key.changed, and the digests of their payloads
        self.lost_unnamed = 0  # events that were refused, and whose ids nobody noted
        self.lost_named: Set[bytes] = set()  # ids of events that were refused
        # For each session with declarations of coverage: what each run of a program announced, and what is recorded.
        self.announced: Dict[str, Dict[Tuple[str, Optional[str]], Dict[str, int]]] = {}
        self.recorded: Dict[str, Dict[str, int]] = {}
        self.opaque = 0  # payloads that are there and that this verifier does not know
        self.clock_set_back = 0
        self.recorded_at: Optional[int] = None

    def read(self, rows: Iterator[Row]) -> None:
        """Judges all rows, and names the first failure in them."""
        broken: Optional[Failure] = None  # the failure at row m of section 8
        try:
            for row in rows:
                self.last_read = row[0]
                if broken is None:
                    try:
                        self.judge(row)
                        continue
                    except Failure as failure:
                        broken = failure
                self.search(row)
        except READ_ERRORS as error:
            if unavailable(error):
                raise
            self.damage = (
                f"SQLite cannot read on: {said(error)}; the last row that could be read is {shown_seq(self.last_read)}"
            )
        if broken is None and self.damage is None and self.events == 0:
            broken = Failure(1, "sequence", "the log has no events")
        self.failure = self.first_failure(broken)

    def first_failure(self, broken: Optional[Failure]) -> Optional[Failure]:
        """Which failure is the first, once licences that come later are known."""
        if self.damage is not None:
            # Licences may be in what could not be read, so nothing is said of NULL payloads.
            return broken or Failure(None, "damage", self.damage)
        unlicensed = min(self.nulls - self.licensed, default=None)
        if unlicensed is None:
            return broken
        missing = Failure(unlicensed, "redaction", "the payload is gone, and no valid licence names the event")
        if broken is None or broken.seq is None or unlicensed < broken.seq:
            return missing
        return missing if unlicensed == broken.seq and broken.check == "link" else broken

    def events_lost(self) -> int:
        """Refused events that are not in the log, once the ids that are in it are struck out."""
        return self.lost_unnamed + len(self.lost_named)

    def good_events(self) -> int:
        """How many events are before the first bad one."""
        bad = None if self.failure is None else self.failure.seq
        return self.events if bad is None else min(self.events, bad - 1)

    def judge(self, row: Row) -> None:
        """The checks of section 8 in their order. Raises the first that fails."""
        seq, event_id, data, payload, link = row
        expected = self.events + 1

        def fail(check: str, detail: str) -> NoReturn:
            raise Failure(expected, check, detail)

        if type(seq) is not int or seq != expected:
            fail("sequence", f"the row found in its place has seq {shown_seq(seq)}")
        if isinstance(data, bytes) and data and data[0] != FORMAT:
            fail("format", f"the entry has format {data[0]}: a newer verifier is needed, if it was not tampered with")
        try:
            entry = read_entry(data)
        except Malformed as error:
            fail("entry", str(error))
        if entry["seq"] != seq:
            fail("identity", f"the entry says that it is event {entry['seq']}")
        if not isinstance(event_id, bytes) or event_id != entry["event_id"]:
            fail("identity", "the row's event id is not the entry's")
        if (expected == 1) != (entry["kind"] == LOG_CREATED):
            fail("first-event", f"the event is of kind {kind_name(entry)}")
        if expected == 1 and entry["session"] is not None:
            fail("first-event", "the event that creates the log has a session")
        if payload is not None:
            if type(payload) is int:
                fail("payload", f"the payload has {payload} bytes, more than any that is written, and was not read")
            if not isinstance(payload, bytes):
                fail("payload-digest", "the payload is no blob")
            check_payload(entry, payload)
        self.check_redaction(entry, payload)
        leaf = self.head + data
        if not isinstance(link, bytes) or link != link_of(leaf):
            fail("link", "the link does not follow from the entry and the link before")
        self.take(entry, payload, link)

    def check_redaction(self, entry: Entry, payload: Optional[bytes]) -> None:
        seq = entry["seq"]
        if payload is None:
            if is_reserved(entry["kind"]):
                raise Failure(seq, "redaction", f"the payload of a {kind_name(entry)} is gone, which is never redacted")
            self.nulls.add(seq)  # judged at the end of the log: its licence comes later
        elif layout_of(entry) == "payload.redacted":
            for named in redacted_seqs(payload):
                if not self.may_name(seq, named):
                    raise Failure(seq, "redaction", f"the licence names event {named}, which it cannot redact")
                if named not in self.nulls:
                    raise Failure(seq, "redaction", f"the licence names event {named}, whose payload is there")

    def may_name(self, licence: int, named: int) -> bool:
        return 1 <= named < licence and named not in self.reserved

    def take(self, entry: Entry, payload: Optional[bytes], link: bytes) -> None:
        """Keeps what is needed of a row that passed all checks."""
        self.events, self.head = entry["seq"], link
        if self.recorded_at is not None and entry["recorded_at"] < self.recorded_at:
            self.clock_set_back += 1
        self.recorded_at = entry["recorded_at"]
        layout = layout_of(entry)
        if payload is not None and layout is None:
            self.opaque += 1
        if payload is not None and layout == "coverage.declared" and entry["session"] is not None:
            self.announce(entry["session"], decode_all(decoder(layout), payload, SALT))
        if not is_reserved(entry["kind"]):
            return
        self.reserved.add(entry["seq"])
        if payload is not None and layout == "payload.redacted":
            self.license(entry, payload)
        elif payload is not None and entry["kind"] == EVENTS_LOST and layout is not None:
            lost = decode_all(decoder(layout), payload, SALT)
            ids = set(lost.get("ids", ()))
            self.lost_unnamed += max(0, lost["count"] - len(ids))
            self.lost_named |= ids
        elif layout == "key.changed":
            self.key_changes[entry["seq"]] = entry["payload_digest"]
        elif entry["kind"] == LOG_CREATED:
            self.log_id = entry["event_id"]
            if payload is not None and layout is not None:
                self.origin = decode_string(payload, SALT)[0]

    def announce(self, session: str, declared: Dict[str, Any]) -> None:
        run = (declared["source"], declared.get("instance"))
        kinds = self.announced.setdefault(session, {}).setdefault(run, {})
        for kind, count in declared["announced"].items():
            kinds[kind] = max(kinds.get(kind, 0), count)

    def count_recorded(self, entries: Iterator[bytes]) -> None:
        """Counts the events of the sessions with declarations. Only now is it known which these are."""
        for data in entries:
            entry = read_entry(data)
            if entry["session"] in self.announced:
                kinds = self.recorded.setdefault(entry["session"], {})
                kinds[kind_name(entry)] = kinds.get(kind_name(entry), 0) + 1

    def coverage_gaps(self) -> List[Dict[str, Any]]:
        """The events that were announced and are not recorded, by session and kind."""
        gaps = []
        for session in sorted(self.announced, key=str.encode):
            announced: Dict[str, int] = {}
            sources: Dict[str, Set[str]] = {}
            for (source, _), kinds in self.announced[session].items():
                for kind, count in kinds.items():
                    announced[kind] = announced.get(kind, 0) + count
                    sources.setdefault(kind, set()).add(source)
            recorded = self.recorded.get(session, {})
            for kind in sorted(announced, key=str.encode):
                if announced[kind] > recorded.get(kind, 0):
                    gaps.append(
                        {
                            "session_id": session,
                            "kind": kind,
                            "sources": sorted(sources[kind]),
                            "announced": announced[kind],
                            "recorded": recorded.get(kind, 0),
                        }
                    )
        return gaps

    def search(self, row: Row) -> None:
        """Reads a row from the first failure on, for valid licences alone."""
        seq, event_id, data, payload, _ = row
        try:
            entry = read_entry(data)
        except Malformed:
            return
        if type(seq) is not int or entry["seq"] != seq or event_id != entry["event_id"]:
            return
        if is_reserved(entry["kind"]):
            self.reserved.add(seq)
        if entry["kind"] != PAYLOAD_REDACTED or layout_of(entry) is None or not isinstance(payload, bytes):
            return
        try:
            check_payload(entry, payload)
        except Failure:
            return
        if all(self.may_name(seq, named) for named in redacted_seqs(payload)):
            self.license(entry, payload)

    def license(self, entry: Entry, payload: bytes) -> None:
        names, first = 0, None
        for seq in redacted_seqs(payload):
            self.licensed.add(seq)
            names += 1
            first = seq if first is None else min(first, seq)
        at = SALT
        _, at = decoder("list(u64)", False)(payload, at)
        actor, at = decode_string(payload, at)
        reason, at = decode_string(payload, at)
        authority, at = decoder("option(string)")(payload, at)
        cut = LONGEST_SHOWN
        self.licences.append(
            Licence(entry["seq"], names, first, actor[:cut], reason[:cut], authority and authority[:cut])
        )


def check_redactions_table(log: LogFile, licensed: Set[int]) -> Optional[Failure]:
    """Holds the table `redactions` against the licences. Both are gone through in order, up to the first difference."""
    if log.other_redactions():
        return Failure(None, "redaction", "the table redactions holds what is no seq")
    table = log.redactions()
    named = iter(sorted(licensed))
    expected = next(named, None)
    before: Any = None
    for seq in table:
        if seq == before:
            continue
        if expected is not None and seq > expected:
            break
        if seq != expected:
            return Failure(seq, "redaction", "the table redactions holds an event that no licence names")
        before, expected = seq, next(named, None)
    if expected is not None:
        return Failure(expected, "redaction", "a licence names the event, but the table redactions does not hold it")
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Section 11: changes of keys, and anchors
# ---------------------------------------------------------------------------------------------------------------------


def roots_at(log: LogFile, chain: Chain, sizes: Set[int]) -> Dict[int, bytes]:
    """The roots of the log's trees of these sizes, from its leaves, as far as the chain was found good."""
    tree, link = Tree(), NO_LINK
    roots = {0: tree.root()} if 0 in sizes else {}
    for entry in log.entries(chain.events):
        leaf = link + entry
        link = link_of(leaf)
        tree.append(leaf_hash(leaf))
        if tree.size in sizes:
            roots[tree.size] = tree.root()
    if link != chain.head:
        raise sqlite3.DatabaseError("the entries are not found again as they were")
    return roots


@dataclass(frozen=True)
class Certificate:
    """The text of a certificate, taken apart."""

    origin: str
    role: str
    vkey: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, note: Note) -> Certificate:
        lines = note.text[:-1].split("\n")
        if len(lines) != 6 or lines[0] != "annals key change":
            raise Malformed("its text is not that of a certificate")
        return cls(lines[1], lines[2], lines[3], decimal(lines[4]), hash_from_base64(lines[5]))


@dataclass(frozen=True)
class KeyChange:
    """An event that changes a key."""

    seq: int
    role: str
    vkey: str
    previous: Optional[str]
    certificate: Optional[str]
    cause: str
    actor: str
    reason: Optional[str]

    @classmethod
    def read(cls, seq: int, payload: bytes) -> KeyChange:
        return cls(seq, **decode_all(decoder("key.changed"), payload, SALT))

    def note(self) -> Optional[Note]:
        """The note that the certificate is, if it is one."""
        try:
            return None if self.certificate is None else Note.parse(self.certificate)
        except Malformed:
            return None

    def sizes(self) -> List[int]:
        """The size that the certificate names, if it names one."""
        note = self.note()
        try:
            return [] if note is None else [Certificate.parse(note).size]
        except Malformed:
            return []

    def hand_on(self, trust: Trust, origin: Optional[str], roots: Dict[int, bytes]) -> Optional[str]:
        """Hands trust on to the new key, or returns why it does not. Raises Failure for the check `key-change`."""
        if self.certificate is None:
            return "there is no certificate"
        note = self.note()
        if note is None:
            return "the certificate is no signed note"
        if self.cause == "lost":
            return "the key before it was lost, and yet there is a certificate: nobody can tell whose"
        # Each key hands on once: one that is retired cannot, even if it signs for sizes before that.
        able = [t for t in trust.keys if t.role == self.role and t.until is None and same_key(self.previous, t.key)]
        # One that is not the log's signs nothing for it, this neither.
        able = [t for t in able if origin is None or may_sign_for(t.key, origin)]
        if not able:
            return f"the key before it is not one that is trusted as {self.role} key here"
        try:
            # Others of its name and id as well: then nobody can tell which of them signed.
            names = {(t.key.name, t.key.id) for t in able}
            signers = trust.good_signers(note, [t for t in trust.keys if (t.key.name, t.key.id) in names])
        except Malformed as error:
            raise self.failure(str(error)) from error
        if not signers:
            return "the key before it did not sign the certificate"
        new, size = self.fitting(note, origin, roots)
        if all(size < trusted.since for trusted in able):
            raise self.failure(f"the certificate is for size {size}, for which its signer is not trusted yet")
        for trusted in able:
            trusted.until = self.seq
        if self.cause == "compromised":
            return "the key before it was compromised: it is retired, and trust in this one must come from elsewhere"
        trust.keys.append(TrustedKey(new, self.role, since=size))
        return None

    def key_before(self, successor: Key, origin: Optional[str], roots: Dict[int, bytes]) -> Optional[Tuple[Key, int]]:
        """The key that `successor` took over from by this event, and the size of its certificate."""
        note = self.note()
        if note is None or self.previous is None or self.cause == "lost":
            return None
        try:
            previous = Key.parse(self.previous)
            if not Trust().good_signers(note, [TrustedKey(previous, self.role)]):
                return None
            new, size = self.fitting(note, origin, roots)
        except (Malformed, Failure):
            return None
        return (previous, size) if new == successor and may_sign_for(previous, new.name) else None

    def fitting(self, note: Note, origin: Optional[str], roots: Dict[int, bytes]) -> Tuple[Key, int]:
        """The new key and the size of a certificate by a trusted key, which must fit the event and the log."""
        try:
            certificate = Certificate.parse(note)
            new = Key.parse(self.vkey)
        except Malformed as error:
            raise self.failure(str(error)) from error
        if new.name != certificate.origin or origin not in (None, new.name) or new.type != ED25519:
            raise self.failure("the certificate or its new key is not of this log")
        if (certificate.role, certificate.vkey) != (self.role, self.vkey):
            raise self.failure("the certificate is for another key or role than the event")
        if certificate.size >= self.seq:
            raise self.failure("the certificate is for a size that the log did not have yet")
        if roots[certificate.size] != certificate.root:
            raise self.failure(f"the log's tree of size {certificate.size} has another root than the certificate says")
        return new, certificate.size

    def failure(self, detail: str) -> Failure:
        return Failure(self.seq, "key-change", detail)


def same_key(vkey: Optional[str], key: Key) -> bool:
    try:
        return vkey is not None and Key.parse(vkey) == key
    except Malformed:
        return False


@dataclass
class JudgedChange:
    """A change of keys, and whether trust was handed on to the new key."""

    seq: int
    role: str
    vkey: str
    previous: Optional[str]
    cause: str
    actor: str
    reason: Optional[str]
    certified: Optional[bool]  # None if it was not judged
    why: Optional[str]  # it is not certified, or was not judged
    given: bool  # the key that it names was given
    leads_back: bool = False  # trust goes back by it to the key before

    @classmethod
    def of(cls, change: KeyChange, certified: Optional[bool], why: Optional[str], given: bool) -> JudgedChange:
        def cut(text: Optional[str]) -> Optional[str]:
            return text and text[:LONGEST_SHOWN]

        return cls(
            change.seq,
            change.role,
            change.vkey[:LONGEST_SHOWN],
            cut(change.previous),
            change.cause,
            change.actor[:LONGEST_SHOWN],
            cut(change.reason),
            certified,
            why,
            given,
        )


@dataclass
class LogVerdict:
    """All that is said of a log."""

    chain: Chain
    with_wal: bool
    failure: Optional[Failure] = None  # the first
    further_failures: List[Failure] = field(default_factory=list)
    root: Optional[bytes] = None
    anchored_to: Optional[int] = None  # by checkpoints that were given
    anchored_by: Optional[Key] = None
    signed_to: Optional[int] = None  # by checkpoints of the file's own
    signed_by: Optional[Key] = None
    key_changes: List[JudgedChange] = field(default_factory=list)
    by_predecessors: List[str] = field(default_factory=list)  # checkpoints that fit, by keys before the trusted ones
    not_checked: List[str] = field(default_factory=list)  # for want of a key
    had_keys: bool = False
    remarks: List[str] = field(default_factory=list)
    more_remarks: int = 0  # that were not kept: a hostile file may give cause for any number

    def fail(self, failure: Failure) -> None:
        if self.failure is None:
            self.failure = failure
        elif len(self.further_failures) < MOST_REMARKS:
            self.further_failures.append(failure)
        else:
            self.more_remarks += 1

    def remark(self, text: str) -> None:
        if len(self.remarks) < MOST_REMARKS:
            self.remarks.append(text)
        else:
            self.more_remarks += 1


def verify_log(path: Path, given: Sequence[Checkpoint], trust: Trust) -> LogVerdict:
    """Judges rows, the table `redactions`, changes of keys, given checkpoints, and stored ones, in this order."""
    with open_log(path) as log:
        chain = Chain()
        chain.read(log.rows())
        verdict = LogVerdict(chain, log.with_wal, failure=chain.failure, had_keys=bool(trust.keys))
        if chain.damage is not None and chain.failure is not None and chain.failure.check != "damage":
            verdict.remark(chain.damage)
        with damage_said(verdict):
            if verdict.failure is None:
                verdict.failure = check_redactions_table(log, chain.licensed)
        with damage_said(verdict):
            if chain.lost_named and chain.damage is None:
                chain.lost_named.difference_update(log.event_ids())
        with damage_said(verdict):
            if chain.announced:
                chain.count_recorded(log.entries(chain.good_events()))
        with damage_said(verdict):
            judge_signatures(log, verdict, given, trust)
    return verdict


@contextlib.contextmanager
def damage_said(verdict: LogVerdict) -> Iterator[None]:
    """Makes a failure of what SQLite cannot read."""
    try:
        yield
    except READ_ERRORS as error:
        if unavailable(error):
            raise
        verdict.fail(unreadable(error))


def judge_signatures(log: LogFile, verdict: LogVerdict, given: Sequence[Checkpoint], trust: Trust) -> None:
    """Section 11, for the events before the first bad one. Without keys nothing in it says anything."""
    chain = verdict.chain
    changes = {seq: digest for seq, digest in chain.key_changes.items() if seq <= chain.good_events()}
    stored, damage = read_stored(log, verdict) if trust.keys else ([], None)
    sizes = {chain.events} | {c.size for c in given} | {c.size for c in stored}
    for seq, digest in changes.items():
        sizes.update(KeyChange.read(seq, log.payload(seq, digest)).sizes())
    roots = roots_at(log, chain, sizes)
    verdict.root = roots[chain.events]
    judged: List[KeyChange] = []
    for seq, digest in changes.items():
        judged.append(KeyChange.read(seq, log.payload(seq, digest)))
        judge_change(verdict, judged[-1], trust, roots)
    look_back(verdict, judged, trust, covered(verdict, [*given, *stored], trust, roots), roots)
    signed: List[Checkpoint] = []
    for checkpoint in given:
        if anchor(verdict, checkpoint, trust, roots):
            signed.append(checkpoint)
    find_split_views(verdict, signed)
    origin = chain.origin
    if trust.keys and not any(may_sign_for(t.key, t.key.name if origin is None else origin) for t in trust.keys):
        keys = ", ".join(str(t.key) for t in trust.keys)
        log = "any log" if origin is None else f"the log {shown(origin)}"
        verdict.not_checked.append(f"none of the keys given is one of {log}: {keys}")
    for checkpoint in stored:
        judge_stored(verdict, checkpoint, trust, roots)
    if damage is not None:
        verdict.fail(damage)


def covered(
    verdict: LogVerdict, checkpoints: Sequence[Checkpoint], trust: Trust, roots: Dict[int, bytes]
) -> int:
    """The largest size of a checkpoint that fits and that a trusted key signed: the key stands for events up to it."""
    size = 0
    for checkpoint in checkpoints:
        if checkpoint.size > size and misfit(verdict, checkpoint, roots) is None:
            try:
                trust.taken(checkpoint)
            except (Failure, NotJudged):
                continue
            size = checkpoint.size
    return size


def look_back(
    verdict: LogVerdict, changes: Sequence[KeyChange], trust: Trust, covered: int, roots: Dict[int, bytes]
) -> None:
    """Goes back from each given key, by the first event that names it, and so on from key to key."""
    first: Dict[Tuple[str, str], KeyChange] = {}
    for change in changes:
        first.setdefault((change.role, change.vkey), change)
    seqs: Set[int] = set()
    given = [t for t in trust.keys if t.given]
    for trusted in given:
        successor, before, largest = trusted.key, covered + 1, LARGEST_U64
        while True:
            event = first.get((trusted.role, successor.vkey()))
            if event is None or event.seq >= before:
                break
            found = event.key_before(successor, verdict.chain.origin, roots)
            if found is None or found[1] > largest:
                break
            previous, size = found
            if trust.predecessors and (trust.predecessors[-1].key, trust.predecessors[-1].role) == (
                successor,
                trusted.role,
            ):
                trust.predecessors[-1].since = size
            if any(t.key == previous and t.role == trusted.role for t in [*given, *trust.predecessors]):
                break
            trust.predecessors.append(Predecessor(previous, trusted.role, successor, event.cause, event.seq))
            seqs.add(event.seq)
            successor, before, largest = previous, event.seq, size
    for judged in verdict.key_changes:
        judged.leads_back = judged.seq in seqs


def judge_change(verdict: LogVerdict, change: KeyChange, trust: Trust, roots: Dict[int, bytes]) -> None:
    if not trust.keys:
        verdict.key_changes.append(JudgedChange.of(change, None, "no key was given", False))
        return
    given = any(t.given and t.role == change.role and same_key(change.vkey, t.key) for t in trust.keys)
    try:
        why = change.hand_on(trust, verdict.chain.origin, roots)
    except Failure as failure:
        why = failure.detail
        verdict.fail(failure)
    verdict.key_changes.append(JudgedChange.of(change, why is None, why, given))
    if change.role == EPOCH and any(t.role == STABLE and same_key(change.vkey, t.key) for t in trust.keys):
        verdict.remark(f"event {change.seq} names a key as epoch key that was given with --key: use --epoch-key")


def read_stored(log: LogFile, verdict: LogVerdict) -> Tuple[List[Checkpoint], Optional[Failure]]:
    """The checkpoints of the file; none, and a failure, if SQLite cannot read all of the table."""
    checkpoints: List[Checkpoint] = []
    try:
        for note in log.stored_checkpoints():
            try:
                checkpoints.append(Checkpoint.parse(note if isinstance(note, str) else ""))
            except Malformed as error:
                verdict.remark(f"a checkpoint in the table checkpoints cannot be read: {error}")
    except READ_ERRORS as error:
        if unavailable(error):
            raise
        return [], unreadable(error)
    return checkpoints, None


def anchor(verdict: LogVerdict, checkpoint: Checkpoint, trust: Trust, roots: Dict[int, bytes]) -> bool:
    """The checks of checkpoints, for one that the verifier was given. Whether it is signed as it should be."""
    try:
        taken = trust.taken(checkpoint)
    except Failure as failure:
        verdict.fail(failure)
        return False
    except NotJudged as error:
        verdict.not_checked.append(str(error))
        return False
    if not fits(verdict, checkpoint, roots, taken):
        return True
    if isinstance(taken, Predecessor):
        verdict.by_predecessors.append(
            f"the checkpoint of size {checkpoint.size} by {taken.key}, which event {taken.until} retired, fits"
        )
    # The log without events begins every log.
    elif checkpoint.size > (verdict.anchored_to or 0):
        verdict.anchored_to, verdict.anchored_by = checkpoint.size, taken.key
    return True


def find_split_views(verdict: LogVerdict, signed: Sequence[Checkpoint]) -> None:
    """The check `split-view`: of each origin and size, in their order, the first two of the given that differ."""
    first: Dict[Tuple[bytes, int], Checkpoint] = {}
    views: Dict[Tuple[bytes, int], str] = {}
    for checkpoint in signed:
        what = (checkpoint.origin.encode("utf-8"), checkpoint.size)
        if first.setdefault(what, checkpoint).root != checkpoint.root:
            views[what] = (
                f"two checkpoints of size {checkpoint.size} are both well signed and have different roots: "
                "whoever has the key signed for two different logs"
            )
    for what in sorted(views):
        verdict.fail(Failure(None, "split-view", views[what]))


def judge_stored(verdict: LogVerdict, checkpoint: Checkpoint, trust: Trust, roots: Dict[int, bytes]) -> None:
    """The same for one from the file: it says how far the log was signed.

    Who can write the file can delete it, so it anchors nothing, and can put there what they like, so one that no
    trusted key signed is only worth a remark. One that a trusted key did sign must fit.
    """
    try:
        taken = trust.taken(checkpoint)
    except (Failure, NotJudged) as error:
        verdict.remark(f"not counted, in the table checkpoints: {error}")
        return
    if fits(verdict, checkpoint, roots, taken) and isinstance(taken, TrustedKey):
        if checkpoint.size > (verdict.signed_to or 0):
            verdict.signed_to, verdict.signed_by = checkpoint.size, taken.key


def fits(
    verdict: LogVerdict, checkpoint: Checkpoint, roots: Dict[int, bytes], taken: Union[TrustedKey, Predecessor]
) -> bool:
    """Whether a checkpoint, whose signature is good, fits the log. If not, that is a failure."""
    found = misfit(verdict, checkpoint, roots)
    if isinstance(found, Failure):
        detail = found.detail + (f"; {taken.readings()}" if isinstance(taken, Predecessor) else "")
        verdict.fail(Failure(None, found.check, detail))
    elif found is not None:
        verdict.remark(found)
    return found is None


def misfit(verdict: LogVerdict, checkpoint: Checkpoint, roots: Dict[int, bytes]) -> Union[None, str, Failure]:
    """How a checkpoint does not fit the log; a text where that cannot be judged."""
    chain, size = verdict.chain, checkpoint.size
    if chain.failure is not None and size > chain.good_events():
        return f"the checkpoint of size {size} was not judged: it covers events from the first bad one on"
    if chain.origin is not None and checkpoint.origin != chain.origin:
        detail = f"the checkpoint is of {shown(checkpoint.origin)}, the log is {shown(chain.origin)}"
        return Failure(None, "checkpoint-origin", detail)
    if size > chain.events:
        detail = f"the checkpoint covers {size} events, the log has {chain.events}: it was cut off or set back"
        return Failure(None, "checkpoint-size", detail)
    if roots[size] != checkpoint.root:
        detail = f"the first {size} events are not those that the checkpoint covers: the log was written anew"
        return Failure(None, "checkpoint-root", detail)
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Section 12: proof files
# ---------------------------------------------------------------------------------------------------------------------

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
SESSION_HEADER = "annals session-proof v1"
MOST_HASHES = 63  # of a proof, as witnesses take
LONGEST_PROOF = 256 << 20


class Lines:
    """The lines of a proof file, taken one after the other."""

    def __init__(self, text: str) -> None:
        if not text.endswith("\n"):
            raise Malformed("the last line does not end in a newline")
        self.lines = text[:-1].split("\n")
        self.at = 0

    def peek(self) -> str:
        if self.at == len(self.lines):
            raise Malformed("the file ends too early")
        return self.lines[self.at]

    def take(self) -> str:
        line = self.peek()
        self.at += 1
        return line

    def take_after(self, word: str) -> str:
        """The rest of a line that begins with the word and a space."""
        line = self.take()
        if not line.startswith(word + " "):
            raise Malformed(f"line {self.at} should begin with {word}")
        return line[len(word) + 1 :]

    def take_exactly(self, *choices: str) -> str:
        line = self.take()
        if line not in choices:
            raise Malformed(f"line {self.at} should be {' or '.join(map(shown, choices))}")
        return line

    def take_block(self) -> Iterator[str]:
        """The lines up to an empty one, which is taken too."""
        while True:
            line = self.take()
            if not line:
                return
            yield line

    def take_hashes(self) -> List[bytes]:
        """Hashes up to an empty line. The largest tree needs no more than these."""
        hashes = []
        for line in self.take_block():
            if len(hashes) == MOST_HASHES:
                raise Malformed(f"there are more than {MOST_HASHES} hashes")
            hashes.append(hash_from_base64(line))
        return hashes

    def take_checkpoint(self) -> Checkpoint:
        """The checkpoint that the rest of the file is."""
        rest = "\n".join(self.lines[self.at :]) + "\n"
        self.at = len(self.lines)
        return Checkpoint.parse(rest)


@dataclass(frozen=True)
class EventProof:
    index: int
    leaf: bytes
    payload: Optional[bytes]
    path: List[bytes]

    @classmethod
    def take(cls, lines: Lines) -> EventProof:
        extra = from_base64(lines.take_after("extra"))
        if extra and extra[0] != 1:
            raise CannotCheck(f"the proof has version {extra[0]}: a newer verifier is needed")
        fields = decode_all(decoder("extra"), extra)
        index = decimal(lines.take_after("index"))
        return cls(index, fields["leaf"], fields["payload"], lines.take_hashes())

    def check(self, checkpoint: Checkpoint) -> Entry:
        """All that section 12 asks of an event but for the signature. Returns its entry."""
        seq = self.index + 1
        if not inclusion_holds(self.index, checkpoint.size, leaf_hash(self.leaf), self.path, checkpoint.root):
            raise Failure(seq, "inclusion", "the leaf and the proof do not lead to the checkpoint's root")
        try:
            if len(self.leaf) < 32:
                raise Malformed("the leaf is shorter than a link")
            entry = read_entry(self.leaf[32:])
        except Malformed as error:
            raise Failure(seq, "entry", str(error)) from error
        if entry["seq"] != seq:
            raise Failure(seq, "sequence", f"the entry says that it is event {entry['seq']}")
        if self.payload is not None:
            check_payload(entry, self.payload)
        return entry


@dataclass
class ProofVerdict:
    """What a proof file shows, or how it fails to."""

    kind: str
    proved: str = ""  # in a sentence
    says: List[str] = field(default_factory=list)
    cannot_say: List[str] = field(default_factory=list)
    facts: Dict[str, Any] = field(default_factory=dict)
    failure: Optional[Failure] = None


def verify_proof(
    data: bytes, trust: Trust, old: Sequence[Checkpoint], payload: Optional[bytes] = None
) -> ProofVerdict:
    """Judges a proof file of any of the three forms, which its first line tells."""
    first = as_written(data).split(b"\n", 1)[0].decode("utf-8", "replace")
    header = "old" if first.startswith("old ") else first
    kinds = {PROOF_HEADER: "event", SESSION_HEADER: "session", "old": "consistency"}
    # What was given and does not go with the form is never left aside.
    if payload is not None and header in kinds and header != PROOF_HEADER:
        raise CannotCheck("--payload-file goes with the proof of one event")
    if old and header in kinds and header != "old":
        raise CannotCheck("--checkpoint goes with a proof of consistency")
    if len(data) > LONGEST_PROOF:
        return ProofVerdict("unknown", failure=Failure(None, "proof-format", f"it has more than {LONGEST_PROOF} bytes"))
    try:
        text = as_written(data).decode("utf-8")
    except UnicodeDecodeError:
        return ProofVerdict("unknown", failure=Failure(None, "proof-format", "the file is not UTF-8"))
    checks: Dict[str, Callable[[Lines, ProofVerdict], None]] = {
        PROOF_HEADER: lambda lines, verdict: check_event_proof(lines, verdict, trust, payload),
        SESSION_HEADER: lambda lines, verdict: check_session_proof(lines, verdict, trust),
        "old": lambda lines, verdict: check_consistency_proof(lines, verdict, trust, old),
    }
    verdict = ProofVerdict(kinds.get(header, "unknown"))
    try:
        if header not in checks:
            raise Malformed("the file is no proof of a form that this verifier knows")
        checks[header](Lines(text), verdict)
    except Failure as failure:
        verdict.failure = failure
    except Malformed as error:
        verdict.failure = Failure(None, "proof-format", str(error))
    return verdict


def describe_checkpoint(verdict: ProofVerdict, checkpoint: Checkpoint, key: Key) -> None:
    verdict.facts.update(origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root.hex(), key=str(key))
    verdict.says.append(
        f"the checkpoint of {shown(checkpoint.origin)}, {checkpoint.size} events, is signed by key {key}"
    )


def check_event_proof(lines: Lines, verdict: ProofVerdict, trust: Trust, payload: Optional[bytes]) -> None:
    lines.take_exactly(PROOF_HEADER)
    proof = EventProof.take(lines)
    checkpoint = lines.take_checkpoint()
    if payload is not None:
        if proof.payload is not None:
            raise CannotCheck("the proof has the payload in it: leave --payload-file out")
        proof = replace(proof, payload=payload)
    key = trust.signer(checkpoint)
    entry = proof.check(checkpoint)
    describe_checkpoint(verdict, checkpoint, key)
    verdict.facts.update(event=describe_entry(entry, proof.payload))
    session = "no session" if entry["session"] is None else f"session {shown(entry['session'])}"
    log = shown(checkpoint.origin)
    verdict.proved = f"event {entry['seq']}, {kind_name(entry)}, of {session} is in the log {log}"
    if proof.payload is None:
        verdict.cannot_say.append("the payload of the event: it is not in the proof")
    elif layout_of(entry) is None:
        verdict.says.append("its payload is the one recorded; this verifier does not know what its bytes say")
    else:
        verdict.says.append("its payload is the one recorded, and is well formed")
    verdict.cannot_say.append("anything about other events")


def describe_entry(entry: Entry, payload: Optional[bytes]) -> Dict[str, Any]:
    return {
        "seq": entry["seq"],
        "id": entry["event_id"].hex(),
        "kind": kind_name(entry),
        "session": entry["session"],
        "recorded_at": entry["recorded_at"],
        "payload": payload is not None,
    }


def check_session_proof(lines: Lines, verdict: ProofVerdict, trust: Trust) -> None:
    lines.take_exactly(SESSION_HEADER)
    session = json_string(lines.take_after("session"))
    complete = lines.take_exactly("partial", "complete") == "complete"
    lines.take_exactly("")
    proofs = [EventProof.take(lines)]
    while lines.peek().startswith("extra "):
        proofs.append(EventProof.take(lines))
    others: List[bytes] = []
    if complete:
        lines.take_exactly("between")
        others = [from_base64(line) for line in lines.take_block()]
    checkpoint = lines.take_checkpoint()
    key = trust.signer(checkpoint)
    before = -1
    for proof in proofs:
        entry = proof.check(checkpoint)
        if proof.index <= before:
            raise Failure(proof.index + 1, "sequence", "the events are not in the order of seq")
        before = proof.index
        if entry["session"] != session:
            raise Failure(proof.index + 1, "session", f"the event is not of session {shown(session)}")
    if complete:
        check_complete(session, proofs, others)
    describe_checkpoint(verdict, checkpoint, key)
    first, last = proofs[0].index + 1, proofs[-1].index + 1
    with_payload = sum(proof.payload is not None for proof in proofs)
    verdict.facts.update(session=session, complete=complete, events=len(proofs), first=first, last=last)
    verdict.facts.update(payloads=with_payload)
    events, log = counted(len(proofs), "event"), shown(checkpoint.origin)
    are = "are" if len(proofs) > 1 else "is"
    verdict.proved = f"{events} of session {shown(session)}, from event {first} to {last}, {are} in the log {log}"
    verdict.says.append(f"{with_payload} of them with the payload that was recorded")
    if complete:
        verdict.says.append("the session has no other events between the first and the last of them")
        verdict.cannot_say.append("that the session has no events before the first or after the last of them")
    else:
        verdict.cannot_say.append("that the session has no other events: the proof is partial")


def json_string(text: str) -> str:
    try:
        value = json.loads(text) if text.startswith('"') and text.endswith('"') else None
        if isinstance(value, str):
            value.encode("utf-8")  # half a surrogate pair is no text
    except ValueError:
        value = None
    if not isinstance(value, str):
        raise Malformed("the session's id is no JSON string")
    return value


def check_complete(session: str, proofs: Sequence[EventProof], others: Sequence[bytes]) -> None:
    """Follows the links from the first event to the last, over all entries between."""
    rest = iter(others)
    leaf = proofs[0].leaf
    for before, proof in zip(proofs, proofs[1:]):
        for seq in range(before.index + 2, proof.index + 1):
            data = next(rest, None)
            if data is None:
                raise Failure(seq, "between", "the entry of this event is missing")
            try:
                entry = read_entry(data)
            except Malformed as error:
                raise Failure(seq, "entry", str(error)) from error
            if entry["seq"] != seq:
                raise Failure(seq, "sequence", f"the entry in its place says that it is event {entry['seq']}")
            if entry["session"] == session:
                raise Failure(seq, "session", "an event of the session has no proof")
            leaf = link_of(leaf) + data
        leaf = link_of(leaf) + proof.leaf[32:]
        if leaf != proof.leaf:
            raise Failure(proof.index + 1, "link", "the event does not follow from the ones before")
    if next(rest, None) is not None:
        raise Failure(None, "between", "there are more entries than events between the first and the last")


def check_consistency_proof(lines: Lines, verdict: ProofVerdict, trust: Trust, old: Sequence[Checkpoint]) -> None:
    size = decimal(lines.take_after("old"))
    path = lines.take_hashes()
    new = lines.take_checkpoint()
    of_size = [checkpoint for checkpoint in old if checkpoint.size == size]
    if not of_size and (old or size > 0):
        sizes = ", ".join(str(checkpoint.size) for checkpoint in old[:MOST_REMARKS])
        given = f", and not {sizes}" if old else ""
        raise CannotCheck(f"the proof is about the checkpoint of size {size}: give it with --checkpoint{given}")
    key = trust.signer(new)

    def check(old_root: bytes) -> None:
        if not consistency_holds(size, new.size, old_root, new.root, path):
            detail = f"the proof does not show that the log of {new.size} events begins with that of {size}"
            raise Failure(None, "consistency", detail)

    for checkpoint in of_size:
        trust.signer(checkpoint)
        if checkpoint.origin != new.origin:
            raise Failure(None, "checkpoint-origin", "the two checkpoints are of different logs")
        check(checkpoint.root)
    if not of_size:
        check(Tree().root())
    describe_checkpoint(verdict, new, key)
    verdict.facts.update(old=size)
    log, events = shown(new.origin), counted(size, "event")
    verdict.proved = f"the log {log} of size {new.size} begins with the {events} of the older checkpoint, unchanged"
    verdict.cannot_say.append("the content of the events, and that the log has no more by now")
    if len(of_size) < len(old):
        left_out = counted(len(old) - len(of_size), "checkpoint")
        verdict.cannot_say.append(f"anything about the {left_out} of other sizes that were given: they were not used")


# ---------------------------------------------------------------------------------------------------------------------
# Section 10: a directory of tiles
# ---------------------------------------------------------------------------------------------------------------------

TILE = 256  # hashes in a full tile
LONGEST_LEAF = 65_535  # a bundle writes the length of a leaf in two bytes
LONGEST_CHECKPOINT = 1 << 20


def tile_path(index: int) -> str:
    """The number of a tile as path elements of three digits: 1234067 is x001/x234/067."""
    path = f"{index % 1000:03}"
    while index >= 1000:
        index //= 1000
        path = f"x{index % 1000:03}/{path}"
    return path


@dataclass
class TilesVerdict:
    failure: Optional[Failure] = None
    events: int = 0
    head: bytes = NO_LINK
    checkpoint: Optional[Checkpoint] = None
    key: Optional[Key] = None


class Tiles:
    """A directory in the form of C2SP tlog-tiles, checked against its own checkpoint."""

    def __init__(self, directory: Path, trust: Trust) -> None:
        self.directory = directory
        self.trust = trust
        self.verdict = TilesVerdict()

    def verify(self) -> TilesVerdict:
        if not self.directory.is_dir():
            raise CannotCheck(f"{shown(str(self.directory))} is no directory")
        data = read_file(self.directory / "checkpoint", LONGEST_CHECKPOINT)
        try:
            try:
                checkpoint = Checkpoint.parse(data.decode("utf-8"))
            except (Malformed, UnicodeDecodeError) as error:
                raise Failure(None, "checkpoint-signature", f"the checkpoint cannot be read: {error}") from error
            self.verdict.key = self.trust.signer(checkpoint)
            self.verdict.checkpoint = checkpoint
            self.check_levels(checkpoint)
        except Failure as failure:
            self.verdict.failure = failure
        return self.verdict

    def check_levels(self, checkpoint: Checkpoint) -> None:
        """Level 0 is hashed from the entries, each level above from the one below."""
        tree = Tree()
        above = self.check_entries(checkpoint.size, tree)
        level = 1
        while above:
            next_above: List[bytes] = []
            for tile in range(0, len(above), TILE):
                hashes = above[tile : tile + TILE]
                self.check_tile(level, tile // TILE, hashes)
                if len(hashes) == TILE:
                    next_above.append(root_of(hashes))
            above, level = next_above, level + 1
        if tree.root() != checkpoint.root:
            raise Failure(None, "checkpoint-root", "the leaves are not those that the checkpoint covers")

    def check_entries(self, size: int, tree: Tree) -> List[bytes]:
        """Checks bundles and tiles of level 0, and returns the roots of the full ones."""
        roots: List[bytes] = []
        for start in range(0, size, TILE):
            width = min(TILE, size - start)
            hashes = []
            for leaf in self.bundle(start // TILE, width):
                self.check_leaf(leaf)
                hashes.append(leaf_hash(leaf))
                tree.append(hashes[-1])
            self.check_tile(0, start // TILE, hashes)
            if width == TILE:
                roots.append(root_of(hashes))
        return roots

    def check_leaf(self, leaf: bytes) -> None:
        """What of section 8 can be asked without payloads: the leaf is a link and the entry that comes next."""
        seq = self.verdict.events + 1
        if len(leaf) < 32 or leaf[:32] != self.verdict.head:
            raise Failure(seq, "link", "the link in the leaf does not follow from the leaf before")
        try:
            entry = read_entry(leaf[32:])
        except Malformed as error:
            raise Failure(seq, "entry", str(error)) from error
        if entry["seq"] != seq:
            raise Failure(seq, "sequence", f"the entry says that it is event {entry['seq']}")
        first = entry["kind"] == LOG_CREATED
        if first != (seq == 1) or (first and entry["session"] is not None):
            raise Failure(seq, "first-event", "event 1, and no other, creates the log, and is of no session")
        self.verdict.events, self.verdict.head = seq, link_of(leaf)

    def bundle(self, index: int, width: int) -> Iterator[bytes]:
        """The first `width` leaves of a bundle."""
        data, full = self.read("entries", index, width, TILE * (2 + LONGEST_LEAF))
        at = 0
        for i in range(width):
            length = int.from_bytes(data[at : at + 2], "big")
            end = at + 2 + length
            if at + 2 > len(data) or end > len(data):
                raise Failure(index * TILE + i + 1, "bundle", "the bundle of entries ends too early")
            yield data[at + 2 : end]
            at = end
        if at != len(data) and (width == TILE or not full):
            raise Failure(index * TILE + width, "bundle", "bytes are left over in the bundle of entries")

    def check_tile(self, level: int, index: int, hashes: Sequence[bytes]) -> None:
        data, full = self.read(str(level), index, len(hashes), TILE * 32)
        expected = b"".join(hashes)
        if full and len(data) != TILE * 32 or data[: len(expected)] != expected or not full and data != expected:
            raise Failure(None, "tile", f"tile {index} of level {level} does not hold the hashes of the leaves")

    def read(self, kind: str, index: int, width: int, most: int) -> Tuple[bytes, bool]:
        """The bytes of a tile or bundle of that width, and whether it is a full one.

        A partial one may have been deleted once there is the full one, which begins with the same.
        """
        path = f"tile/{kind}/{tile_path(index)}"
        partial = self.directory / f"{path}.p/{width}"
        if width < TILE and partial.exists():
            return self.read_file(partial, most), False
        return self.read_file(self.directory / path, most), True

    def read_file(self, path: Path, most: int) -> bytes:
        try:
            return read_file(path, most)
        except CannotCheck as error:
            raise Failure(None, "tile", str(error)) from error


# ---------------------------------------------------------------------------------------------------------------------
# Reading files, and showing what they hold
# ---------------------------------------------------------------------------------------------------------------------


def reason_of(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def read_file(path: Path, most: Optional[int] = None) -> bytes:
    """The bytes of an ordinary file. What is larger than `most` bytes is not what it should be."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CannotCheck(f"{shown(str(path))} is no file")
        with open(path, "rb") as file:
            data = file.read() if most is None else file.read(most + 1)
    except (OSError, ValueError) as error:
        raise CannotCheck(f"{shown(str(path))} cannot be read: {reason_of(error)}") from error
    if most is not None and len(data) > most:
        raise CannotCheck(f"{shown(str(path))} is larger than it can be")
    return data


UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def as_written(data: bytes) -> bytes:
    """A file as it was written, before an editor, a mail program or a shell touched it.

    A byte order mark, line ends of two characters and empty lines at the end are no tampering.
    """
    data = data[3:] if data.startswith(b"\xef\xbb\xbf") else data
    data = data.replace(b"\r\n", b"\n")
    while data.endswith(b"\n\n"):
        data = data[:-1]
    return data


def read_given(path: Path) -> bytes:
    data = read_file(path)
    if data.startswith(UTF16_MARKS):
        raise CannotCheck(f"{shown(str(path))} is in UTF-16; write it again in UTF-8")
    return data


def read_text(path: Path) -> str:
    try:
        return as_written(read_given(path)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CannotCheck(f"{shown(str(path))} is not UTF-8") from error


def read_checkpoints(paths: Sequence[str]) -> List[Checkpoint]:
    checkpoints: List[Checkpoint] = []
    for path in paths:
        try:
            checkpoints.extend(parse_checkpoints(with_one_line_between(read_text(Path(path)))))
        except Malformed as error:
            raise CannotCheck(f"{shown(path)} is no checkpoint file: {error}") from error
    return checkpoints


def read_trust(keys: Sequence[str], epoch_keys: Sequence[str]) -> Trust:
    trust = Trust()
    for role, vkeys in ((STABLE, keys), (EPOCH, epoch_keys)):
        for vkey in vkeys:
            try:
                trusted = TrustedKey(Key.parse(vkey.strip().lstrip("\ufeff")), role, given=True)
                if trusted not in trust.keys:
                    trust.keys.append(trusted)
            except Malformed as error:
                raise CannotCheck(f"{shown(vkey)} is no vkey: {error}") from error
    return trust


def shown(text: str, quotes: bool = True) -> str:
    """Text from a file as it may go to a terminal: cut, and with nothing in it that a terminal would obey."""
    safe = repr(text[:200] + ("…" if len(text) > 200 else ""))
    return safe if quotes else safe[1:-1]


def shown_seq(seq: Any) -> str:
    return str(seq) if type(seq) is int else "none" if seq is None else f"{type(seq).__name__} {shown(str(seq)[:200])}"


def kind_name(entry: Entry) -> str:
    return KINDS.get(entry["kind"], f"kind {entry['kind']}")


# ---------------------------------------------------------------------------------------------------------------------
# Verdicts
# ---------------------------------------------------------------------------------------------------------------------

Report = Tuple[bool, Dict[str, Any], List[str]]  # whether it is good, the verdict as JSON, and as lines of text


def failure_json(failure: Optional[Failure]) -> Optional[Dict[str, Any]]:
    return None if failure is None else failure.as_json()


def report_log(verdict: LogVerdict) -> Report:
    chain, failure = verdict.chain, verdict.failure
    lines = [log_headline(verdict)]
    lines.extend(f"also failed: {further}" for further in verdict.further_failures)
    if chain.log_id is not None:
        origin = "unknown" if chain.origin is None else shown(chain.origin)
        lines.append(f"log {chain.log_id.hex()}, origin {origin}")
    if verdict.root is not None:
        lines.append(f"after event {chain.events}: link {chain.head.hex()}, root {verdict.root.hex()}")
    lines.extend(signature_lines(verdict))
    lines.extend(verdict.by_predecessors)
    lines.extend(f"NOT CHECKED: {what}" for what in verdict.not_checked)
    lines.extend(redaction_lines(chain))
    lines.extend(key_change_lines(verdict))
    lines.extend(remark_lines(verdict))
    cannot_say, not_looked_at = log_limits(verdict), log_not_looked_at(verdict)
    lines.extend(f"cannot be said: {limit}" for limit in cannot_say)
    lines.extend(f"not looked at: {what}" for what in not_looked_at)
    return (
        failure is None,
        {
            "consistent": failure is None,
            "events": chain.events,
            "head": chain.head.hex(),
            "failure": failure_json(failure),
            "further_failures": [further.as_json() for further in verdict.further_failures],
            "anchored_to": verdict.anchored_to,
            "anchored_by": None if verdict.anchored_by is None else str(verdict.anchored_by),
            "signed_to": verdict.signed_to,
            "signed_by": None if verdict.signed_by is None else str(verdict.signed_by),
            "origin": chain.origin,
            "log_id": None if chain.log_id is None else chain.log_id.hex(),
            "root": None if verdict.root is None else verdict.root.hex(),
            "redacted": sorted(chain.licensed),
            "licences": [vars(licence) for licence in chain.licences],
            "key_changes": [vars(change) for change in verdict.key_changes],
            "events_lost": chain.events_lost(),
            "coverage_gaps": chain.coverage_gaps(),
            "by_predecessors": verdict.by_predecessors,
            "not_checked": verdict.not_checked,
            "opaque_payloads": chain.opaque,
            "clock_set_back": chain.clock_set_back,
            "with_wal": verdict.with_wal,
            "remarks": verdict.remarks,
            "more_remarks": verdict.more_remarks,
            "cannot_be_said": cannot_say,
            "not_looked_at": not_looked_at,
        },
        lines,
    )


def log_headline(verdict: LogVerdict) -> str:
    """The verdict in a sentence."""
    failure, events, anchored = verdict.failure, counted(verdict.chain.events, "event"), verdict.anchored_to
    if failure is not None:
        return f"NOT INTACT: {failure}"
    if anchored is None:
        return f"consistent, but not anchored: each of the {events} follows from the one before"
    if anchored == verdict.chain.events:
        return f"intact: the {events} are those that a checkpoint kept elsewhere covers"
    return (
        f"intact up to event {anchored}, as a checkpoint kept elsewhere shows; "
        f"each of the {events} follows from the one before"
    )


def counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def signature_lines(verdict: LogVerdict) -> List[str]:
    anchored, signed, lines = verdict.anchored_to, verdict.signed_to, []
    if anchored is not None:
        lines.append(f"anchored to {anchored} by key {verdict.anchored_by}")
    if signed is not None:
        line = f"signed to {signed} by key {verdict.signed_by}"
        if anchored is None or anchored < signed:
            line += "; only a checkpoint kept elsewhere shows that nothing was cut off"
        lines.append(line)
    return lines


def key_change_lines(verdict: LogVerdict) -> List[str]:
    changes = verdict.key_changes
    lines = [f"changes of keys: {len(changes)}"] if changes else []
    for change in changes[:MOST_REMARKS]:
        if change.certified:
            trusted = "certified by the key before it"
        elif change.leads_back:
            trusted = "it took over from the key before, as a checkpoint of the keys given confirms"
        elif change.given:
            trusted = "it is one of the keys given"
        elif change.certified is None:
            trusted = f"not judged: {change.why}"
        elif change.cause == "generated" and change.previous is None:
            trusted = "not among the keys given: a first key, which nobody certifies"
        else:
            trusted = f"NOT certified, and so not trusted: {change.why}"
        lines.append(
            f"  event {change.seq}: {change.role} key {shown(change.vkey)} ({change.cause}), {trusted}; "
            f"actor {shown(change.actor)}" + ("" if change.reason is None else f", reason {shown(change.reason)}")
        )
    if len(changes) > MOST_REMARKS:
        lines.append(f"  and {len(changes) - MOST_REMARKS} more, which --json lists")
    return lines


def remark_lines(verdict: LogVerdict) -> List[str]:
    chain, lines = verdict.chain, []
    if verdict.with_wal:
        lines.append("read together with the -wal file beside it, which belongs to the log")
    if chain.events_lost():
        lost = counted(chain.events_lost(), "event")
        lines.append(f"{lost} of which the log says that they could not be written are not in it")
    gaps = chain.coverage_gaps()
    for gap in gaps[:MOST_REMARKS]:
        lines.append(
            f"incomplete: {shown(', '.join(gap['sources']))} announced {counted(gap['announced'], 'event')} of type "
            f"{gap['kind']} in session {shown(gap['session_id'])}, and {gap['recorded']} of them are recorded"
        )
    if len(gaps) > MOST_REMARKS:
        lines.append(f"  and {len(gaps) - MOST_REMARKS} more such gaps, which --json lists")
    if chain.opaque:
        payloads = counted(chain.opaque, "payload")
        lines.append(f"{payloads} of kinds, versions or encodings that this verifier does not know")
    if chain.clock_set_back:
        lines.append(f"the writer's clock went back {counted(chain.clock_set_back, 'time')}")
    lines.extend(verdict.remarks)
    if verdict.more_remarks:
        lines.append(f"and {counted(verdict.more_remarks, 'more remark')}")
    return lines


def redaction_lines(chain: Chain) -> List[str]:
    if not chain.licences:
        return ["no redactions"]
    licences, events = counted(len(chain.licences), "licence"), counted(len(chain.licensed), "event")
    lines = [f"redactions: {licences} for {events}"]
    for licence in chain.licences[:MOST_REMARKS]:
        which = "none" if licence.first is None else f"event {licence.first}"
        if licence.names > 1:
            which += f" and {licence.names - 1} more"
        authority = "" if licence.authority is None else f", authority {shown(licence.authority)}"
        lines.append(
            f"  event {licence.seq} redacts {which}: actor {shown(licence.actor)}, "
            f"reason {shown(licence.reason)}{authority}"
        )
    if len(chain.licences) > MOST_REMARKS:
        lines.append(f"  and {len(chain.licences) - MOST_REMARKS} more, which --json lists")
    return lines


def log_limits(verdict: LogVerdict) -> List[str]:
    """What the verdict does not cover."""
    events, anchored = verdict.chain.events, verdict.anchored_to
    if verdict.failure is not None:
        if anchored is None:
            return []
        return [f"whether events after {anchored} are as they were recorded; entries up to there are"]
    if anchored is None:
        return [
            "whether the log was written anew as a whole, or its end cut off: that takes a checkpoint and a key "
            "that were kept elsewhere"
        ]
    if anchored < events:
        return [f"whether events after {anchored} were written anew, or some at the end cut off"]
    return ["whether there were events after the last, if no checkpoint that covers them was given"]


def log_not_looked_at(verdict: LogVerdict) -> List[str]:
    """What belongs to the file, and was not judged."""
    left = []
    if not verdict.had_keys:
        left.append("checkpoints and changes of keys: no key was given")
    left.append("the read tables, and whatever else is not evidence: they can be made anew from the log")
    return left


def report_proof(verdict: ProofVerdict) -> Report:
    good = verdict.failure is None
    lines = [f"proved: {verdict.proved}" if good else f"NOT PROVED: {verdict.failure}"]
    if good:
        lines += verdict.says + [f"cannot be said: {limit}" for limit in verdict.cannot_say]
    return (
        good,
        {
            "proved": good,
            "kind": verdict.kind,
            "failure": failure_json(verdict.failure),
            **verdict.facts,
            "cannot_be_said": verdict.cannot_say,
        },
        lines,
    )


def report_tiles(verdict: TilesVerdict) -> Report:
    good = verdict.failure is None
    checkpoint = verdict.checkpoint
    anchored = checkpoint.size if good and checkpoint is not None else None
    cannot_say = ["what the payloads say: tiles do not hold them"] if good else []
    entries = "entry" if verdict.events == 1 else f"{verdict.events} entries"
    covered = "is that" if verdict.events == 1 else "are those"
    intact = f"intact: the {entries} {covered} that the checkpoint covers"
    lines = [intact if good else f"NOT INTACT: {verdict.failure}"]
    if good and checkpoint is not None:
        lines.append(f"origin {shown(checkpoint.origin)}, link {verdict.head.hex()}, root {checkpoint.root.hex()}")
        lines.append(f"anchored to {anchored} by key {verdict.key}")
    lines.extend(f"cannot be said: {limit}" for limit in cannot_say)
    return (
        good,
        {
            "consistent": good,
            "events": verdict.events,
            "head": verdict.head.hex(),
            "failure": failure_json(verdict.failure),
            "anchored_to": anchored,
            "anchored_by": str(verdict.key) if good else None,
            "origin": None if checkpoint is None else checkpoint.origin,
            "root": None if checkpoint is None else checkpoint.root.hex(),
            "cannot_be_said": cannot_say,
        },
        lines,
    )


# ---------------------------------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------------------------------


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="verify.py",
        description="Verifies logs of Annals, their proofs and their tiles.",
        epilog="Exit status: 0 good, 1 tampering or damage, 2 could not check.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    log = commands.add_parser("log", help="verify a whole log")
    log.add_argument("path", metavar="AUDIT.DB")
    proof = commands.add_parser("proof", help="verify a proof of an event, a session, or of consistency")
    proof.add_argument("path", metavar="FILE")
    proof.add_argument(
        "--payload-file", metavar="PAYLOAD", help="the payload of an event, where it is in a file beside the proof"
    )
    tiles = commands.add_parser("tiles", help="verify a directory of tiles")
    tiles.add_argument("path", metavar="DIR")
    for command in (log, proof, tiles):
        command.add_argument(
            "--key", action="append", default=[], metavar="VKEY", help="a key to trust; may be given several times"
        )
        command.add_argument(
            "--epoch-key",
            action="append",
            default=[],
            metavar="VKEY",
            help="an epoch key to trust: a checkpoint then needs a signature in this role",
        )
        command.add_argument("--json", action="store_true", help="print the verdict as JSON")
    for command in (log, proof):
        command.add_argument(
            "--checkpoint",
            action="append",
            default=[],
            metavar="FILE",
            help="checkpoints that were kept elsewhere; may be given several times",
        )
    return parser


def run(options: argparse.Namespace) -> Report:
    trust = read_trust(options.key, options.epoch_key)
    checkpoints = read_checkpoints(getattr(options, "checkpoint", []))
    if not trust.keys and (options.command != "log" or checkpoints):
        raise CannotCheck("a signature is checked with --key or --epoch-key, and none was given")
    path = Path(options.path)
    if options.command == "tiles":
        return with_not_checked(report_tiles(Tiles(path, trust).verify()), trust)
    if options.command == "proof":
        payload = None if options.payload_file is None else read_file(Path(options.payload_file))
        return with_not_checked(report_proof(verify_proof(read_given(path), trust, checkpoints, payload)), trust)
    try:
        return with_not_checked(report_log(verify_log(path, checkpoints, trust)), trust)
    except Failure as failure:  # damage before the first row
        return report_log(LogVerdict(Chain(), False, failure))


def with_not_checked(report: Report, trust: Trust) -> Report:
    """Adds the signatures by keys that were given and that this installation cannot check.

    What was asked for and not checked is never good: where nothing failed, the exit status is 2.
    """
    good, as_json, lines = report
    why = "ML-DSA-44 needs the package cryptography, version 48 or later"
    not_checked = [f"the signature by {key}: {why}" for key in sorted(trust.not_checked)]
    as_json["not_checked"] = as_json.get("not_checked", []) + not_checked
    return good, as_json, lines + [f"NOT CHECKED: {what}" for what in not_checked]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Prints the verdict and returns the exit status. Whatever the input, there is a verdict."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = arguments().parse_args(argv)
    try:
        good, as_json, lines = run(options)
    except CannotCheck as error:
        return could_not_check(options, str(error))
    except MemoryError:
        return could_not_check(options, "it takes more memory than there is")
    except READ_ERRORS as error:
        good, as_json, lines = report_log(LogVerdict(Chain(), False, unreadable(error)))
    say(json.dumps(as_json, indent=2) if options.json else "\n".join(lines))
    if not good:
        return 1
    return 2 if as_json.get("not_checked") else 0


def could_not_check(options: argparse.Namespace, reason: str) -> int:
    if options.json:
        say(json.dumps({"consistent": None, "error": reason}, indent=2))
    else:
        say(f"could not check: {reason}")
    return 2


def say(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # nobody reads on: the exit status still tells the verdict
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
