"""Tests of verify.py. They write logs, proofs and tiles themselves, from docs/format.md.

python -m unittest tools/verify_test.py
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import random
import re
import shutil
import sqlite3
import struct
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple
from unittest import mock

TOOLS = Path(__file__).resolve().parent
sys.path.insert(0, str(TOOLS))

import verify  # noqa: E402
from blake3 import blake3  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402

GOLDEN = TOOLS.parent / "tests" / "golden"
VECTORS = json.loads((GOLDEN / "vectors.json").read_text("utf-8"))
ORIGIN = "example.org/log"

# Published vectors, of which the tests say that they were skipped where they are not.
SHARED = Path(os.environ.get("ANNALS_TEST_DATA") or TOOLS.parent.parent / "shared" / "data") / "vectors"


def published(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        if os.environ.get("CI"):
            raise AssertionError(f"{path} is missing")
        raise unittest.SkipTest(f"{path} is missing; set ANNALS_TEST_DATA")
    return path


# --- A writer of the encoding -----------------------------------------------------------------------------------------


def number(value: int) -> bytes:
    if value <= 250:
        return bytes([value])
    for marker, width in ((0xFB, 2), (0xFC, 4), (0xFD, 8)):
        if value < 1 << (8 * width):
            return bytes([marker]) + value.to_bytes(width, "little")
    raise ValueError(value)


def signed(value: int) -> bytes:
    return number(2 * value if value >= 0 else -2 * value - 1)


def text(value: str) -> bytes:
    raw = value.encode("utf-8")
    return number(len(raw)) + raw


def optional(value: Optional[bytes]) -> bytes:
    return b"\x00" if value is None else b"\x01" + value


def optional_text(value: Optional[str]) -> bytes:
    return optional(None if value is None else text(value))


def encode(kind: str, value: Any) -> bytes:
    """The bytes of a value that verify.py decoded."""
    if kind in verify.WORDS:
        return number(verify.WORDS[kind].split().index(value))
    if kind in verify.OBJECTS:
        fields = (field.split() for field in verify.OBJECTS[kind].split(";"))
        return b"".join(encode(inner, value[name]) for name, inner in fields)
    if kind == "u8":
        return bytes([value])
    if kind in ("u16", "u32", "u64"):
        return number(value)
    if kind in ("i64", "time"):
        return signed(value)
    if kind in ("f64", "bytes16", "bytes32"):
        return bytes(value)
    if kind in ("string", "json", "id"):
        return text(value)
    if kind == "bytes":
        return number(len(value)) + bytes(value)
    inner = kind[kind.index("(") + 1 : -1]
    if kind.startswith("option"):
        return optional(None if value is None else encode(inner, value))
    if kind.startswith("list"):
        return number(len(value)) + b"".join(encode(inner, item) for item in value)
    pairs = sorted(value.items(), key=lambda pair: pair[0].encode("utf-8"))
    return number(len(pairs)) + b"".join(text(key) + encode(inner, item) for key, item in pairs)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# --- A model of the tree, as RFC 6962 defines it ----------------------------------------------------------------------


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    return 1 << ((n - 1).bit_length() - 1)


def model_root(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return sha(b"\x00" + leaves[0])
    k = split(len(leaves))
    return sha(b"\x01" + model_root(leaves[:k]) + model_root(leaves[k:]))


def model_path(m: int, leaves: Sequence[bytes]) -> List[bytes]:
    if len(leaves) <= 1:
        return []
    k = split(len(leaves))
    if m < k:
        return model_path(m, leaves[:k]) + [model_root(leaves[k:])]
    return model_path(m - k, leaves[k:]) + [model_root(leaves[:k])]


def model_consistency(m: int, leaves: Sequence[bytes], whole: bool = True) -> List[bytes]:
    if m == len(leaves):
        return [] if whole else [model_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return model_consistency(m, leaves[:k], whole) + [model_root(leaves[k:])]
    return model_consistency(m - k, leaves[k:], False) + [model_root(leaves[:k])]


# --- A signer of notes ------------------------------------------------------------------------------------------------


class Signer:
    """A key pair that signs notes, made from a number so that tests can be repeated."""

    def __init__(self, seed: int, name: str = ORIGIN, kind: int = 1) -> None:
        key_type: Any = Ed25519PrivateKey
        if kind == verify.ML_DSA_44:
            from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey as key_type
        from_seed = key_type.from_seed_bytes if kind == verify.ML_DSA_44 else key_type.from_private_bytes
        self.private = from_seed(sha(b"seed %d" % seed))
        self.name = name
        self.kind = kind
        self.material = bytes([kind]) + self.private.public_key().public_bytes_raw()
        self.id = sha(name.encode("utf-8") + b"\n" + self.material)[:4]
        self.vkey = f"{name}+{self.id.hex()}+{b64(self.material)}"

    def line(self, note: str, good: bool = True, time: int = 1_800_000_000) -> str:
        message, before = note.encode("utf-8"), b""
        if self.kind == 4:
            message = b"cosignature/v1\ntime %d\n" % time + message
            before = time.to_bytes(8, "big")
        if self.kind == verify.ML_DSA_44:
            origin, size, root = note.split("\n")[:3]
            message = b"subtree/v1\n\0" + bytes([len(self.name)]) + self.name.encode("utf-8") + struct.pack(">Q", time)
            message += bytes([len(origin)]) + origin.encode("utf-8") + struct.pack(">QQ", 0, int(size))
            message += base64.b64decode(root)
            before = time.to_bytes(8, "big")
        signature = self.private.sign(message if good else message + b"!")
        return f"\u2014 {self.name} {b64(self.id + before + signature)}\n"


def note_of(body: str, *signers: Signer) -> str:
    return body + "\n" + "".join(signer.line(body) for signer in signers)


# --- A writer of logs -------------------------------------------------------------------------------------------------


def log_created(origin: str = ORIGIN) -> bytes:
    return text(origin) + text("test 1") + b"\x00"


def note_logged(message: str) -> bytes:
    return text(message) + b"\x00\x00\x00\x00"


def redacted(*seqs: int) -> bytes:
    return number(len(seqs)) + b"".join(map(number, seqs)) + text("dpo") + text("asked for") + b"\x00"


NOTE, CUSTOM_UNKNOWN, LOST = 112, 239, 240


class Log:
    """The rows of a log in the making. What `add` writes is sound; tests spoil it afterwards."""

    def __init__(self, first: bool = True) -> None:
        self.rows: List[List[Any]] = []
        self.leaves: List[bytes] = []
        self.redactions: List[Any] = []
        self.checkpoints: List[Tuple[int, str]] = []
        self.schema = 2
        if first:
            self.add(1, log_created(), session=None)

    def add(
        self,
        kind: int = NOTE,
        payload: Optional[bytes] = None,
        session: Optional[str] = "s",
        version: int = 1,
        encoding: int = 0,
        cell: Optional[bytes] = None,
        **other: Any,
    ) -> int:
        seq = len(self.rows) + 1
        if cell is None:
            cell = seq.to_bytes(16, "big") + (note_logged(f"note {seq}") if payload is None else payload)
        fields = {
            "format": 1,
            "seq": seq,
            "event_id": (0xABC0000 + seq).to_bytes(16, "big"),
            "kind": kind,
            "kind_version": version,
            "session": session,
            "occurred_at": None,
            "recorded_at": 1_795_176_000_000_000 + seq,
            "principal": None,
            "encoding": encoding,
            "payload_digest": blake3(cell, derive_key_context="annals 2026-11-20 v1 payload").digest(),
            **other,
        }
        self.push(fields["event_id"], encode("entry", fields), cell)
        return seq

    def push(self, event_id: Any, entry: bytes, cell: Any) -> None:
        before = self.rows[-1][4] if self.rows else bytes(32)
        leaf = before + entry
        link = blake3(leaf, derive_key_context="annals 2026-11-20 v1 link").digest()
        self.rows.append([len(self.rows) + 1, event_id, entry, cell, link])
        self.leaves.append(leaf)

    def redact(self, *seqs: int) -> int:
        licence = self.add(241, redacted(*seqs), session=None)
        for seq in seqs:
            self.rows[seq - 1][3] = None
        self.redactions.extend(seqs)
        return licence

    def note(self, size: Optional[int] = None, origin: str = ORIGIN) -> str:
        size = len(self.leaves) if size is None else size
        return f"{origin}\n{size}\n{b64(model_root(self.leaves[:size]))}\n"

    def checkpoint(self, *signers: Signer, size: Optional[int] = None) -> str:
        return note_of(self.note(size), *signers)

    def certificate(self, signer: Signer, new: Signer, role: str = "stable", size: Optional[int] = None) -> str:
        size = len(self.leaves) if size is None else size
        root = b64(model_root(self.leaves[:size]))
        return note_of(f"annals key change\n{ORIGIN}\n{role}\n{new.vkey}\n{size}\n{root}\n", signer)

    def change_key(
        self,
        new: Signer,
        previous: Optional[Signer],
        certificate: Optional[str],
        role: str = "stable",
        cause: str = "rotated",
    ) -> int:
        payload = encode(
            "key.changed",
            {
                "role": role,
                "vkey": new.vkey,
                "previous": previous and previous.vkey,
                "certificate": certificate,
                "cause": cause,
                "actor": "ops",
                "reason": None,
            },
        )
        return self.add(243, payload, session=None)

    def rotate(self, old: Signer, new: Signer, role: str = "stable") -> int:
        return self.change_key(new, old, self.certificate(old, new, role), role)

    def write(self, path: Path, strict: bool = True) -> Path:
        if path.exists():
            path.unlink()
        with contextlib.closing(sqlite3.connect(path)) as database:
            end = " STRICT" if strict else ""
            kinds = ("BLOB NOT NULL", "BLOB") if strict else ("", "")
            database.execute("PRAGMA application_id = 1097755763")
            database.execute(f"PRAGMA user_version = {self.schema}")
            database.execute(
                f"CREATE TABLE log (seq INTEGER PRIMARY KEY, event_id {kinds[0]}, entry {kinds[0]}, "
                f"payload {kinds[1]}, hash {kinds[0]}){end}"
            )
            database.execute(f"CREATE TABLE redactions (seq {'INTEGER PRIMARY KEY' if strict else ''}){end}")
            if self.schema == 2:
                database.execute(
                    "CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL, made_at INTEGER) STRICT"
                )
                database.executemany("INSERT INTO checkpoints VALUES (?, ?, 0)", self.checkpoints)
            database.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?)", self.rows)
            database.executemany("INSERT INTO redactions VALUES (?)", [(seq,) for seq in self.redactions])
            database.commit()
        return path


class InFolder(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, name: str, content: str) -> str:
        path = self.folder / name
        path.write_text(content, "utf-8")
        return str(path)

    def run_main(self, *arguments: str) -> Tuple[int, Dict[str, Any]]:
        """Exit status and JSON of a run."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = verify.main([*arguments, "--json"])
        verdict = json.loads(out.getvalue())
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(status, verify.main(list(arguments)), "the same without --json")
        return status, verdict

    def judge(self, log: Log, *arguments: str, strict: bool = True) -> Dict[str, Any]:
        path = log.write(self.folder / "log.db", strict)
        status, verdict = self.run_main("log", str(path), *arguments)
        self.assertEqual(status, 1 if not verdict["consistent"] else 2 if verdict["not_checked"] else 0)
        self.assertEqual(verdict["consistent"], verdict["failure"] is None)
        return verdict

    def assert_not_checked(self, verdict: Dict[str, Any], names: str) -> None:
        """Nothing is wrong, and for want of a key nothing is said of what was given."""
        self.assertIsNone(verdict["failure"])
        self.assertIsNone(verdict["anchored_to"])
        self.assertIn(names, verdict["not_checked"][0])

    def assert_fails(self, verdict: Dict[str, Any], seq: Optional[int], check: str) -> None:
        self.assertIsNotNone(verdict["failure"], f"{check} at {seq} was not found")
        self.assertEqual((verdict["failure"]["seq"], verdict["failure"]["check"]), (seq, check), verdict["failure"])

    def assert_log_fails(self, log: Log, seq: Optional[int], check: str, *arguments: str, strict: bool = True) -> None:
        self.assert_fails(self.judge(log, *arguments, strict=strict), seq, check)

    def assert_cannot_check(self, *arguments: str) -> str:
        status, verdict = self.run_main(*arguments)
        self.assertEqual(status, 2, verdict)
        self.assertIsNone(verdict["consistent"])
        return str(verdict["error"])


# --- Section 2 to 6 ---------------------------------------------------------------------------------------------------


class Values(unittest.TestCase):
    def test_values_of_the_vectors_decode_and_encode(self) -> None:
        for vector in VECTORS["values"]:
            kind, data = vector["type"], bytes.fromhex(vector["bytes"])
            with self.subTest(vector):
                value = verify.decode_all(verify.decoder(kind), data)
                self.assertEqual(encode(kind, value), data)
                self.assertEqual(value, self.meant(kind, vector["value"]))

    def meant(self, kind: str, written: str) -> Any:
        if kind == "f64":
            return struct.pack("<d", float(written))
        if written == "none":
            return None
        if written.startswith("some "):
            return json.loads(written[5:])
        return written if kind in verify.WORDS else json.loads(written)

    def test_malformed_bytes_of_the_vectors_are_refused(self) -> None:
        for vector in VECTORS["malformed"]:
            with self.subTest(vector["what"]):
                for keep in (True, False):
                    decode = verify.decoder(vector["type"], keep)
                    verify.decode_all(decode, bytes.fromhex(vector["well_formed"]))
                    with self.assertRaises(verify.Malformed):
                        verify.decode_all(decode, bytes.fromhex(vector["bytes"]))

    def test_varints_have_one_form(self) -> None:
        edges = [0, 250, 251, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1]
        for value in edges:
            self.assertEqual(verify.decode_all(verify.decode_u64, number(value)), value)
            for marker, width in ((0xFB, 2), (0xFC, 4), (0xFD, 8)):
                longer = bytes([marker]) + (value % (1 << 8 * width)).to_bytes(width, "little")
                if len(longer) > len(number(value)):
                    with self.assertRaises(verify.Malformed):
                        verify.decode_all(verify.decode_u64, longer)

    def test_a_marker_must_fit_the_type(self) -> None:
        for kind, data in (("u16", number(65536)), ("u32", number(2**32)), ("u64", b"\xfe" + bytes(16))):
            with self.assertRaises(verify.Malformed):
                verify.decode_all(verify.decoder(kind), data)

    def test_a_count_takes_no_memory_before_its_items(self) -> None:
        for kind in ("list(u64)", "map(string)", "string", "decision.made"):
            with self.assertRaises(verify.Malformed):
                verify.decode_all(verify.decoder(kind), b"\xfd" + b"\xff" * 8)


class Events(unittest.TestCase):
    def test_events_of_the_vectors(self) -> None:
        for event in VECTORS["events"]:
            with self.subTest(event["name"]):
                self.check(event)

    def check(self, event: Dict[str, Any]) -> None:
        data = bytes.fromhex(event["entry"])
        entry = verify.read_entry(data)
        shown = {key: value.hex() if isinstance(value, bytes) else value for key, value in entry.items()}
        self.assertEqual(shown, event["entry_fields"])
        self.assertEqual(encode("entry", entry), data)
        cell = bytes.fromhex(event["salt"]) + bytes.fromhex(event["payload"])
        verify.check_payload(entry, cell)
        self.assertEqual(verify.payload_digest(cell).hex(), event["payload_digest"])
        self.assertEqual(verify.link_of(bytes.fromhex(event["previous_link"]) + data).hex(), event["link"])
        layout = verify.layout_of(entry)
        assert layout is not None
        self.assertEqual(layout.split(",")[0], event["name"].split(",")[0])
        fields = verify.decode_all(verify.decoder(layout), cell, 16)
        self.assertEqual(encode(layout, fields), cell[16:])
        self.check_names(json.loads(event["json"]), fields)

    def check_names(self, as_json: Dict[str, Any], fields: Any) -> None:
        """Fields with a name in common have a value in common, where its form is the same."""
        for name, value in as_json.items():
            if name in fields and isinstance(value, str) and isinstance(fields[name], str):
                self.assertIn(fields[name], (value, json.dumps(value)))  # as a `string` and as `json`

    def test_every_layout_has_a_vector(self) -> None:
        tested = {event["entry_fields"]["kind"] for event in VECTORS["events"]}
        self.assertLessEqual(set(verify.KINDS) - tested, {verify.KEY_CHANGED})

    def test_no_part_of_a_payload_is_well_formed(self) -> None:
        for event in VECTORS["events"]:
            layout = verify.layout_of(event["entry_fields"])
            assert layout is not None
            data = bytes.fromhex(event["payload"])
            for cut in [*range(len(data)), len(data) + 1]:
                with self.assertRaises(verify.Malformed):
                    verify.decode_all(verify.decoder(layout, False), (data + b"\x00")[:cut])

    def test_key_changed(self) -> None:
        fields = {
            "role": "epoch",
            "vkey": "v",
            "previous": "p",
            "certificate": None,
            "cause": "lost",
            "actor": "a",
            "reason": "r",
        }
        data = bytes.fromhex("01 0176 010170 00 02 0161 010172")
        self.assertEqual(verify.decode_all(verify.decoder("key.changed"), data), fields)


# --- Section 5 and 10 -------------------------------------------------------------------------------------------------


class Trees(unittest.TestCase):
    SIZES = 64
    leaves = [b"leaf %d" % i for i in range(SIZES)]

    def test_roots(self) -> None:
        tree = verify.Tree()
        for size in range(self.SIZES + 1):
            self.assertEqual(tree.root(), model_root(self.leaves[:size]))
            if size < self.SIZES:
                tree.append(verify.leaf_hash(self.leaves[size]))

    def test_inclusion(self) -> None:
        for size in range(1, self.SIZES + 1):
            leaves = self.leaves[:size]
            root = model_root(leaves)
            for index in range(size):
                leaf, path = verify.leaf_hash(leaves[index]), model_path(index, leaves)
                self.assertTrue(verify.inclusion_holds(index, size, leaf, path, root))
                for other in {index ^ 1, index + 1, size} - {index}:
                    self.assertFalse(verify.inclusion_holds(other, size, leaf, path, root))
                self.assertFalse(verify.inclusion_holds(index, size, sha(b"other"), path, root))
                self.assertFalse(verify.inclusion_holds(index, size, leaf, [*path, root], root))
                if path:
                    self.assertFalse(verify.inclusion_holds(index, size, leaf, path[:-1], root))
                    self.assertFalse(verify.inclusion_holds(index, size, leaf, [sha(b"x"), *path[1:]], root))

    def test_consistency(self) -> None:
        for new in range(self.SIZES + 1):
            new_root = model_root(self.leaves[:new])
            for old in range(new + 1):
                old_root = model_root(self.leaves[:old])
                path = model_consistency(old, self.leaves[:new]) if old else []
                self.assertTrue(verify.consistency_holds(old, new, old_root, new_root, path), (old, new))
                self.assertFalse(verify.consistency_holds(old, new, sha(b"x"), new_root, path))
                self.assertFalse(verify.consistency_holds(old, new, old_root, new_root, [*path, new_root]))
                if old != 0:
                    self.assertFalse(verify.consistency_holds(old, new, old_root, sha(b"x"), path))
                if path:
                    self.assertFalse(verify.consistency_holds(old, new, old_root, new_root, path[:-1]))
                    self.assertFalse(verify.consistency_holds(old, new, old_root, new_root, [sha(b"x"), *path[1:]]))
        self.assertFalse(verify.consistency_holds(2, 1, model_root(self.leaves[:2]), model_root(self.leaves[:1]), []))


# --- Sections 1, 7 and 8 ----------------------------------------------------------------------------------------------


class GoldenLog(InFolder):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.folder / "golden.db"
        shutil.copyfile(GOLDEN / "format-1.db", self.path)

    def spoil(self, *statements: str) -> Dict[str, Any]:
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                database.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                database.execute(statement)
            database.commit()
        return self.run_main("log", str(self.path))[1]

    def test_it_is_sound(self) -> None:
        status, verdict = self.run_main("log", str(self.path))
        self.assertEqual(status, 0)
        self.assertEqual(verdict["events"], 14)
        self.assertEqual(verdict["origin"], "example.org/golden")
        self.assertEqual(verdict["redacted"], [5])
        self.assertEqual(verdict["opaque_payloads"], 1)
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            rows = database.execute("SELECT entry, hash FROM log ORDER BY seq").fetchall()
        links = [bytes(32)] + [link for _, link in rows]
        self.assertEqual(verdict["head"], links[-1].hex())
        self.assertEqual(verdict["root"], model_root([b + e for b, (e, _) in zip(links, rows)]).hex())

    def test_a_missing_row(self) -> None:
        for seq in (1, 7):
            with self.subTest(seq):
                self.setUp()
                self.assert_fails(self.spoil(f"DELETE FROM log WHERE seq = {seq}"), seq, "sequence")

    def test_no_rows(self) -> None:
        self.assert_fails(self.spoil("DELETE FROM log"), 1, "sequence")

    def test_every_byte_of_every_column_counts(self) -> None:
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            rows = database.execute("SELECT seq, event_id, entry, payload, hash FROM log").fetchall()
        names = ["event_id", "entry", "payload", "hash"]
        chosen = random.Random(1)
        for seq, *cells in rows:
            for name, cell in zip(names, cells):
                if cell is None:
                    continue
                changed = bytearray(cell)
                changed[chosen.randrange(len(cell))] ^= 1 << chosen.randrange(8)
                self.setUp()
                verdict = self.spoil(f"UPDATE log SET {name} = x'{changed.hex()}' WHERE seq = {seq}")
                self.assertIsNotNone(verdict["failure"], (seq, name))
                # Where 13 is no licence any more, the payload of event 5 is gone unlicensed.
                self.assertIn(verdict["failure"]["seq"], (5, 13) if seq == 13 else (seq,), name)

    def test_a_table_of_redactions_that_differs(self) -> None:
        self.assert_fails(self.spoil("INSERT INTO redactions VALUES (7)"), 7, "redaction")
        self.assert_fails(self.spoil("INSERT INTO redactions VALUES (2)"), 2, "redaction")
        self.setUp()
        self.assert_fails(self.spoil("DELETE FROM redactions"), 5, "redaction")

    def test_a_payload_that_is_gone_without_a_licence(self) -> None:
        self.assert_fails(self.spoil("UPDATE log SET payload = NULL WHERE seq = 6"), 6, "redaction")

    def test_a_payload_that_is_back(self) -> None:
        # Its digest is not known any more, so what is put there fails before the licence is held against it.
        self.assert_fails(self.spoil("UPDATE log SET payload = x'00' WHERE seq = 5"), 5, "payload-digest")

    def test_other_files(self) -> None:
        self.spoil("PRAGMA application_id = 1")
        self.assertIn("no log", self.assert_cannot_check("log", str(self.path)))
        self.setUp()
        self.spoil("PRAGMA user_version = 99")
        self.assertIn("newer", self.assert_cannot_check("log", str(self.path)))
        self.spoil("PRAGMA user_version = 0")
        self.assert_cannot_check("log", str(self.path))
        self.assert_cannot_check("log", self.file("text", "no database, and longer than a header" * 20))
        self.assert_cannot_check("log", str(self.folder))
        self.assert_cannot_check("log", str(self.folder / "nowhere"))

    def test_schema_2_without_its_tables_is_still_a_log(self) -> None:
        self.assertIsNone(self.spoil("PRAGMA user_version = 2")["failure"])

    def test_other_tables(self) -> None:
        self.assert_fails(self.spoil("DROP TABLE redactions"), None, "damage")
        self.setUp()
        verdict = self.spoil("ALTER TABLE log RENAME TO real_log", "CREATE VIEW log AS SELECT * FROM real_log")
        self.assert_fails(verdict, None, "damage")
        self.setUp()
        self.assert_fails(self.spoil("ALTER TABLE log RENAME COLUMN hash TO link"), None, "damage")

    def test_a_virtual_table_that_is_said_to_have_pages_is_no_ordinary_one(self) -> None:
        columns = "seq, event_id, entry, payload, hash"
        verdict = self.spoil(
            "ALTER TABLE log RENAME TO kept",
            "CREATE VIEW told AS SELECT seq, event_id, entry, payload, hash FROM kept WHERE random() IS NOT NULL",
            f"CREATE VIRTUAL TABLE log USING fts5({columns}, content = 'told', content_rowid = 'seq')",
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_master SET rootpage = 2 WHERE name = 'log'",
        )
        self.assert_fails(verdict, None, "damage")

    def test_a_table_that_lacks_a_column_is_damaged_whatever_the_rows_say(self) -> None:
        for spoil in ("ALTER TABLE redactions RENAME COLUMN seq TO event", "ALTER TABLE log RENAME COLUMN hash TO link"):
            self.setUp()
            verdict = self.spoil("UPDATE log SET hash = zeroblob(32)", spoil)
            self.assert_fails(verdict, None, "damage")

    def test_a_column_is_found_by_its_name_in_any_case(self) -> None:
        self.assertIsNone(self.spoil("ALTER TABLE log RENAME COLUMN hash TO HASH")["failure"])

    def test_a_row_that_sqlite_gives_out_of_order_fails_where_it_is_given(self) -> None:
        data = bytearray(self.path.read_bytes())
        data[10248] = 12  # where the row of event 11 lies: what is there has the seq 0
        self.path.write_bytes(bytes(data))
        self.assert_fails(self.run_main("log", str(self.path))[1], 11, "sequence")

    def test_a_file_that_is_cut_off(self) -> None:
        data = self.path.read_bytes()
        self.path.write_bytes(data[: len(data) // 2])
        self.assert_fails(self.run_main("log", str(self.path))[1], None, "damage")

    def test_any_damage_is_a_verdict(self) -> None:
        chosen = random.Random(2)
        good = self.path.read_bytes()
        statuses = set()
        for _ in range(300):
            data = bytearray(good)
            for _ in range(chosen.choice((1, 4, 40))):
                data[chosen.randrange(len(data))] = chosen.randrange(256)
            self.path.write_bytes(bytes(data))
            status, _ = self.run_main("log", str(self.path))
            statuses.add(status)
        self.assertLessEqual(statuses, {0, 1, 2})

    def test_what_sqlite_quotes_of_a_hostile_file_does_not_reach_the_terminal(self) -> None:
        data = self.path.read_bytes()
        for hostile in (b"(\x1b[2J\n seq", b"(\xff\x1b\xfd\x07\x07 seq"):
            self.path.write_bytes(data.replace(b"CREATE TABLE log (\n  seq   ", b"CREATE TABLE log " + hostile))
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                self.assertEqual(verify.main(["log", str(self.path)]), 1)
            self.assertIn("NOT INTACT: damage: SQLite cannot read the file: malformed", out.getvalue())
            self.assertNotRegex(out.getvalue(), "[\x00-\x09\x0b-\x1f]")

    def test_an_empty_wal_is_none(self) -> None:
        """Whoever opens a log to read it leaves one there as long as they read."""
        (self.folder / "golden.db-wal").write_bytes(b"")
        status, verdict = self.run_main("log", str(self.path))
        self.assertEqual((status, verdict["with_wal"]), (0, False))

    def test_a_wal_belongs_to_the_log(self) -> None:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as writer:
            writer.execute("PRAGMA journal_mode = WAL")
            writer.execute("DROP TRIGGER log_rows_never_change")
            writer.execute("UPDATE log SET payload = NULL WHERE seq = 6")
            _, verdict = self.run_main("log", str(self.path))
        self.assertTrue(verdict["with_wal"])
        self.assert_fails(verdict, 6, "redaction")

    def test_nothing_is_made_beside_a_log_that_nobody_has_open(self) -> None:
        self.spoil("PRAGMA journal_mode = WAL")
        before = self.path.read_bytes()
        self.assertEqual(self.run_main("log", str(self.path))[0], 0)
        self.assertEqual(os.listdir(self.folder), [self.path.name])
        self.assertEqual(self.path.read_bytes(), before)

    def test_names_that_a_uri_would_take_apart(self) -> None:
        for name in ("a?mode=rwc", "a#b", "a%41", "ä b"):
            path = self.folder / name
            shutil.copyfile(self.path, path)
            self.assertEqual(self.run_main("log", str(path))[0], 0, name)


class Checks(InFolder):
    """Every check of section 8, and which comes first."""

    def setUp(self) -> None:
        super().setUp()
        self.log = Log()
        for _ in range(5):
            self.log.add()

    def relink(self, at: int, **fields: Any) -> Log:
        """The log with other fields in an entry, and links that follow from it."""
        changed = Log(first=False)
        for row in self.log.rows:
            entry = row[2]
            if row[0] == at:
                entry = encode("entry", {**verify.read_entry(entry), **fields})
            changed.push(row[1], entry, row[3])
        return changed

    def test_a_sound_log(self) -> None:
        verdict = self.judge(self.log)
        self.assertTrue(verdict["consistent"])
        self.assertEqual(verdict["events"], 6)
        self.assertIsNone(verdict["anchored_to"])

    def test_schema_1(self) -> None:
        self.log.schema = 1
        self.assertTrue(self.judge(self.log)["consistent"])

    def test_sequence(self) -> None:
        for seq in (-1, 0, 2, 2**62):
            with self.subTest(seq):
                log = Log(first=False)
                log.add(1, log_created(), session=None)
                log.rows[0][0] = seq
                self.assert_log_fails(log, 1, "sequence")
        self.log.rows[3][0] = 100  # the row of event 5 is found in the place of event 4
        self.assert_log_fails(self.log, 4, "sequence")

    def test_format_comes_before_entry(self) -> None:
        for entry in (b"\x02", b"\x02" + self.log.rows[2][2][1:], b"\x00" * 70_000):
            self.log.rows[2][2] = entry
            self.assert_log_fails(self.log, 3, "format")

    def test_entry(self) -> None:
        good = self.log.rows[2][2]
        for entry in (b"", b"\x01", good[:-1], good + b"\x00", b"\x01" * 65_504):
            self.log.rows[2][2] = entry
            self.assert_log_fails(self.log, 3, "entry")
        for entry in ("text", 7, 0.5, None):
            self.log.rows[2][2] = entry
            self.assert_log_fails(self.log, 3, "entry", strict=False)

    def test_text_that_is_not_utf_8_where_a_blob_belongs(self) -> None:
        checks = {
            "seq": "sequence",
            "entry": "entry",
            "event_id": "identity",
            "payload": "payload-digest",
            "hash": "link",
        }
        path = self.log.write(self.folder / "log.db", strict=False)
        for column, check in checks.items():
            with contextlib.closing(sqlite3.connect(path)) as database:
                database.execute("ALTER TABLE log RENAME TO sound")
                database.execute("CREATE TABLE log (seq, event_id, entry, payload, hash)")
                database.execute("INSERT INTO log SELECT * FROM sound")
                database.execute(f"UPDATE log SET {column} = CAST(x'ff' AS TEXT) WHERE seq = 1")
                database.commit()
            _, verdict = self.run_main("log", str(path))
            self.assert_fails(verdict, 1, check)
            with contextlib.closing(sqlite3.connect(path)) as database:
                database.execute("DROP TABLE log")
                database.execute("ALTER TABLE sound RENAME TO log")
                database.commit()

    def test_a_long_entry(self) -> None:
        room = verify.LONGEST_ENTRY - len(self.log.rows[-1][2]) - 1  # the length of the session takes two bytes more
        self.log.add(session="s" * room)
        self.assertEqual(len(self.log.rows[-1][2]), verify.LONGEST_ENTRY)
        self.assertTrue(self.judge(self.log)["consistent"])
        self.log.add(session="s" * (room + 1))
        self.assert_log_fails(self.log, 8, "entry")

    def test_identity(self) -> None:
        self.assert_log_fails(self.relink(3, seq=4), 3, "identity")
        self.assert_log_fails(self.relink(3, event_id=bytes(16)), 3, "identity")
        for event_id in (b"", "text", None, 3):
            self.log.rows[2][1] = event_id
            self.assert_log_fails(self.log, 3, "identity", strict=False)

    def test_first_event(self) -> None:
        self.assert_log_fails(self.relink(1, kind=NOTE), 1, "first-event")
        self.assert_log_fails(self.relink(1, session="s"), 1, "first-event")
        self.assert_log_fails(self.relink(3, kind=1), 3, "first-event")

    def test_payload_digest(self) -> None:
        good = self.log.rows[2][3]
        for cell in (good + b"\x00", b"", bytes(16) + good[16:]):
            self.log.rows[2][3] = cell
            self.assert_log_fails(self.log, 3, "payload-digest")
        for other in ("text", 1, 1.5):
            self.log.rows[2][3] = other
            self.assert_log_fails(self.log, 3, "payload-digest", strict=False)

    def test_payload(self) -> None:
        for cell in (b"", bytes(15)):
            log = Log()
            log.add(cell=cell)
            self.assert_log_fails(log, 2, "payload")
            log = Log()
            log.add(CUSTOM_UNKNOWN, cell=cell)
            self.assert_log_fails(log, 2, "payload")
        self.log.add(payload=note_logged("x") + b"\x00")
        self.log.add()
        self.assert_log_fails(self.log, 7, "payload")

    def test_opaque_payloads(self) -> None:
        self.log.add(CUSTOM_UNKNOWN, b"whatever")
        self.log.add(NOTE, b"whatever", version=2)
        self.log.add(NOTE, b"whatever", encoding=1)
        self.log.add(250, b"reserved, and not known")
        self.log.add(65535, b"")
        verdict = self.judge(self.log)
        self.assertTrue(verdict["consistent"])
        self.assertEqual(verdict["opaque_payloads"], 5)
        self.log.rows[6][3] += b"!"
        self.assert_log_fails(self.log, 7, "payload-digest")

    def test_events_that_were_lost_are_those_that_are_not_in_the_log(self) -> None:
        def lost(count: int, *ids: bytes) -> bytes:
            return encode("u64", count) + b"\x02\x01r" + encode("u64", len(ids)) + b"".join(ids)

        found, missing, other = self.log.rows[2][1], bytes(15) + b"\x01", bytes(15) + b"\x02"
        self.log.add(240, lost(5, found, missing, missing), version=2)
        self.assertEqual(self.judge(self.log)["events_lost"], 3 + 1)
        self.log.add(240, lost(2, missing, other), version=2)
        self.log.add(240, encode("u64", 7) + b"\x02\x01r")
        self.assertEqual(self.judge(self.log)["events_lost"], 3 + 2 + 7)
        self.log.add(event_id=other)
        self.assertEqual(self.judge(self.log)["events_lost"], 3 + 1 + 7)

    def test_link(self) -> None:
        good = self.log.rows[2][4]
        for link in (bytes(32), good[:-1], good + b"\x00"):
            self.log.rows[2][4] = link
            self.assert_log_fails(self.log, 3, "link")
        for link in ("text", None, 5):
            self.log.rows[2][4] = link
            self.assert_log_fails(self.log, 3, "link", strict=False)

    def test_a_row_that_was_replaced_with_its_link(self) -> None:
        self.log.rows[2] = self.relink(3, recorded_at=5).rows[2]
        self.assert_log_fails(self.log, 4, "link")

    def test_damage_within_the_rows(self) -> None:
        for _ in range(300):
            self.log.add()
        for first_bad in (None, 4):
            if first_bad is not None:
                self.log.rows[first_bad - 1][4] = bytes(32)
            path = self.log.write(self.folder / "log.db")
            data = bytearray(path.read_bytes())
            middle = len(data) // 2 // 4096 * 4096
            data[middle : middle + 4096] = b"\xff" * 4096
            path.write_bytes(bytes(data))
            status, verdict = self.run_main("log", str(path))
            self.assertEqual(status, 1)
            if first_bad is None:
                self.assert_fails(verdict, None, "damage")
                self.assertIn(f"read is {verdict['events']}", verdict["failure"]["detail"])
                self.assertGreater(verdict["events"], 50)
            else:
                self.assert_fails(verdict, first_bad, "link")
                self.assertIn("SQLite cannot read on", verdict["remarks"][0])

    def damaged_in_the_middle(self, *arguments: str) -> Tuple[int, Dict[str, Any]]:
        """A log of which SQLite cannot read some rows, how many it can read before them, and what is said of it."""
        for _ in range(300):
            self.log.add()
        path = self.log.write(self.folder / "log.db")
        data = bytearray(path.read_bytes())
        middle = len(data) // 2 // 4096 * 4096
        data[middle : middle + 4096] = b"\xff" * 4096
        path.write_bytes(bytes(data))
        readable = 0
        with contextlib.closing(sqlite3.connect(path)) as database:
            with contextlib.suppress(sqlite3.DatabaseError):
                while database.execute(f"SELECT seq FROM log ORDER BY seq LIMIT 1 OFFSET {readable}").fetchone():
                    readable += 1
        return readable, self.run_main("log", str(path), *arguments)[1]

    def test_the_last_row_before_damage_is_judged(self) -> None:
        readable, verdict = self.damaged_in_the_middle()
        self.assertEqual(verdict["events"], readable)
        self.assert_fails(verdict, None, "damage")

    def test_what_lies_before_damage_is_held_against_checkpoints(self) -> None:
        signer = Signer(1)
        fits, other = self.log.checkpoint(signer, size=1), Log()
        other.add(session="other")
        both = self.file("kept", f"{fits}\n{other.checkpoint(signer)}")
        _, verdict = self.damaged_in_the_middle("--checkpoint", both, "--key", signer.vkey)
        self.assert_fails(verdict, None, "damage")
        self.assertEqual([failure["check"] for failure in verdict["further_failures"]], ["checkpoint-root"])
        self.assertEqual(verdict["anchored_to"], 1)

    def test_what_the_system_cannot_read_is_no_damage(self) -> None:
        path = self.log.write(self.folder / "log.db")
        for error in (
            sqlite3.OperationalError("disk I/O error"),
            sqlite3.OperationalError("database or disk is full"),
            sqlite3.OperationalError("interrupted"),
            sqlite3.OperationalError("access permission denied"),
        ):
            with mock.patch.object(verify.LogFile, "rows", side_effect=error):
                self.assertIn(str(error), self.assert_cannot_check("log", str(path)))
        # A page that should be there and is not is missing from the file.
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = 10 | 2 << 8  # type: ignore[attr-defined]
        with mock.patch.object(verify.LogFile, "rows", side_effect=error):
            self.assert_fails(self.run_main("log", str(path))[1], None, "damage")

    def test_a_clock_that_was_set_back_is_no_failure(self) -> None:
        verdict = self.judge(self.relink(3, recorded_at=-(2**63)))
        self.assertTrue(verdict["consistent"])
        self.assertEqual(verdict["clock_set_back"], 1)

    def test_text_of_a_hostile_file_does_not_reach_the_terminal(self) -> None:
        log = Log()
        log.add()
        log.add(241, number(0) + text("\x1b[2J\u202e") + text("a\nb") + b"\x00", session=None)
        path = log.write(self.folder / "log.db")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(verify.main(["log", str(path)]), 0)
        self.assertNotRegex(out.getvalue(), "[\x00-\x09\x0b-\x1f\u202e]")


class Redactions(InFolder):
    def setUp(self) -> None:
        super().setUp()
        self.log = Log()
        for _ in range(5):
            self.log.add()  # events 2 to 6

    def test_redactions_are_listed(self) -> None:
        licence = self.log.redact(3, 5)
        self.log.redact(5, 3, 3)
        self.log.redactions = [3, 5]
        verdict = self.judge(self.log)
        self.assertTrue(verdict["consistent"])
        self.assertEqual(verdict["redacted"], [3, 5])
        self.assertEqual([each["seq"] for each in verdict["licences"]], [licence, licence + 1])

    def test_a_list_without_seqs_licenses_nothing(self) -> None:
        self.log.redact()
        self.assertTrue(self.judge(self.log)["consistent"])

    def test_no_licence(self) -> None:
        self.log.rows[2][3] = None
        self.log.rows[4][3] = None
        self.log.redactions = [3, 5]  # the table licenses nothing
        self.assert_log_fails(self.log, 3, "redaction")

    def test_a_reserved_kind(self) -> None:
        for kind in (240, 241, 242, 243, 250):
            log = Log()
            log.add(kind, b"", version=9)
            log.rows[1][3] = None
            log.add(241, redacted(2), session=None)
            self.assert_log_fails(log, 2, "redaction")

    def test_licences_that_are_not_valid(self) -> None:
        for seqs in ([0], [7], [8], [1], [2**64 - 1], [3, 1]):
            with self.subTest(seqs):
                log = Log()
                for _ in range(5):
                    log.add()
                log.rows[2][3] = None
                log.add(241, redacted(*seqs), session=None)
                # The licence ends the judging at 7, and licenses nothing: event 3 stays without one.
                self.assert_log_fails(log, 3, "redaction")

    def test_a_licence_for_what_is_still_there(self) -> None:
        self.log.add(241, redacted(3), session=None)
        self.assert_log_fails(self.log, 7, "redaction")

    def test_a_licence_that_fails_so_licenses_the_rest_that_it_names(self) -> None:
        self.log.add(241, redacted(3, 4), session=None)
        self.log.rows[2][3] = None
        self.assert_log_fails(self.log, 7, "redaction")

    def test_the_table_must_be_exact(self) -> None:
        self.log.redact(3, 5)
        for table, seq in (
            ([], 3),
            ([3], 5),
            ([5], 3),
            ([3, 4, 5], 4),
            ([2, 3, 5], 2),
            ([3, 5, 9], 9),
            ([-1, 3, 5], -1),
        ):
            self.log.redactions = table
            self.assert_log_fails(self.log, seq, "redaction")
        self.log.redactions = [3, 5, "text"]
        self.assert_log_fails(self.log, None, "redaction", strict=False)

    def test_a_licence_after_the_first_failure_counts(self) -> None:
        self.log.rows[2][3] = None
        self.log.add()
        self.log.add(241, redacted(3), session=None)
        self.log.rows[6][4] = bytes(32)
        self.assert_log_fails(self.log, 7, "link")

    def test_without_one_the_smaller_seq_is_first(self) -> None:
        self.log.rows[2][3] = None
        self.log.rows[4][4] = bytes(32)
        self.assert_log_fails(self.log, 3, "redaction")

    def test_a_larger_seq_is_not(self) -> None:
        self.log.rows[4][3] = None
        self.log.rows[2][4] = bytes(32)
        self.assert_log_fails(self.log, 3, "link")

    def test_at_the_same_row_redaction_comes_before_link(self) -> None:
        self.log.rows[2][3] = None
        self.log.rows[2][4] = bytes(32)
        self.assert_log_fails(self.log, 3, "redaction")

    def test_and_after_identity(self) -> None:
        self.log.rows[2][3] = None
        self.log.rows[2][1] = bytes(16)
        self.assert_log_fails(self.log, 3, "identity")

    def test_licences_after_a_gap(self) -> None:
        self.log.rows[2][3] = None
        self.log.add()
        self.log.add(241, redacted(3), session=None)
        del self.log.rows[5]
        self.assert_log_fails(self.log, 6, "sequence")

    def test_licences_after_a_failure_must_be_whole(self) -> None:
        for spoil in ("identity", "digest", "reserved", "opaque"):
            with self.subTest(spoil):
                log = Log()
                for _ in range(5):
                    log.add()
                log.rows[2][3] = None
                log.rows[4][4] = bytes(32)  # the failure at 5
                log.add(LOST, number(1) + signed(0) + text("x"), session=None)
                seqs = (3, 7) if spoil == "reserved" else (3,)
                log.add(241, redacted(*seqs), session=None, version=2 if spoil == "opaque" else 1)
                if spoil == "identity":
                    log.rows[-1][1] = bytes(16)
                if spoil == "digest":
                    log.rows[-1][3] += b"\x00"
                self.assert_log_fails(log, 3, "redaction")

    def test_the_table_is_not_asked_after_a_failure(self) -> None:
        self.log.redactions = [2]
        self.log.rows[4][4] = bytes(32)
        self.assert_log_fails(self.log, 5, "link")


# --- Section 11 -------------------------------------------------------------------------------------------------------


class Notes(unittest.TestCase):
    signer = Signer(1)
    body = "example.org/log\n3\n" + b64(bytes(32)) + "\n"

    def test_the_example_of_the_specification_of_notes(self) -> None:
        """The key and note of the documentation of golang.org/x/mod/sumdb/note."""
        key = verify.Key.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
        text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
        line = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
        note = verify.Note.parse(f"{text}\n\u2014 PeterNeumann {line}\n")
        self.assertEqual(note.text, text)
        self.assertEqual(note.signatures[0].key_id, key.id)
        self.assertTrue(key.signed(note.text, note.signatures[0].signature))
        self.assertFalse(key.signed(note.text + "x", note.signatures[0].signature))

    def test_keys(self) -> None:
        key = verify.Key.parse(self.signer.vkey)
        self.assertEqual((key.name, key.id), (ORIGIN, self.signer.id))
        name, key_id, material = self.signer.vkey.split("+", 2)
        wrong = [
            "",
            name,
            f"{name}+{key_id}",
            f"+{key_id}+{material}",
            f"a b+{key_id}+{material}",
            f"{name}+00000000+{material}",
            f"{name}+{key_id[:-1]}+{material}",
            f"{name}+{'A' * 8}+{material}",
            f"{name}+{key_id}+{material[:-4]}",
            f"{name}+{key_id}+{material}\n",
            Signer(1, kind=2).vkey,
            Signer(1, name="n" * 256).vkey,
        ]
        for vkey in wrong:
            with self.assertRaises(verify.Malformed, msg=vkey):
                verify.Key.parse(vkey)
        verify.Key.parse(Signer(1, name="n" * 255).vkey)

    def test_a_key_by_which_anybody_can_sign_is_none(self) -> None:
        def vkey(kind: int, public: bytes) -> str:
            material = bytes([kind]) + public
            return f"{ORIGIN}+{sha(ORIGIN.encode() + bytes([10]) + material)[:4].hex()}+{b64(material)}"

        field = verify.FIELD
        small = [y + sign * 2**255 for y in verify.Y_OF_SMALL_ORDER for sign in (0, 1)]
        other_spellings = [y + sign * 2**255 for y in (field, field + 1, field + 18) for sign in (0, 1)]
        of_no_point = [2, 2 + 2**255]
        for kind in (verify.ED25519, verify.COSIGNATURE):
            for number in small + other_spellings + of_no_point:
                with self.assertRaises(verify.Malformed, msg=hex(number)):
                    verify.Key.parse(vkey(kind, number.to_bytes(32, "little")))
        for length in (0, 31, 33):
            with self.assertRaises(verify.Malformed):
                verify.Key.parse(vkey(verify.ED25519, bytes(length)))

    def test_the_points_of_small_order_are_all_of_them(self) -> None:
        """The doubling of a point needs its y alone: (y^2 + x^2) / (2 - y^2 + x^2)."""
        p, d = verify.FIELD, verify.CURVE_D

        def doubled(y: int) -> int:
            x_squared = (y * y - 1) * pow(d * y * y + 1, p - 2, p) % p
            return (y * y + x_squared) * pow(2 - y * y + x_squared, p - 2, p) % p

        for y in verify.Y_OF_SMALL_ORDER:
            self.assertEqual(doubled(doubled(doubled(y))), 1)
        # Eight points: two with x = 0, and two signs of x for the others.
        self.assertEqual(len(set(verify.Y_OF_SMALL_ORDER)), 5)
        self.assertEqual(verify.Y_OF_SMALL_ORDER[1:3], (1, p - 1))

    def test_two_keys_of_one_name_and_id_tell_nothing(self) -> None:
        one = verify.Key.parse(self.signer.vkey)
        other = verify.Key(one.name, one.id, one.type, verify.Key.parse(Signer(2).vkey).public)
        note = verify.Note.parse(note_of(self.body, self.signer))
        trusted = [verify.TrustedKey(key, verify.STABLE) for key in (one, other)]
        with self.assertRaises(verify.Malformed):
            verify.Trust(trusted).good_signers(note, trusted)
        self.assertEqual(len(verify.Trust().good_signers(note, trusted[:1] * 2)), 1)

    def test_a_cosignature_of_a_time_that_is_none(self) -> None:
        for kind in (verify.COSIGNATURE, verify.ML_DSA_44):
            witness = Signer(3, "witness.example/w", kind)
            key = verify.Key.parse(witness.vkey)
            for time, holds in ((0, True), (2**63 - 1, True), (2**63, False)):
                line = verify.parse_signature(witness.line(self.body, time=time)[:-1])
                self.assertEqual(key.signed(self.body, line.signature), holds, (kind, time))

    def test_ml_dsa_44_signs_checkpoints_alone(self) -> None:
        witness = Signer(3, "witness.example/w", verify.ML_DSA_44)
        key = verify.Key.parse(witness.vkey)
        signature = verify.parse_signature(witness.line(self.body)[:-1]).signature
        self.assertTrue(key.signed(self.body, signature))
        # Lines after the third are not under it.
        self.assertTrue(key.signed(self.body + "more\n", signature))
        for other in ("a\n", self.body.replace("3", "4", 1), "x" + self.body):
            self.assertFalse(key.signed(other, signature))
        for length in (0, 8, 2_427, 2_429):
            self.assertFalse(key.signed(self.body, bytes(length)))

    def test_malformed_notes(self) -> None:
        good = note_of(self.body, self.signer)
        line = self.signer.line(self.body)
        verify.Note.parse(good)
        wrong = [
            "",
            "\n",
            self.body,
            self.body + "\n",
            good[:-1],
            good + "\n",
            good.replace("\u2014", "-"),
            good.replace("\u2014 ", "\u2014  "),
            good.replace("3", "\t"),
            good[:-2] + "\n",
            f"{self.body}\n\u2014 a+b {b64(bytes(68))}\n",
            f"{self.body}\n\u2014 a {b64(bytes(4))}\n",
            self.body + "\n" + line * 67,
            "x" * (1 << 20) + "\n\n" + line,
            "\ud800" + good,
        ]
        for note in wrong:
            with self.assertRaises(verify.Malformed, msg=repr(note)):
                verify.Note.parse(note)
        self.assertEqual(len(verify.Note.parse(self.body + "\n" + line * 16).signatures), 16)

    def test_malformed_checkpoints(self) -> None:
        root = b64(bytes(32))
        bodies = [
            f"{ORIGIN}\n03\n{root}\n",
            f"{ORIGIN}\n-3\n{root}\n",
            f"{ORIGIN}\n\u0663\n{root}\n",
            f"{ORIGIN}\n{2**64}\n{root}\n",
            f"{ORIGIN}\n{'9' * 5000}\n{root}\n",
            f"{ORIGIN}\n3\n{root[:-4]}\n",
            f"{ORIGIN}\n3\n{root[:-2]}B=\n",
            f"{ORIGIN}\n3\n{root}\n\nan extension\n",
            f"{ORIGIN}\n3\n",
            f"\n3\n{root}\n",
        ]
        for body in bodies:
            with self.assertRaises(verify.Malformed, msg=body):
                verify.Checkpoint.parse(note_of(body, self.signer))
        for size, more in ((0, ""), (3, "an extension\n"), (2**64 - 1, "")):
            body = f"{ORIGIN}\n{size}\n{root}\n{more}"
            self.assertEqual(verify.Checkpoint.parse(note_of(body, self.signer)).size, size)

    def test_checkpoint_files(self) -> None:
        one = note_of(self.body, self.signer)
        two = note_of(self.body.replace("3", "4"), self.signer, Signer(2))
        self.assertEqual([c.size for c in verify.parse_checkpoints(one)], [3])
        self.assertEqual([c.size for c in verify.parse_checkpoints(f"{one}\n{two}\n{one}")], [3, 4, 3])
        for wrong in ("", one + two, one + "\n", f"{one}\n\n{two}", f"\n{one}"):
            with self.assertRaises(verify.Malformed, msg=repr(wrong)):
                verify.parse_checkpoints(wrong)


class Published(unittest.TestCase):
    """Vectors of other projects."""

    def test_a_checkpoint_that_torchwood_signed_with_ml_dsa_44(self) -> None:
        vkey, checkpoint = (GOLDEN / "torchwood-ml-dsa-44.txt").read_text("utf-8").split("\n", 1)
        key, note = verify.Key.parse(vkey), verify.Checkpoint.parse(checkpoint).note
        by_key = [signature for signature in note.signatures if signature.key_id == key.id]
        self.assertEqual([key.signed(note.text, signature.signature) for signature in by_key], [True])
        changed = note.text.replace("\n1\n", "\n2\n")
        self.assertFalse(key.signed(changed, by_key[0].signature))

    def test_ed25519_of_cctv(self) -> None:
        vectors = json.loads(published("ed25519-cctv/ed25519vectors.json").read_text("utf-8"))
        refused = {"low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R", "low_order_residue"}
        held = 0
        for vector in vectors:
            key, signature = bytes.fromhex(vector["key"]), bytes.fromhex(vector["sig"])
            holds = verify.ed25519_holds(key, vector["msg"].encode("utf-8"), signature)
            self.assertEqual(holds, not refused & set(vector["flags"] or []), vector)
            held += holds
        self.assertEqual(len(vectors), 914)
        self.assertGreater(held, 0)

    def test_ed25519_of_wycheproof(self) -> None:
        groups = json.loads(published("wycheproof/ed25519_test.json").read_text("utf-8"))["testGroups"]
        for group in groups:
            key = bytes.fromhex(group["publicKey"]["pk"])
            for test in group["tests"]:
                message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
                self.assertEqual(verify.ed25519_holds(key, message, signature), test["result"] == "valid", test)

    def test_ml_dsa_44_of_wycheproof(self) -> None:
        groups = json.loads(published("wycheproof/mldsa_44_verify_test.json").read_text("utf-8"))["testGroups"]
        for group in groups:
            key = bytes.fromhex(group["publicKey"])
            for test in group["tests"]:
                message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
                holds = verify.ml_dsa_44_holds(key, message, signature, bytes.fromhex(test.get("ctx", "")))
                self.assertEqual(holds, test["result"] == "valid", test["tcId"])

    def hashes(self, *texts: str) -> List[bytes]:
        # Some are words that stand for any hash.
        return [verify.from_base64(text) for text in texts]

    def test_inclusion_of_transparency_dev(self) -> None:
        for path in sorted(published("merkle/testdata/inclusion").rglob("*.json")):
            case = json.loads(path.read_text("utf-8"))
            root, leaf = self.hashes(case["root"], case["leafHash"])
            proof = self.hashes(*(case["proof"] or []))
            # Nothing is no hash, and no file is read so that it could be one.
            holds = bool(leaf and root)
            holds = holds and verify.inclusion_holds(case["leafIdx"], case["treeSize"], leaf, proof, root)
            self.assertEqual(holds, not case["wantErr"], path)

    def test_consistency_of_transparency_dev(self) -> None:
        for path in sorted(published("merkle/testdata/consistency").rglob("*.json")):
            case = json.loads(path.read_text("utf-8"))
            old_root, new_root = self.hashes(case["root1"], case["root2"])
            proof = self.hashes(*(case["proof"] or []))
            holds = verify.consistency_holds(case["size1"], case["size2"], old_root, new_root, proof)
            # Its authors refuse an older log of no events; witnesses take one, and so does section 12.
            from_nothing = case["size1"] == 0 < case["size2"] and old_root == sha(b"") and not proof
            self.assertEqual(holds, from_nothing or not case["wantErr"], path)


class Anchors(InFolder):
    def setUp(self) -> None:
        super().setUp()
        self.signer, self.other = Signer(1), Signer(2)
        self.log = Log()
        for _ in range(6):
            self.log.add()

    def check(self, checkpoint: str, *keys: Signer) -> Dict[str, Any]:
        trusted = [part for key in keys or (self.signer,) for part in ("--key", key.vkey)]
        return self.judge(self.log, "--checkpoint", self.file("checkpoint", checkpoint), *trusted)

    def test_anchored(self) -> None:
        for size in range(8):
            verdict = self.check(self.log.checkpoint(self.signer, size=size))
            self.assertIsNone(verdict["failure"])
            self.assertEqual(verdict["anchored_to"], size or None)  # the log without events begins every log
        both = self.log.checkpoint(self.signer, size=5) + "\n" + self.log.checkpoint(self.other, self.signer, size=2)
        self.assertEqual(self.check(both)["anchored_to"], 5)

    def test_signature(self) -> None:
        self.assert_not_checked(self.check(self.log.checkpoint(self.other)), self.other.id.hex())
        body = self.log.note()
        bad = f"{body}\n{self.signer.line(body, good=False)}"
        self.assert_fails(self.check(bad), None, "checkpoint-signature")
        # A good signature beside it does not make up for it.
        self.assert_fails(
            self.check(bad + self.other.line(body), self.signer, self.other), None, "checkpoint-signature"
        )
        # One by a key that is not known is not looked at.
        self.assertEqual(self.check(bad + self.other.line(body), self.other)["anchored_to"], 7)

    def test_a_key_of_another_log_signs_nothing_here(self) -> None:
        other = Signer(1, "example.org/other")
        self.assert_not_checked(self.check(self.log.checkpoint(other), other), "example.org/other")
        # Nor is anything said of a log with keys of another one alone.
        self.assert_not_checked(self.judge(self.log, "--key", other.vkey), "none of the keys given")
        self.assertEqual(self.judge(self.log, "--key", other.vkey, "--key", self.signer.vkey)["not_checked"], [])

    def test_origin(self) -> None:
        other = Signer(3, "example.org/other")
        note = note_of(self.log.note(origin=other.name), other)
        self.assert_fails(self.check(note, self.signer, other), None, "checkpoint-origin")

    def test_size(self) -> None:
        note = self.log.checkpoint(self.signer)
        del self.log.rows[-1]
        self.assert_fails(self.check(note), None, "checkpoint-size")

    def test_root(self) -> None:
        small, large = self.log.checkpoint(self.signer, size=3), self.log.checkpoint(self.signer)
        anew = Log()
        anew.add(), anew.add()
        for _ in range(4):
            anew.add(session="other")
        self.log = anew
        verdict = self.check(f"{small}\n{large}")
        self.assert_fails(verdict, None, "checkpoint-root")
        self.assertEqual(verdict["anchored_to"], 3)

    def test_a_failure_in_the_rows_comes_first(self) -> None:
        note = self.log.checkpoint(self.signer, size=3) + "\n" + self.log.checkpoint(self.signer)
        self.log.rows[4][4] = bytes(32)
        verdict = self.check(note)
        self.assert_fails(verdict, 5, "link")
        self.assertEqual(verdict["anchored_to"], 3)
        self.assertEqual(verdict["events"], 4)

    def test_a_witness(self) -> None:
        witness = Signer(4, "witness.example/w", kind=4)
        both = self.log.checkpoint(self.signer, witness)
        self.assertEqual(self.check(both, self.signer, witness)["anchored_to"], 7)
        # A witness saw the checkpoint. That the log's own key signed it, it does not say.
        self.assert_not_checked(self.check(both, witness), "is signed by")
        namesake = Signer(5, self.signer.name, kind=4)
        self.assert_not_checked(self.check(self.log.checkpoint(namesake), namesake), "is signed by")
        body = self.log.note()
        bad = self.log.checkpoint(self.signer) + witness.line(body, good=False)
        self.assert_fails(self.check(bad, self.signer, witness), None, "checkpoint-signature")
        short = self.log.checkpoint(self.signer) + f"\u2014 {witness.name} {b64(witness.id + bytes(3))}\n"
        self.assert_fails(self.check(short, witness), None, "checkpoint-signature")

    def test_a_witness_that_signs_with_ml_dsa_44(self) -> None:
        witness = Signer(4, "witness.example/w", kind=verify.ML_DSA_44)
        both = self.log.checkpoint(self.signer, witness)
        self.assertEqual(self.check(both, self.signer, witness)["anchored_to"], 7)
        self.assert_not_checked(self.check(both, witness), "is signed by")
        bad = self.log.checkpoint(self.signer) + witness.line(self.log.note(), good=False)
        self.assert_fails(self.check(bad, self.signer, witness), None, "checkpoint-signature")
        self.assertEqual(self.check(bad, self.signer)["anchored_to"], 7)

    def test_without_ml_dsa_all_else_is_checked_and_what_is_not_is_named(self) -> None:
        witness = Signer(4, "witness.example/w", kind=verify.ML_DSA_44)
        both, alone = self.log.checkpoint(self.signer, witness), self.log.checkpoint(self.signer)
        path = str(self.log.write(self.folder / "log.db"))

        def check(checkpoint: str, *keys: Signer) -> Tuple[int, Dict[str, Any]]:
            named = [part for key in keys for part in ("--key", key.vkey)]
            return self.run_main("log", path, "--checkpoint", self.file("c", checkpoint), *named)

        with mock.patch.object(verify, "has_ml_dsa", lambda: False):
            status, verdict = check(both, self.signer, witness)
            self.assertEqual((status, verdict["anchored_to"], len(verdict["not_checked"])), (2, 7, 1))
            self.assertIn("witness.example/w", verdict["not_checked"][0])
            # Where nothing of it was asked for, nothing is left out.
            for checkpoint, keys in ((both, (self.signer,)), (alone, (self.signer, witness))):
                status, verdict = check(checkpoint, *keys)
                self.assertEqual((status, verdict["not_checked"]), (0, []))
            self.log.rows[4][4] = bytes(32)
            self.log.write(self.folder / "log.db")
            self.assertEqual(check(both, self.signer, witness)[0], 1)

    def test_stored_checkpoints(self) -> None:
        self.log.checkpoints = [
            (2, self.log.checkpoint(self.signer, size=2)),
            (4, self.log.checkpoint(self.signer, size=4)),
            (5, self.log.checkpoint(self.other, size=5)),
            (6, "no checkpoint"),
        ]
        verdict = self.judge(self.log)
        self.assertIsNone(verdict["signed_to"])
        self.assertIn("no key was given", verdict["not_looked_at"][0])
        verdict = self.judge(self.log, "--key", self.signer.vkey)
        self.assertIsNone(verdict["failure"])
        self.assertIsNone(verdict["anchored_to"])  # who can write the file could have deleted larger ones
        self.assertEqual(verdict["signed_to"], 4)
        self.assertEqual(len(verdict["remarks"]), 2)
        verdict = self.check(self.log.checkpoint(self.signer, size=3))
        self.assertEqual((verdict["anchored_to"], verdict["signed_to"]), (3, 4))

    def test_stored_checkpoints_that_do_not_fit(self) -> None:
        forked = Log()
        forked.add(session="other")
        self.log.checkpoints = [(2, forked.checkpoint(self.signer))]
        self.assert_log_fails(self.log, None, "checkpoint-root", "--key", self.signer.vkey)
        self.log.checkpoints = [(7, self.log.checkpoint(self.signer))]
        cut = self.log
        del cut.rows[-1]
        self.assert_log_fails(cut, None, "checkpoint-size", "--key", self.signer.vkey)
        # Nor is one with a bad signature: nobody signed it.
        note = self.log.note()
        self.log.checkpoints = [(7, f"{note}\n{self.signer.line(note, good=False)}")]
        verdict = self.judge(self.log, "--key", self.signer.vkey)
        self.assertTrue(verdict["consistent"])
        self.assertIsNone(verdict["signed_to"])

    def test_stored_checkpoints_of_which_none_is_taken(self) -> None:
        note = self.log.checkpoint(self.signer)
        del self.log.rows[-1]
        self.log.checkpoints = [(7, note)]
        path = self.log.write(self.folder / "log.db")
        drop = "ALTER TABLE checkpoints RENAME TO kept"
        for table in ("CREATE VIRTUAL TABLE checkpoints USING fts5(size, note)", "CREATE VIEW checkpoints AS SELECT * FROM kept"):
            with contextlib.closing(sqlite3.connect(path)) as database:
                database.executescript(f"{drop}; {table};")
                if "VIRTUAL" in table:
                    database.execute("INSERT INTO checkpoints SELECT size, note FROM kept")
                database.commit()
            verdict = self.run_main("log", str(path), "--key", self.signer.vkey)[1]
            self.assertEqual((verdict["failure"], verdict["signed_to"]), (None, None))
            self.log.write(path)

    def test_stored_checkpoints_that_cannot_be_read_are_damage_after_all_else(self) -> None:
        other = Log()
        other.add(session="other")
        given = self.file("given", other.checkpoint(self.signer))
        path = self.log.write(self.folder / "log.db")
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("ALTER TABLE checkpoints RENAME COLUMN note TO text")
            database.commit()
        self.assertIsNone(self.run_main("log", str(path))[1]["failure"])  # without a key nothing is read there
        verdict = self.run_main("log", str(path), "--key", self.signer.vkey, "--checkpoint", given)[1]
        self.assert_fails(verdict, None, "checkpoint-root")
        self.assertEqual([failure["check"] for failure in verdict["further_failures"]], ["damage"])

    def test_given_checkpoints_come_before_stored_ones(self) -> None:
        forked = Log()
        forked.add(session="other")
        self.log.checkpoints = [(2, forked.checkpoint(self.signer))]
        body = self.log.note(4)
        bad = f"{body}\n{self.signer.line(body, good=False)}"
        verdict = self.check(bad + "\n" + self.log.checkpoint(self.signer))
        self.assert_fails(verdict, None, "checkpoint-signature")
        self.assertEqual([each["check"] for each in verdict["further_failures"]], ["checkpoint-root"])
        self.assertEqual(verdict["anchored_to"], 7)

    def test_given_files_are_read_whatever_was_done_to_them_on_their_way(self) -> None:
        one, two = self.log.checkpoint(self.signer, size=3), self.log.checkpoint(self.signer, size=5)
        path = str(self.log.write(self.folder / "log.db"))
        for text in (f"\ufeff{one}\n{two}", f"{one}{two}", f"\n{one}\n\n\n{two}\n\n"):
            for ends in ("\n", "\r\n"):
                file = self.folder / "given"
                file.write_bytes(text.replace("\n", ends).encode("utf-8"))
                key = f"\ufeff{self.signer.vkey}\r\n"
                status, verdict = self.run_main("log", path, "--checkpoint", str(file), "--key", key)
                self.assertEqual((status, verdict["anchored_to"]), (0, 5), text)
        file.write_bytes(one.encode("utf-16"))
        error = self.assert_cannot_check("log", path, "--checkpoint", str(file), "--key", self.signer.vkey)
        self.assertIn("UTF-16", error)
        for text in ("", "\n", "Dear Ada,\n", one[:-1], one + "more\n"):
            file.write_text(text, "utf-8")
            self.assert_cannot_check("log", path, "--checkpoint", str(file), "--key", self.signer.vkey)

    def test_what_is_said_first_and_last(self) -> None:
        self.log.checkpoints = [(4, self.log.checkpoint(self.signer, size=4))]
        path = str(self.log.write(self.folder / "log.db"))
        keys = ("--key", self.signer.vkey)
        key = f"{ORIGIN}+{self.signer.id.hex()}"

        def said(*arguments: str) -> List[str]:
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                verify.main(["log", path, *arguments])
            lines = out.getvalue().splitlines()
            self.assertTrue(lines[-1].startswith("not looked at: the read tables"))
            return lines

        self.assertIn("consistent, but not anchored", said()[0])
        lines = said(*keys)
        self.assertIn("consistent, but not anchored", lines[0])
        more = "only a checkpoint kept elsewhere shows that nothing was cut off"
        self.assertIn(f"signed to 4 by key {key}; {more}", lines)
        all_of_it = self.file("all", self.log.checkpoint(self.signer))
        lines = said(*keys, "--checkpoint", all_of_it)
        self.assertIn("intact: the 7 events", lines[0])
        self.assertIn(f"signed to 4 by key {key}", lines)
        part = self.file("part", self.log.checkpoint(self.signer, size=3))
        self.assertIn("intact up to event 3", said(*keys, "--checkpoint", part)[0])
        del self.log.rows[-1]
        self.log.write(self.folder / "log.db")
        self.assertTrue(said(*keys, "--checkpoint", all_of_it)[0].startswith("NOT INTACT: checkpoint-size: "))

    def test_a_log_whose_origin_is_not_known(self) -> None:
        log = Log(first=False)
        log.add(1, b"of a newer version", session=None, version=2)
        path = str(log.write(self.folder / "log.db"))
        file = self.file("checkpoint", log.checkpoint(self.signer))
        keys = ("--key", self.signer.vkey)
        self.assertEqual(self.run_main("log", path, "--checkpoint", file, *keys)[1]["anchored_to"], 1)
        # Nor can a log be passed off as another one by not saying its name.
        other = self.file("other", self.log.checkpoint(self.signer, size=1))
        self.assert_fails(self.run_main("log", path, "--checkpoint", other, *keys)[1], None, "checkpoint-root")
        self.assertEqual(self.run_main("log", path)[0], 0)

    def test_what_was_given_must_be_what_it_should(self) -> None:
        path = str(self.log.write(self.folder / "log.db"))
        good = self.file("checkpoint", self.log.checkpoint(self.signer))
        self.assert_cannot_check("log", path, "--checkpoint", good)
        self.assert_cannot_check("log", path, "--checkpoint", self.file("x", "x"), "--key", self.signer.vkey)
        self.assert_cannot_check("log", path, "--checkpoint", str(self.folder / "none"), "--key", self.signer.vkey)
        self.assert_cannot_check("log", path, "--key", "no vkey")


class KeyChanges(InFolder):
    def setUp(self) -> None:
        super().setUp()
        self.old, self.new, self.third = Signer(1), Signer(2), Signer(3)
        self.log = Log()
        self.log.add()

    def check(self, size: Optional[int] = None, signer: Optional[Signer] = None, *keys: str) -> Dict[str, Any]:
        """The verdict on a checkpoint of that size by that signer, which defaults to the new key."""
        note = self.log.checkpoint(signer or self.new, size=size)
        return self.judge(self.log, "--checkpoint", self.file("c", note), *(keys or ("--key", self.old.vkey)))

    def test_trust_is_handed_on(self) -> None:
        n = self.log.rotate(self.old, self.new)
        self.log.add()
        self.assertEqual(n, 3)
        self.assertEqual(self.check()["anchored_to"], 4)
        # The new key is trusted from the certificate's size on, the old one up to the event.
        self.assertEqual(self.check(2)["anchored_to"], 2)
        self.assert_fails(self.check(1), None, "checkpoint-signature")
        for size in range(4):
            self.assertEqual(self.check(size, self.old)["anchored_to"], size or None)
        self.assert_fails(self.check(4, self.old), None, "checkpoint-signature")

    def test_over_several_keys(self) -> None:
        self.log.rotate(self.old, self.new)
        self.log.add()
        self.log.rotate(self.new, self.third)
        self.log.add()
        self.assertEqual(self.check(None, self.third)["anchored_to"], 6)
        self.assert_fails(self.check(None, self.new), None, "checkpoint-signature")
        # Given the second key alone, the first change hands nothing on, and the second does.
        verdict = self.check(None, self.third, "--key", self.new.vkey)
        self.assertEqual(verdict["anchored_to"], 6)
        self.assertEqual([(each["seq"], each["certified"]) for each in verdict["key_changes"]], [(3, False), (5, True)])

    def test_a_retired_key_hands_nothing_on(self) -> None:
        self.log.rotate(self.old, self.new)
        self.log.rotate(self.old, self.third)
        self.assert_not_checked(self.check(None, self.third), self.third.id.hex())

    def test_a_certificate_of_an_earlier_size(self) -> None:
        certificate = self.log.certificate(self.old, self.new)
        self.log.add()
        self.log.add()
        self.log.change_key(self.new, self.old, certificate)
        self.assertEqual(self.check()["anchored_to"], 5)
        self.assertEqual(self.check(2)["anchored_to"], 2)

    def test_without_a_certificate(self) -> None:
        self.log.change_key(self.new, self.old, None, cause="lost")
        verdict = self.check()
        self.assert_not_checked(verdict, self.new.id.hex())
        self.assertEqual([(each["certified"], each["cause"]) for each in verdict["key_changes"]], [(False, "lost")])
        # Nothing retired the key before: the log cannot say on its own that it was lost.
        self.assertEqual(self.check(None, self.old)["anchored_to"], 3)

    def test_without_a_key_the_change_is_not_judged(self) -> None:
        self.log.change_key(self.new, self.old, "no note")
        verdict = self.judge(self.log)
        self.assertTrue(verdict["consistent"])
        (change,) = verdict["key_changes"]
        self.assertEqual((change["seq"], change["vkey"], change["certified"]), (3, self.new.vkey, None))

    def test_by_a_key_that_is_not_trusted(self) -> None:
        self.log.change_key(self.new, self.third, self.log.certificate(self.third, self.new))
        self.assert_not_checked(self.check(), self.new.id.hex())
        self.assertEqual(self.check(None, self.old)["anchored_to"], 3)
        self.log.change_key(self.new, self.old, "no note")
        self.assertEqual(self.check(None, self.old)["anchored_to"], 4)

    def test_a_bad_signature(self) -> None:
        certificate = self.log.certificate(self.old, self.new)
        body = certificate.split("\n\n")[0] + "\n"
        self.log.change_key(self.new, self.old, f"{body}\n{self.old.line(body, good=False)}")
        self.assert_fails(self.check(None, self.old), 3, "key-change")
        # Nobody who does not know the key can tell.
        verdict = self.check(None, self.third, "--key", self.third.vkey)
        self.assertIsNone(verdict["failure"])

    def test_certificates_that_do_not_fit(self) -> None:
        good = self.log.certificate(self.old, self.new)
        body = good.split("\n\n")[0] + "\n"
        size, root = body.split("\n")[4:6]
        changes = [
            ("annals key change", "annals checkpoint"),
            (ORIGIN + "\nstable", "example.org/other\nstable"),
            ("\nstable\n", "\nepoch\n"),
            (self.new.vkey, self.third.vkey),
            (f"\n{size}\n{root}", f"\n1\n{root}"),
            (f"\n{size}\n{root}", f"\n3\n{root}"),
            (f"\n{size}\n{root}", f"\n{2**64 - 1}\n{root}"),
            (f"\n{size}\n", f"\n0{size}\n"),
            (root, b64(bytes(32))),
            (root, f"{root}\nmore"),
        ]
        for before, after in changes:
            with self.subTest(after):
                self.assertIn(before, body)
                log = Log()
                log.add()
                log.change_key(self.new, self.old, note_of(body.replace(before, after), self.old))
                self.log = log
                self.assert_fails(self.check(), 3, "key-change")

    def test_a_change_hands_nothing_on_that_does_not_name_its_signer(self) -> None:
        for previous in (None, self.third):
            log = Log()
            log.add()
            log.change_key(self.new, previous, log.certificate(self.old, self.new))
            self.log = log
            self.assert_not_checked(self.check(), self.new.id.hex())
            verdict = self.check(None, self.old)
            self.assertEqual((verdict["anchored_to"], verdict["key_changes"][0]["certified"]), (3, False))

    def test_a_key_hands_trust_on_from_where_it_is_trusted(self) -> None:
        early = self.log.certificate(self.new, self.third, size=1)
        self.log.rotate(self.old, self.new)
        self.log.change_key(self.third, self.new, early)
        self.assert_fails(self.check(None, self.third), 4, "key-change")
        # Who was given the second key trusts it for all sizes.
        verdict = self.check(None, self.third, "--key", self.new.vkey)
        self.assertEqual(verdict["anchored_to"], 4)

    def test_a_change_that_fails_retires_nothing(self) -> None:
        self.log.change_key(self.new, self.old, note_of("annals key change\n", self.old))
        self.log.rotate(self.old, self.third)
        self.log.add()
        verdict = self.check(None, self.third)
        self.assert_fails(verdict, 3, "key-change")
        self.assertEqual([each["certified"] for each in verdict["key_changes"]], [False, True])
        self.assertEqual(verdict["anchored_to"], 5)

    def test_a_key_that_comes_back(self) -> None:
        self.log.rotate(self.old, self.new)
        self.log.rotate(self.new, self.old)
        self.log.rotate(self.old, self.third)
        self.log.add()
        verdict = self.check(None, self.third)
        self.assertIsNone(verdict["failure"])
        self.assertEqual(verdict["anchored_to"], 6)
        self.assertEqual(self.check(4, self.old)["anchored_to"], 4)

    def test_a_change_of_the_other_role(self) -> None:
        self.log.change_key(self.new, self.old, self.log.certificate(self.old, self.new, "epoch"), "epoch")
        verdict = self.check(None, self.old)
        self.assertIsNone(verdict["failure"])
        self.assertFalse(verdict["key_changes"][0]["certified"])

    def test_changes_are_listed_in_words(self) -> None:
        self.log.rotate(self.old, self.new)
        self.log.change_key(self.third, None, None, cause="lost")
        path = str(self.log.write(self.folder / "log.db"))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            verify.main(["log", path, "--key", self.old.vkey])
        said = out.getvalue()
        self.assertIn("changes of keys: 2\n", said)
        self.assertIn(f"event 3: stable key '{self.new.vkey}' (rotated), certified by the key before it", said)
        self.assertIn("event 4: stable key", said)
        self.assertIn("(lost), NOT certified, and so not trusted: there is no certificate", said)

    def test_any_damage_is_a_verdict(self) -> None:
        self.log.rotate(self.old, self.new)
        self.log.add()
        self.log.redact(2)
        self.log.checkpoints = [(3, self.log.checkpoint(self.new, size=3)), (5, self.log.checkpoint(self.new))]
        path = self.log.write(self.folder / "log.db")
        good, chosen = path.read_bytes(), random.Random(4)
        for _ in range(300):
            data = bytearray(good)
            for _ in range(chosen.choice((1, 2, 30))):
                data[chosen.randrange(len(data))] = chosen.randrange(256)
            path.write_bytes(bytes(data))
            self.run_main("log", str(path), "--key", self.old.vkey)

    def test_a_new_key_of_another_name(self) -> None:
        other = Signer(2, "example.org/other")
        self.log.rotate(self.old, other)
        self.assert_fails(self.check(2, self.old), 3, "key-change")


class KeysBefore(InFolder):
    """What a verifier that was given the present key takes of the keys before it."""

    def setUp(self) -> None:
        super().setUp()
        self.keys = [Signer(i) for i in range(1, 4)]
        self.log = Log()
        self.log.add()
        self.first = self.log.rotate(self.keys[0], self.keys[1])
        self.log.add()
        self.second = self.log.rotate(self.keys[1], self.keys[2])
        self.log.add()
        self.whole = self.log.checkpoint(self.keys[2])

    def given(self, *checkpoints: str, key: int = 2) -> Dict[str, Any]:
        file = self.file("c", "\n".join(checkpoints))
        return self.judge(self.log, "--checkpoint", file, "--key", self.keys[key].vkey)

    def by(self, number: int, size: int) -> str:
        return self.log.checkpoint(self.keys[number], size=size)

    def test_what_they_signed_fits_and_extends_nothing(self) -> None:
        for size in range(1, self.first + 1):
            verdict = self.given(self.by(0, size), self.whole)
            self.assertIsNone(verdict["failure"])
            self.assertEqual((verdict["anchored_to"], len(verdict["by_predecessors"])), (6, 1))
        self.assertEqual([change["leads_back"] for change in verdict["key_changes"]], [True, True])
        # The file itself may keep what the present key signed.
        self.log.checkpoints = [(5, self.by(2, 5))]
        verdict = self.given(self.by(0, 2), self.by(1, 4))
        self.assertIsNone(verdict["failure"])
        self.assertEqual((verdict["anchored_to"], len(verdict["by_predecessors"])), (None, 2))

    def test_where_nothing_by_the_present_key_covers_the_change_nothing_is_said(self) -> None:
        self.assert_not_checked(self.given(self.by(0, 2)), self.keys[0].id.hex())
        # What covers the second change covers the first.
        self.assertEqual(self.given(self.by(0, 2), self.by(2, self.second))["not_checked"], [])
        verdict = self.given(self.by(0, 2), self.by(2, self.second - 1))
        self.assertEqual((verdict["failure"], len(verdict["not_checked"])), (None, 1))

    def test_a_thief_of_an_old_key_reaches_nothing_with_a_log_of_their_own(self) -> None:
        forged = Log()
        forged.add(session="forged")
        forged.rotate(self.keys[0], self.keys[2])
        forged.add()
        kept, self.log = self.whole, forged
        verdict = self.given(forged.checkpoint(self.keys[0], size=3))
        self.assert_not_checked(verdict, self.keys[0].id.hex())
        self.assert_fails(self.given(kept), None, "checkpoint-size")

    def test_what_does_not_fit_has_two_readings(self) -> None:
        forked = Log()
        forked.add(session="other")
        verdict = self.given(forked.checkpoint(self.keys[0]), self.whole)
        self.assert_fails(verdict, None, "checkpoint-root")
        self.assertIn("either the log was rewritten", verdict["failure"]["detail"])
        self.assertIn("has the retired key", verdict["failure"]["detail"])
        # One in the file as well.
        self.log.checkpoints = [(2, forked.checkpoint(self.keys[0]))]
        self.assert_fails(self.given(self.whole), None, "checkpoint-root")

    def test_they_sign_up_to_the_event_that_retired_them_and_from_their_certificate_on(self) -> None:
        for number, size in ((0, self.first + 1), (1, self.second + 1), (1, 1)):
            verdict = self.given(self.by(number, size), self.whole)
            self.assert_fails(verdict, None, "checkpoint-signature")
        body = self.log.note(2)
        bad = f"{body}\n{self.keys[0].line(body, good=False)}"
        self.assert_fails(self.given(bad, self.whole), None, "checkpoint-signature")

    def test_only_the_first_event_that_names_a_key_leads_back(self) -> None:
        stranger = Signer(9)
        self.log.rotate(stranger, self.keys[2])
        verdict = self.given(self.log.checkpoint(stranger, size=2), self.log.checkpoint(self.keys[2]))
        self.assertEqual((verdict["failure"], len(verdict["not_checked"])), (None, 1))

    def test_a_lost_key_and_a_certificate_that_does_not_fit_lead_nowhere(self) -> None:
        good = Log().certificate(self.keys[0], self.keys[1], size=1)
        for certificate, cause in ((None, "lost"), (good, "lost"), (good.replace("\n1\n", "\n0\n"), "rotated")):
            self.log = Log()
            self.log.change_key(self.keys[1], self.keys[0], certificate, cause=cause)
            verdict = self.given(self.by(0, 1), self.by(1, 2), key=1)
            self.assertEqual((verdict["failure"], len(verdict["not_checked"])), (None, 1))

    def test_a_compromised_key_is_retired_and_hands_nothing_on(self) -> None:
        self.log = Log()
        certificate = self.log.certificate(self.keys[0], self.keys[1])
        self.log.change_key(self.keys[1], self.keys[0], certificate, cause="compromised")
        self.log.add()
        self.assert_not_checked(self.given(self.by(1, 3), key=0), self.keys[1].id.hex())
        self.assert_fails(self.given(self.by(0, 3), key=0), None, "checkpoint-signature")
        self.assertEqual(self.given(self.by(0, 2), key=0)["anchored_to"], 2)
        self.assertEqual(len(self.given(self.by(0, 1), self.by(1, 3), key=1)["by_predecessors"]), 1)
        forked = note_of(self.log.note(0).replace("\n0\n", "\n1\n"), self.keys[0])
        verdict = self.given(forked, self.by(1, 3), key=1)
        self.assert_fails(verdict, None, "checkpoint-root")
        self.assertIn("which the log says was compromised", verdict["failure"]["detail"])

    def test_epoch_keys_go_back_in_their_own_role(self) -> None:
        stable, epochs = Signer(20), [Signer(30 + i) for i in range(3)]
        self.log = Log()
        self.log.rotate(epochs[0], epochs[1], "epoch")
        self.log.rotate(epochs[1], epochs[2], "epoch")
        old, new = self.log.checkpoint(stable, epochs[0], size=1), self.log.checkpoint(stable, epochs[2])
        file = self.file("c", f"{old}\n{new}")
        keys = ("--key", stable.vkey, "--epoch-key", epochs[2].vkey)
        verdict = self.judge(self.log, "--checkpoint", file, *keys)
        self.assertEqual((verdict["failure"], verdict["anchored_to"]), (None, 3))
        self.assertEqual(len(verdict["by_predecessors"]), 1)
        # As stable keys they are known to nobody.
        stolen = self.file("c", f"{self.log.checkpoint(epochs[0], size=1)}\n{self.log.checkpoint(stable)}")
        verdict = self.judge(self.log, "--checkpoint", stolen, "--key", stable.vkey)
        self.assertEqual((verdict["failure"], len(verdict["not_checked"])), (None, 1))

    def test_a_key_that_was_given_is_said_to_be(self) -> None:
        path = str(self.log.write(self.folder / "log.db"))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            verify.main(["log", path, "--key", self.keys[2].vkey])
        said = out.getvalue()
        change = f"event {self.second}: stable key '{self.keys[2].vkey}' (rotated)"
        self.assertIn(f"{change}, it is one of the keys given", said)

    def test_two_roots_of_one_size_are_a_split_view_after_the_given_and_before_the_stored(self) -> None:
        forked = Log()
        forked.add(session="other")
        other = note_of(f"{ORIGIN}\n6\n{forked.note(2).splitlines()[2]}\n", self.keys[2])
        self.log.checkpoints = [(2, forked.checkpoint(self.keys[2]))]
        verdict = self.given(self.whole, other)
        found = [verdict["failure"], *verdict["further_failures"]]
        self.assertEqual(
            [failure["check"] for failure in found], ["checkpoint-root", "split-view", "checkpoint-root"]
        )


class Epochs(InFolder):
    def setUp(self) -> None:
        super().setUp()
        self.stable = Signer(1)
        self.epochs = [Signer(10 + i) for i in range(3)]
        self.log = Log()
        self.log.change_key(self.epochs[0], None, None, "epoch", "generated")
        self.log.add()
        self.first = self.log.rotate(self.epochs[0], self.epochs[1], "epoch")
        self.log.add()

    def check(self, size: int, *signers: Signer, keys: Optional[Sequence[str]] = None) -> Dict[str, Any]:
        note = self.log.checkpoint(*signers, size=size)
        given = keys or ("--key", self.stable.vkey, "--epoch-key", self.epochs[0].vkey)
        return self.judge(self.log, "--checkpoint", self.file("c", note), *given)

    def test_a_present_epoch_key_signs(self) -> None:
        self.assertEqual(self.check(5, self.stable, self.epochs[1])["anchored_to"], 5)
        self.assertEqual(self.check(5, self.epochs[1])["anchored_to"], 5)
        self.assertEqual(self.check(2, self.stable, self.epochs[0])["anchored_to"], 2)

    def test_the_stable_key_does_not_make_up_for_it(self) -> None:
        self.assert_fails(self.check(5, self.stable), None, "checkpoint-signature")
        self.assert_fails(self.check(5, self.stable, self.epochs[0]), None, "checkpoint-signature")
        # The thief has the stable key and the present epoch's, and signs for an earlier size.
        self.assert_fails(self.check(2, self.stable, self.epochs[1]), None, "checkpoint-signature")

    def test_without_an_epoch_key_the_stable_key_does(self) -> None:
        self.assertEqual(self.check(5, self.stable, keys=("--key", self.stable.vkey))["anchored_to"], 5)

    def test_the_stable_key_hands_no_epoch_on(self) -> None:
        certificate = self.log.certificate(self.stable, self.epochs[2], "epoch")
        self.log.change_key(self.epochs[2], self.stable, certificate, "epoch")
        self.assert_fails(self.check(6, self.stable, self.epochs[2]), None, "checkpoint-signature")

    def test_a_later_epoch_key(self) -> None:
        given = ("--key", self.stable.vkey, "--epoch-key", self.epochs[1].vkey)
        self.assertEqual(self.check(5, self.stable, self.epochs[1], keys=given)["anchored_to"], 5)

    def test_an_epoch_key_given_as_a_stable_one_is_remarked_on(self) -> None:
        verdict = self.check(5, self.stable, keys=("--key", self.stable.vkey, "--key", self.epochs[1].vkey))
        self.assertTrue(any("--epoch-key" in remark for remark in verdict["remarks"]))


# --- Section 12 -------------------------------------------------------------------------------------------------------


class Proofs(InFolder):
    def setUp(self) -> None:
        super().setUp()
        self.signer = Signer(1)
        self.log = Log()
        for seq in range(2, 20):
            self.log.add(session=("a", "b", None)[seq % 3])  # session b: 4, 7, 10, 13, 16, 19
        self.checkpoint = self.log.checkpoint(self.signer)

    def event_lines(self, seq: int, payload: bool = True, **change: Any) -> str:
        cell = self.log.rows[seq - 1][3] if payload else None
        extra = encode(
            "extra",
            {
                "version": 1,
                "leaf": change.get("leaf", self.log.leaves[seq - 1]),
                "payload": change.get("payload_cell", cell),
            },
        )
        if "payload_cell" not in change and cell is None:
            extra = extra[:-1] + b"\x00"
        path = model_path(seq - 1, self.log.leaves)
        hashes = "".join(b64(h) + "\n" for h in path)
        return f"extra {b64(change.get('extra', extra))}\nindex {change.get('index', seq - 1)}\n{hashes}\n"

    def event(self, seq: int, payload: bool = True, checkpoint: Optional[str] = None, **change: Any) -> str:
        lines = self.event_lines(seq, payload, **change)
        return f"c2sp.org/tlog-proof@v1\n{lines}{checkpoint or self.checkpoint}"

    def session(self, seqs: Sequence[int], kind: str = "partial", between: str = "", name: str = '"b"') -> str:
        events = "".join(self.event_lines(seq) for seq in seqs)
        return f"annals session-proof v1\nsession {name}\n{kind}\n\n{events}{between}{self.checkpoint}"

    def between(self, seqs: Sequence[int]) -> str:
        return "between\n" + "".join(b64(self.log.rows[seq - 1][2]) + "\n" for seq in seqs) + "\n"

    def check(self, proof: str, *more: str) -> Dict[str, Any]:
        status, verdict = self.run_main("proof", self.file("p", proof), "--key", self.signer.vkey, *more)
        self.assertEqual(status, 0 if verdict["proved"] else 1)
        return verdict

    def assert_proof_fails(self, proof: str, seq: Optional[int], check: str, *more: str) -> None:
        self.assert_fails(self.check(proof, *more), seq, check)

    def test_events(self) -> None:
        for seq in range(1, 20):
            for payload in (True, False):
                verdict = self.check(self.event(seq, payload))
                self.assertIsNone(verdict["failure"])
                self.assertEqual((verdict["event"]["seq"], verdict["event"]["payload"]), (seq, payload))

    def test_an_event_that_is_not_proved(self) -> None:
        self.assert_proof_fails(self.event(4, index=4), 5, "inclusion")
        self.assert_proof_fails(self.event(4, index=100), 101, "inclusion")
        self.assert_proof_fails(self.event(4, leaf=self.log.leaves[4]), 4, "inclusion")
        self.assert_proof_fails(self.event(4, leaf=b""), 4, "inclusion")
        self.assert_proof_fails(self.event(4, payload_cell=bytes(20)), 4, "payload-digest")
        self.assert_proof_fails(self.event(4, payload_cell=b""), 4, "payload-digest")
        other = self.log.checkpoint(Signer(2))
        self.assert_proof_fails(self.event(4, checkpoint=other), None, "checkpoint-signature")

    def test_leaves_that_a_signer_should_not_have_signed(self) -> None:
        """What no honest log holds: the entry is not well formed, its seq or its payload is wrong."""
        bad = self.log.add()
        entry, cell = self.log.rows[-1][2], self.log.rows[-1][3]
        for leaf, check in (
            (bytes(31), "entry"),
            (bytes(32), "entry"),
            (bytes(32) + entry + b"\x00", "entry"),
            (bytes(32) + b"\x02" + entry[1:], "entry"),
            (bytes(32) + self.log.rows[0][2], "sequence"),
        ):
            self.log.leaves[-1] = leaf
            self.assert_proof_fails(self.event(bad, checkpoint=self.log.checkpoint(self.signer)), bad, check)
        self.log.rows[-1][3] = cell
        bad = self.log.add(payload=b"\xff")
        self.assert_proof_fails(self.event(bad, checkpoint=self.log.checkpoint(self.signer)), bad, "payload")

    def test_proofs_that_are_malformed(self) -> None:
        good = self.event(4)
        lines = good.split("\n")
        for wrong in (
            good[:-1],
            good.replace("extra ", "extra  "),
            good.replace("index ", "index 0"),
            good.replace("\nindex", "\n\nindex"),
            good.replace("\n\n", "\n", 1),
            "\n".join([lines[0], *lines[2:]]),
            "\n".join(lines[:4]),
            lines[0] + "\n",
            self.event(4, extra=b""),
            self.event(4, extra=b"\x01"),
            self.event(4, extra=b"\x01\xfd" + b"\xff" * 8),
            good.replace("\n\n", "\n" + f"{b64(bytes(32))}\n" * 64 + "\n", 1),
            "what is this\n",
            "",
        ):
            self.assert_proof_fails(wrong, None, "proof-format")
        self.assert_cannot_check("proof", self.file("p", self.event(4, extra=b"\x02")), "--key", self.signer.vkey)

    def test_a_key_is_needed(self) -> None:
        self.assert_cannot_check("proof", self.file("p", self.event(4)))
        self.assert_cannot_check("proof", str(self.folder), "--key", self.signer.vkey)

    def test_a_rotated_key_proves_what_it_signed(self) -> None:
        new = Signer(2)
        change = self.log.rotate(self.signer, new)
        self.log.add(session="b")
        self.checkpoint = self.log.checkpoint(new)
        between = self.between([n for n in range(14, change + 1) if n not in (16, 19)])
        complete = self.session([13, 16, 19, change + 1], "complete", between)
        for proof in (self.event(4), self.event(change), complete):
            file = self.file("p", proof)
            self.assertEqual(self.run_main("proof", file, "--key", new.vkey)[0], 0)
            # A proof does not show who took over from whom.
            status, verdict = self.run_main("proof", file, "--key", self.signer.vkey)
            self.assertEqual(status, 1)
            self.assert_fails(verdict, None, "checkpoint-signature")
        old = self.file("old", self.log.checkpoint(self.signer, size=7))
        both = ("--key", self.signer.vkey, "--key", new.vkey)
        proof = self.file("p", self.consistency(7, model_consistency(7, self.log.leaves)))
        self.assertEqual(self.run_main("proof", proof, "--checkpoint", old, *both)[0], 0)

    def test_an_epoch_key_given_must_have_signed(self) -> None:
        self.assert_proof_fails(self.event(4), None, "checkpoint-signature", "--epoch-key", Signer(9).vkey)

    def test_a_payload_in_a_file_beside_the_proof(self) -> None:
        cell = self.log.rows[3][3]
        beside, other = self.folder / "payload", self.folder / "other"
        beside.write_bytes(cell)
        other.write_bytes(cell + b"x")
        self.assertTrue(self.check(self.event(4, payload=False), "--payload-file", str(beside))["event"]["payload"])
        self.assert_proof_fails(self.event(4, payload=False), 4, "payload-digest", "--payload-file", str(other))
        key = ("--key", self.signer.vkey, "--payload-file", str(beside))
        for proof in (self.event(4), self.session([3])):
            self.assert_cannot_check("proof", self.file("proof", proof), *key)
        # Also where the proof of another form is malformed, or no text.
        self.assert_cannot_check("proof", self.file("proof", "annals session-proof v1\nsession\n"), *key)
        self.assert_cannot_check("proof", self.file("proof", "old five\n"), *key)
        (self.folder / "proof").write_bytes(b"annals session-proof v1\n\xff\n")
        self.assert_cannot_check("proof", str(self.folder / "proof"), *key)
        self.assert_proof_fails("no proof\n", None, "proof-format", "--payload-file", str(beside))
        missing = ("--key", self.signer.vkey, "--payload-file", str(self.folder / "missing"))
        self.assert_cannot_check("proof", self.file("proof", self.event(4, payload=False)), *missing)

    def test_a_file_that_is_no_text(self) -> None:
        path = self.folder / "p"
        path.write_bytes(b"\xff\xff")
        status, verdict = self.run_main("proof", str(path), "--key", self.signer.vkey)
        self.assertEqual(status, 1)
        self.assert_fails(verdict, None, "proof-format")
        path.write_bytes(self.event(4).encode("utf-16"))
        self.assertIn("UTF-16", self.assert_cannot_check("proof", str(path), "--key", self.signer.vkey))

    def test_a_proof_is_read_whatever_was_done_to_it_on_its_way(self) -> None:
        good, path = self.event(4), self.folder / "p"
        for text in (f"\ufeff{good}", good.replace("\n", "\r\n"), f"{good}\n\n"):
            path.write_bytes(text.encode("utf-8"))
            self.assertEqual(self.run_main("proof", str(path), "--key", self.signer.vkey)[0], 0)

    def test_golden_proofs(self) -> None:
        golden = GOLDEN / "proofs"
        keys = ("--key", (golden / "vkey").read_text("utf-8"))
        for name, kind in (
            ("event.tlog-proof", "event"),
            ("session-complete.proof", "session"),
            ("session-partial.proof", "session"),
            ("consistency.proof", "consistency"),
        ):
            old = ("--checkpoint", str(golden / "checkpoint-5")) if kind == "consistency" else ()
            status, verdict = self.run_main("proof", str(golden / name), *keys, *old)
            self.assertEqual((status, verdict["kind"]), (0, kind), verdict)

    def test_a_partial_session(self) -> None:
        verdict = self.check(self.session([4, 10]))
        self.assertIsNone(verdict["failure"])
        self.assertEqual((verdict["first"], verdict["last"], verdict["complete"]), (4, 10, False))

    def test_a_complete_session(self) -> None:
        rest = [n for n in range(5, 13) if n % 3 != 1]
        verdict = self.check(self.session([4, 7, 10, 13], "complete", self.between(rest)))
        self.assertIsNone(verdict["failure"])
        self.assertTrue(verdict["complete"])
        self.assertIsNone(self.check(self.session([4], "complete", self.between([])))["failure"])
        self.assertIsNone(self.check(self.session([4], "complete", self.between([]), '"\\u0062"'))["failure"])

    def test_a_session_that_is_not_complete(self) -> None:
        rest = [n for n in range(5, 13) if n % 3 != 1]
        for seqs, others, seq, check in (
            ([4, 10, 13], sorted([*rest, 7]), 7, "session"),  # an event of the session passed off as another's
            ([4, 7, 10, 13], rest[:-1], 12, "between"),
            ([4, 7, 10, 13], [*rest, 14], None, "between"),
            ([4, 7, 10, 13], [6, *rest[1:]], 5, "sequence"),
            ([4, 10, 13], rest, 7, "sequence"),
        ):
            with self.subTest(others):
                self.assert_proof_fails(self.session(seqs, "complete", self.between(others)), seq, check)

    def test_an_entry_between_that_is_not_the_logs(self) -> None:
        forged = encode("entry", {**verify.read_entry(self.log.rows[4][2]), "recorded_at": 1})
        between = f"between\n{b64(forged)}\n{b64(self.log.rows[5][2])}\n\n"
        self.assert_proof_fails(self.session([4, 7], "complete", between), 7, "link")
        self.assert_proof_fails(self.session([4, 7], "complete", f"between\n{b64(b'x')}\n\n"), 5, "entry")

    def test_sessions_that_are_not_proved(self) -> None:
        self.assert_proof_fails(self.session([4, 5]), 5, "session")
        self.assert_proof_fails(self.session([6]), 6, "session")  # an event of no session
        self.assert_proof_fails(self.session([7, 4]), 4, "sequence")
        self.assert_proof_fails(self.session([4, 4]), 4, "sequence")
        self.assert_proof_fails(self.session([]), None, "proof-format")
        for wrong in (
            self.session([4], name="b"),
            self.session([4], name='"b'),
            self.session([4], name='"b" '),
            self.session([4], name=' "b"'),
            self.session([4], name='"\\ud800"'),
            self.session([4], name="1"),
            self.session([4], name="[" * 100_000),
            self.session([4], "whole"),
            self.session([4], "complete"),
            self.session([4], "partial", self.between([])),
        ):
            self.assert_proof_fails(wrong, None, "proof-format")

    def consistency(self, old: int, path: Sequence[bytes], written: Optional[str] = None) -> str:
        hashes = "".join(b64(h) + "\n" for h in path)
        return f"old {old if written is None else written}\n{hashes}\n{self.checkpoint}"

    def test_consistency(self) -> None:
        for old in range(20):
            path = model_consistency(old, self.log.leaves) if old else []
            file = self.file("old", self.log.checkpoint(self.signer, size=old))
            verdict = self.check(self.consistency(old, path), "--checkpoint", file)
            self.assertIsNone(verdict["failure"])
        self.assertIsNone(self.check(self.consistency(0, []))["failure"])

    def test_checkpoints_that_the_proof_is_not_about(self) -> None:
        old, other = (self.log.checkpoint(self.signer, size=size) for size in (7, 8))
        key = ("--key", self.signer.vkey, "--checkpoint", self.file("old", other))
        for proof in (self.event(4), self.session([4]), "annals session-proof v1\nsession\n"):
            self.assertIn("consistency", self.assert_cannot_check("proof", self.file("proof", proof), *key))
        self.assert_cannot_check("proof", self.file("proof", self.consistency(0, [])), *key)
        both = self.file("both", f"{old}\n{other}")
        verdict = self.check(self.consistency(7, model_consistency(7, self.log.leaves)), "--checkpoint", both)
        self.assertIsNone(verdict["failure"])
        self.assertTrue(any("other sizes" in what for what in verdict["cannot_be_said"]), verdict)

    def test_older_checkpoints_are_judged_one_after_the_other(self) -> None:
        forked = Log()
        for _ in range(6):
            forked.add(session="other")
        forked_one, unsigned = forked.checkpoint(self.signer), self.log.checkpoint(Signer(2), size=7)
        proof = self.consistency(7, model_consistency(7, self.log.leaves))
        for kept, check in (((forked_one, unsigned), "consistency"), ((unsigned, forked_one), "checkpoint-signature")):
            self.assert_proof_fails(proof, None, check, "--checkpoint", self.file("old", "\n".join(kept)))

    def test_consistency_that_is_not_proved(self) -> None:
        path = model_consistency(7, self.log.leaves)
        file = self.file("old", self.log.checkpoint(self.signer, size=7))
        proof = self.consistency(7, path)
        self.assert_cannot_check("proof", self.file("p", proof), "--key", self.signer.vkey)
        self.assert_proof_fails(self.consistency(7, path[:-1]), None, "consistency", "--checkpoint", file)
        self.assert_proof_fails(self.consistency(7, path, "07"), None, "proof-format", "--checkpoint", file)
        unsigned = self.file("old", self.log.checkpoint(Signer(2), size=7))
        self.assert_proof_fails(proof, None, "checkpoint-signature", "--checkpoint", unsigned)
        forked = Log()
        for _ in range(6):
            forked.add(session="other")
        other = self.file("old", forked.checkpoint(self.signer))
        self.assert_proof_fails(proof, None, "consistency", "--checkpoint", other)
        named = Signer(5, "example.org/other")
        other = self.file("old", note_of(self.log.note(7, named.name), named))
        self.assert_proof_fails(proof, None, "checkpoint-origin", "--checkpoint", other, "--key", named.vkey)
        larger = Log()
        for _ in range(30):
            larger.add()
        other = self.file("old", larger.checkpoint(self.signer, size=25))
        self.assert_proof_fails(self.consistency(25, []), None, "consistency", "--checkpoint", other)

    def test_any_damage_is_a_verdict(self) -> None:
        chosen = random.Random(3)
        goods = [self.event(4), self.session([4, 7], "complete", self.between([5, 6])), self.consistency(0, [])]
        path = self.folder / "p"
        for _ in range(400):
            data = bytearray(chosen.choice(goods).encode("utf-8"))
            at = chosen.randrange(len(data))
            if chosen.random() < 0.3:
                del data[at : at + chosen.randrange(1, 200)]
            else:
                data[at] = chosen.choice(b'\n \x00+=/0aZ\xe2\xff"')
            path.write_bytes(bytes(data))
            status, verdict = self.run_main("proof", str(path), "--key", self.signer.vkey)
            changed = all(bytes(data) != good.encode("utf-8") for good in goods)
            self.assertTrue(status in (1, 2) or not changed, (verdict, bytes(data)))


# --- Section 10: directories of tiles ---------------------------------------------------------------------------------


class TileDirectories(InFolder):
    signer = Signer(1)

    def put(self, path: str, data: bytes) -> None:
        file = self.folder / "tiles" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def write(self, log: Log, leaves: Optional[Sequence[bytes]] = None) -> None:
        """Tiles as tlog-tiles defines them, for the log's leaves."""
        shutil.rmtree(self.folder / "tiles", ignore_errors=True)
        leaves = log.leaves if leaves is None else leaves
        self.put(
            "checkpoint", note_of(f"{ORIGIN}\n{len(leaves)}\n{b64(model_root(leaves))}\n", self.signer).encode("utf-8")
        )
        bundles = [leaves[at : at + 256] for at in range(0, len(leaves), 256)]
        for index, bundle in enumerate(bundles):
            data = b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in bundle)
            self.put(self.path("entries", index, len(bundle)), data)
        level, span = 0, 1
        while span <= len(leaves):
            hashes = [model_root(leaves[at : at + span]) for at in range(0, len(leaves) - span + 1, span)]
            for index in range(0, len(hashes), 256):
                tile = hashes[index : index + 256]
                self.put(self.path(str(level), index // 256, len(tile)), b"".join(tile))
            level, span = level + 1, span * 256

    def path(self, kind: str, index: int, width: int) -> str:
        return f"tile/{kind}/{index:03}" + ("" if width == 256 else f".p/{width}")

    def check(self, *more: str) -> Dict[str, Any]:
        status, verdict = self.run_main("tiles", str(self.folder / "tiles"), "--key", self.signer.vkey, *more)
        self.assertEqual(status, 0 if verdict["consistent"] else 1)
        return verdict

    def log_of(self, size: int) -> Log:
        log = Log()
        for _ in range(size - 1):
            log.add()
        return log

    def test_paths(self) -> None:
        self.assertEqual(verify.tile_path(0), "000")
        self.assertEqual(verify.tile_path(999), "999")
        self.assertEqual(verify.tile_path(1000), "x001/000")
        self.assertEqual(verify.tile_path(1234067), "x001/x234/067")

    def test_sizes(self) -> None:
        log = self.log_of(1030)
        for size in (0, 1, 2, 255, 256, 257, 511, 512, 1030):
            with self.subTest(size):
                self.write(log, log.leaves[:size])
                verdict = self.check()
                self.assertIsNone(verdict["failure"])
                self.assertEqual((verdict["events"], verdict["anchored_to"]), (size, size))

    def test_a_full_tile_in_place_of_a_partial_one(self) -> None:
        log = self.log_of(256)
        self.write(log)
        self.put("checkpoint", log.checkpoint(self.signer, size=100).encode("utf-8"))
        self.assertIsNone(self.check()["failure"])

    def test_failures(self) -> None:
        def change(path: str, at: int, more: bytes = b"") -> None:
            file = self.folder / "tiles" / path
            data = bytearray(file.read_bytes())
            data[at] ^= 1
            file.write_bytes(bytes(data) + more)

        log = self.log_of(300)
        leaf = 2 + len(log.leaves[0])
        for path, at, seq, check in (
            ("tile/0/000", 5, None, "tile"),
            ("tile/0/001.p/44", -1, None, "tile"),
            ("tile/1/000.p/1", 0, None, "tile"),
            ("tile/entries/000", leaf + 2, 2, "link"),
            ("tile/entries/000", leaf + 2 + 32, 2, "entry"),
            ("tile/entries/000", leaf + 2 + 33, 2, "sequence"),
            ("tile/entries/000", leaf + 2 + 50, 2, "first-event"),
            ("tile/entries/000", leaf + 2 + 40, 3, "link"),
            ("tile/entries/001.p/44", -1, None, "tile"),
        ):
            with self.subTest((path, at)):
                self.write(log)
                if check == "first-event":
                    data = bytearray((self.folder / "tiles" / path).read_bytes())
                    data[leaf + 2 + 50] = 1  # the kind of event 2
                    (self.folder / "tiles" / path).write_bytes(bytes(data))
                else:
                    change(path, at)
                self.assert_fails(self.check(), seq, check)
        for path in ("tile/0/000", "tile/entries/001.p/44", "tile/1/000.p/1"):
            self.write(log)
            (self.folder / "tiles" / path).unlink()
            self.assert_fails(self.check(), None, "tile")
            (self.folder / "tiles" / path).mkdir()
            self.assert_fails(self.check(), None, "tile")
        self.write(log)
        change("tile/0/001.p/44", 0, b"more")
        self.assert_fails(self.check(), None, "tile")
        self.write(log)
        bundle = (self.folder / "tiles/tile/entries/001.p/44").read_bytes()
        for wrong, seq in ((bundle + b"\x00", 300), (bundle[:-1], 300), (bundle[:1], 257), (b"", 257)):
            self.put("tile/entries/001.p/44", wrong)
            self.assert_fails(self.check(), seq, "bundle")

    def test_checkpoints(self) -> None:
        log = self.log_of(5)
        self.write(log)
        self.put("checkpoint", f"{ORIGIN}\n5\n{b64(bytes(32))}\n".encode("ascii"))
        self.assert_fails(self.check(), None, "checkpoint-signature")
        self.put("checkpoint", note_of(f"{ORIGIN}\n5\n{b64(bytes(32))}\n", self.signer).encode("utf-8"))
        self.assert_fails(self.check(), None, "checkpoint-root")
        self.put("checkpoint", log.checkpoint(Signer(2)).encode("utf-8"))
        self.assert_fails(self.check(), None, "checkpoint-signature")
        self.write(log)
        self.assert_fails(self.check("--epoch-key", Signer(2).vkey), None, "checkpoint-signature")
        (self.folder / "tiles/checkpoint").unlink()
        self.assert_cannot_check("tiles", str(self.folder / "tiles"), "--key", self.signer.vkey)
        self.assert_cannot_check("tiles", str(self.folder / "none"), "--key", self.signer.vkey)


class Header(unittest.TestCase):
    def test_the_requirements_are_those_that_the_program_declares(self) -> None:
        header = re.search(r"(?s)# /// script\n(.*?)# ///\n", (TOOLS / "verify.py").read_text("utf-8"))
        assert header is not None
        declared = re.findall(r'^#   "(.*)",$', header.group(1), re.MULTILINE)
        self.assertEqual(declared, (TOOLS / "verify-requirements.txt").read_text("utf-8").split())


if __name__ == "__main__":
    unittest.main()
