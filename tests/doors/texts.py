"""Hand-written hostile texts: YAML files, overrides, manifests and plans."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.doors.values import HUGE, Rude


def grow(first: bytes, group: bytes, count: int) -> bytes:
    """Return YAML anchors, each of which contains the anchor before it nine times."""
    later = (b"x%d: &x%d " % (i, i) + group % b", ".join([b"*x%d" % (i - 1)] * 9) for i in range(1, count))
    return b"\n".join([b"x0: &x0 " + first, *later, b""])


# Functions that change a valid YAML text: each puts an odd form of YAML in it, or replaces it.
YAML_TEXTS: Mapping[str, Callable[[str], bytes]] = {
    "anchor of itself": lambda text: b"a: &a {b: *a}\n" + text.encode(),
    "merge of itself": lambda text: b"a: &a\n  <<: *a\n" + text.encode(),
    "merge of a list": lambda text: b"<<: [1, 2]\n" + text.encode(),
    "merge of text": lambda text: b"<<: abc\n" + text.encode(),
    "merge of merges": lambda text: grow(b"{a: 1}", b"{<<: [%s]}", 9) + text.encode(),
    "billion laughs": lambda text: grow(b"[lol]", b"[%s]", 12) + text.encode(),
    "set": lambda text: b"title: !!set {a, b}\n" + text.encode(),
    "ordered map": lambda text: b"title: !!omap [a: 1]\n" + text.encode(),
    "binary": lambda text: b"title: !!binary aGVsbG8=\n" + text.encode(),
    "bad binary": lambda text: b"title: !!binary $$$\n" + text.encode(),
    "date": lambda text: b"title: 2026-01-01\nseed: 2026-01-01T00:00:00Z\n" + text.encode(),
    "impossible date": lambda text: b"title: 2026-99-99\n" + text.encode(),
    "sixty-based": lambda text: b"seed: 190:20:30\n" + text.encode(),
    "octal and hexadecimal": lambda text: b"seed: 0o17\ntitle: 0xffffffffffffffffffffffffffffffff\n" + text.encode(),
    "huge integer": lambda text: b"seed: " + b"9" * 6000 + b"\n" + text.encode(),
    "huge exponent": lambda text: b"seed: 1e999999999\n" + text.encode(),
    "a bad integer tag": lambda text: b"seed: !!int abc\n" + text.encode(),
    "a bad float tag": lambda text: b"seed: !!float abc\n" + text.encode(),
    "a bad bool tag": lambda text: b"seed: !!bool abc\n" + text.encode(),
    "a python tag": lambda text: b"title: !!python/object/apply:os.system [id]\n" + text.encode(),
    "null key": lambda text: b"~: 1\n" + text.encode(),
    "list as key": lambda text: b"? [a, b]\n: 1\n" + text.encode(),
    "mapping as key": lambda text: b"? {a: b}\n: 1\n" + text.encode(),
    "several documents": lambda text: text.encode() + b"\n---\n" + text.encode(),
    "directive": lambda text: b"%YAML 9.9\n---\n" + text.encode(),
    "tag directive": lambda text: b"%TAG ! tag:yaml.org,2002:\n---\n" + text.encode(),
    "document end": lambda text: b"...\n...\n" + text.encode(),
    "look-alike key": lambda text: text.replace("seed", "s\u0435ed", 1).encode(),
    "decomposed key": lambda text: "titl\u0065\u0301: x\n".encode() + text.encode(),
    "zero-width space": lambda text: text.replace("data:", "data\u200b:", 1).encode(),
    "no-break space": lambda text: text.replace(": ", ":\u00a0").encode(),
    "full-width colon": lambda text: text.replace(": ", "\uff1a ", 1).encode(),
    "direction override": lambda text: "title: \u202egnihtemos\n".encode() + text.encode(),
    "line separator": lambda text: "title: a\u2028b\u2029c\u0085d\n".encode() + text.encode(),
    "surrogate": lambda text: b'title: "\\ud800"\n' + text.encode(),
    "utf-32": lambda text: text.encode("utf-32"),
    "utf-7": lambda text: text.encode("utf-7"),
    "latin-1": lambda text: ("title: caf\u00e9\n" + text).encode("latin-1"),
    "deep flow": lambda text: b"title: " + b"[" * 20000 + b"]" * 20000 + b"\n" + text.encode(),
    "deep blocks": lambda text: b"".join(b" " * i + b"a:\n" for i in range(1500)),
    "deep dashes": lambda text: b"title:\n  " + b"- " * 3000 + b"a\n" + text.encode(),
    "comment only": lambda text: b"# nothing\n",
    "one null": lambda text: b"null",
    "one number": lambda text: b"3",
    "one alias": lambda text: b"*a",
    "indented": lambda text: b"   " + text.encode(),
    "tabs": lambda text: text.replace("  ", "\t").encode(),
    "bell and escape": lambda text: b"title: \"\\a\\e[31m\\b\"\n" + text.encode(),
    "long key": lambda text: b"k" * 100_000 + b": 1\n" + text.encode(),
    "explicit long key": lambda text: b"? " + b"k" * 100_000 + b"\n: 1\n" + text.encode(),
    "many keys": lambda text: b"".join(b"k%d: 1\n" % i for i in range(20000)) + text.encode(),
    "json": lambda text: json.dumps(yaml.safe_load(text)).encode(),
    "nulls": lambda text: b"\x00" * 1000,
    "value indicator": lambda text: b"title: =\n" + text.encode(),
}  # fmt: skip


OVERRIDES = (
    "=", "==", "=x", "seed==3", "seed=&a 3", "seed=*a", "data=<<", "data={<<: 1}", "data={<<: [[]]}", "~", "~~seed",
    "~seed=3", "seed.0=3", "seed=!!int x", "seed=\u0663",
    "seed=1_000", "seed=0x_", "seed=190:20", "seed=" + "9" * 9000,
    "seed=.inf", "seed=-.nan", "seed=+3", "s\u0435ed=3", "seed\u200b=3", "SEED=3", "title=\u202ex", "title=a\u2028b",
    "space.kinds.gc.keep.-1=3", "space.kinds.gc.keep.99999999999999999999=3", "space.kinds.gc.keep.\u0661=0.5",
    "space.kinds.gc.keep.00=0.5", "space.sites.0.0.0=3", "space=space", "space=/dev/zero", "space=/", "space=..",
    "space=~", "device=/", "device=.", "device=host.yaml/", "device=host\0", "device=[host]", "device=/dev/null",
    "data=" + "[" * 5000, "data=" + "{a: " * 3000, "data=2026-01-01", "data=2026-99-99", "data=!!set {a}",
    "backbone=a..b:c", "backbone=.a:b", "backbone=a:b:c", "backbone=:", "backbone=a b:c", "backbone=\u212bx:c",
    "name=.", "name=..", "name=CON", "name=a/b", "name=a\\b", "name=\u200b", "name=" + "x" * 300, "name=-rf",
    "stream.shares.positive=0x1", "stream.shares={}", "stream.shares.=1", ".stream=1", "stream..shares=1",
    "~data.name", "~space.kinds", "~backbone_args", "~stream.shares.positive", "~space.sites.0", "~a.b.c.d",
    "export.formats=[[tflite]]", "export.formats={tflite: 1}", "export.formats=[tflite, tflite]", "augment=[]",
    "recipe=kws_clips.yaml", "--seed=3", "-s=3", "seed = 3",
    "seed=3 # three", "seed='3", 'seed="3', "title=|\n  a", "title=>",
    "x" * 10_000 + "=1", "x." * 5_000 + "x=1", "title=" + "y" * 100_000,
    "seed=3\ntitle=x", "\ud800=1", "title=\udcff",
    "device=" + "x" * 5000 + ".yaml", "space=" + "x" * 5000 + ".yaml", "device=~nobody/x.yaml", "seed=" + "9" * 1500,
)  # fmt: skip


def set_in(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(tree: Any) -> None:
        for name in path[:-1]:
            tree = tree[name]
        tree[path[-1]] = value

    return change


MANIFESTS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "key twice": lambda m: json.dumps(m)[:-1] + ', "stages": []}',
    "not a number": lambda m: json.dumps(m).replace('"theta_integer": ', '"theta_integer": NaN, "x": ', 1),
    "huge integer": lambda m: json.dumps(m).replace('"theta_integer": ', f'"theta_integer": {"9" * 6000}, "x": ', 1),
    "deep": lambda m: "[" * 100_000 + "]" * 100_000,
    "comment": lambda m: json.dumps(m) + "// end",
    "two documents": lambda m: json.dumps(m) * 2,
    "one list": lambda m: json.dumps([m]),
    "surrogate": lambda m: json.dumps(m).replace('"classes": ["top"', '"classes": ["\\ud800"'),
    "null byte in a path": set_in("stages", 0, "program", "path", value="a\0b"),
    "absolute path": set_in("stages", 0, "program", "path", value="/etc/passwd"),
    "upward path": set_in("stages", 0, "program", "path", value="../../../etc/passwd"),
    "path of the folder": set_in("stages", 0, "program", "path", value="."),
    "path of the manifest": set_in("stages", 0, "program", "path", value="manifest.json"),
    "long path": set_in("stages", 0, "program", "path", value="x" * 5000),
    "empty path": set_in("stages", 0, "program", "path", value=""),
    "look-alike digest": set_in("stages", 0, "program", "sha256", value="\uff10" * 64),
    "engine of a list": set_in("stages", 0, "engine", value=["litert"]),
    "boolean threshold": set_in("stages", 0, "gate", "theta_integer", value=True),
    "float threshold": set_in("stages", 0, "gate", "theta_integer", value=0.5),
    "huge answer": set_in("stages", 0, "gate", "answer", value=10**30),
    "minus answer": set_in("stages", 0, "gate", "answer", value=-(10**30)),
    "answer of a boolean": set_in("stages", 0, "gate", "answer", value=True),
    "classes of text": set_in("classes", value="abc"),
    "classes of numbers": set_in("classes", value=[1, 2, 3]),
    "classes of lists": set_in("classes", value=[["a"], ["b"], ["c"]]),
    "positive of numbers": set_in("positive", value=[1, 0, 2]),
    "positive of text": set_in("positive", value="yes"),
    "positive too short": set_in("positive", value=[True]),
    "exit of text": set_in("stages", 0, "gate", "exit", value="x"),
    "exit of itself": lambda m: m["stages"][0]["gate"].update(exit={"program": m["stages"][0]["program"]}),
    "parts of text": set_in("stages", 0, "parts", value="abc"),
    "parts of programs": lambda m: m["stages"][0].update(parts=[dict(m["stages"][0])]),
    "one stage too many": lambda m: m["stages"].append(m["stages"][-1]),
    "the same stage twice": lambda m: m["stages"].insert(0, m["stages"][0]),
    "stages of a mapping": set_in("stages", value={"0": {}}),
    "last stage alone": lambda m: m["stages"].pop(0),
    "first stage alone": lambda m: m["stages"].pop(),
    "offset of a list": set_in("stages", -1, "logit_offset", value=[0]),
    "huge offset": set_in("stages", -1, "logit_offset", value=10**400),
    "offset of text": set_in("stages", -1, "logit_offset", value="0"),
    "gate of a list": set_in("stages", 0, "gate", value=[]),
    "core of nothing": set_in("stages", 0, "core", value=None),
    "core of a mapping": set_in("stages", 0, "core", value={}),
    "version of text": set_in("version", value="1"),
    "huge version": set_in("version", value=10**30),
}  # fmt: skip


GATE = {"kind": "gc", "site": "0", "params": {"keep": 0.5}}
PLAN_TREES: tuple[Any, ...] = (
    {}, None, 3, "x", [], [1], {"gates": []}, {"cores": []},
    {"gates": None, "cores": []}, {"gates": [], "cores": None},
    {"gates": "abc", "cores": []}, {"gates": [], "cores": "host"},
    {"gates": [], "cores": [1]}, {"gates": [], "cores": [[]]},
    {"gates": [1], "cores": []}, {"gates": [{}], "cores": []}, {"gates": [{"kind": "gc"}], "cores": []},
    {"gates": [{**GATE, "params": None}], "cores": []}, {"gates": [{**GATE, "params": []}], "cores": []},
    {"gates": [{**GATE, "params": {1: 2}}], "cores": []}, {"gates": [{**GATE, "params": {"keep": []}}], "cores": []},
    {"gates": [{**GATE, "params": {"keep": {}}}], "cores": []}, {"gates": [{**GATE, "kind": 3}], "cores": []},
    {"gates": [{**GATE, "site": None}], "cores": []}, {"gates": [{**GATE, "extra": 1}], "cores": []},
    {"gates": [{**GATE, "params": {"kind": "x", "site": "y", "cls": 3}}], "cores": []}, {"gates": GATE, "cores": []},
    {"gates": [{**GATE, "params": {"keep": float("nan")}}], "cores": []}, {"gates": [], "cores": {"a": 1}},
    {"gates": [{**GATE, "params": {"keep": HUGE}}], "cores": []},
    {"gates": [{**GATE, "params": {"keep": 1j}}], "cores": []},
    {"gates": [{**GATE, "params": {"keep": np.float32(0.5)}}], "cores": []},
    {"gates": [{**GATE, "kind": ""}], "cores": []},
    {"gates": (GATE,), "cores": ("host",)}, {"gates": iter([GATE]), "cores": []},
    {"gates": [GATE] * 3, "cores": ["a"]},
    {"gates": [], "cores": [], "more": 1}, Rude(), {"gates": Rude(), "cores": []},
    {"gates": [{**GATE, "kind": "\ud800"}], "cores": []}, {"gates": [{**GATE, "site": "x" * 10**5}], "cores": []},
)  # fmt: skip
PLAN_TEXTS: tuple[Any, ...] = (
    "", "null", "[]", "3", '"x"', "{", "{}", "[" * 100_000, '{"gates": [], "cores": []} x', "NaN", b"\xff", None, 3,
    "\ufeff{}", '{"gates": [], "cores": [], "cores": 3}', '{"gates": [], "cores": ["\\ud800"]}', Path("plan.json"),
    '{"gates": [{"kind": "gc", "site": "0", "params": {"keep": ' + "9" * 6000 + '}}], "cores": []}', b"{}", object(),
    '{"gates": [{"kind": "gc", "site": "0", "params": {"keep": NaN}}], "cores": []}', "\0", "gates: []\ncores: []",
)  # fmt: skip
