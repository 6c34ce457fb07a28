"""A plan as a comment: a fixed order, and what comes from files says nothing but itself."""

from __future__ import annotations

import pytest

from reconciler.cli.plan_markdown import MARK, escaped, markdown
from reconciler.cli.plan_text import summary, text
from reconciler.engine.decide.disruption import Action

CONDITION = {"type": "Ready", "status": "True", "reason": "InSync", "message": ""}


def plan(name="a", action="none", **more):
    return {"name": name, "uuid": name, "file": f"{name}.xml", "cause": "file", "action": action,
            "waits": False, "cost": "", "downSeconds": 0.0, "steps": [], "blocked": [],
            "changes": [], "conditions": [CONDITION], "changesAnything": action != "none", **more}


def change(path="memory", **more):
    return {"path": path, "from": "1 GiB", "to": "2 GiB", "class": "recreate", "blockedBy": "",
            "line": 3, "cost": "down about 31 s", "downSeconds": 31.0, **more}


def value(*plans, **more):
    counts = {str(action): sum(p["action"] == action for p in plans)
              for action in Action if action != "none"}
    return {"plans": list(plans), "invalid": [], "sourceError": "", "elsewhere": [],
            "summary": {**counts, "unchanged": sum(p["action"] == "none" for p in plans),
                        "waiting": sum(p["waits"] for p in plans)}, **more}


def recreate(name="b", seconds=31.0, **more):
    return plan(name, "recreate", downSeconds=seconds, cost=f"down about {seconds:.0f} s", **more)


@pytest.mark.parametrize(("plans", "said"), [
    ((), "no domains"), ((plan(),), "1 domain: nothing to do"),
    ((plan("a", "start"), plan("b", "start"), recreate("c"), plan("d", "destroy"), plan("e")),
     "2 to start, 1 to recreate (down about 31 s), 1 to destroy, 1 unchanged"),
    ((recreate("a"), recreate("b")), "2 to recreate (each down about 31 s)"),
    ((recreate("a", 2.0), recreate("b")), "2 to recreate (each down up to 31 s)"),
    ((recreate("a", waits=True), plan("b", "destroy", waits=True)),
     "1 to recreate (down about 31 s), 1 to destroy; 2 of them wait")])
def test_the_summary(plans, said):
    assert summary(value(*plans)) == said


def test_a_comment_has_a_table_and_details():
    shown = markdown(value(recreate(changes=[change()]), plan("z")))
    assert shown == f"""{MARK}
**Plan:** 1 to recreate \\(down about 31 s\\), 1 unchanged

| Domain | File | What | Waits for |
|---|---|---|---|
| b | b.xml | recreate, down about 31 s |  |

<details><summary>1 field</summary>

| Where | Domain | Field | Change | Class and cost |
|---|---|---|---|---|
| b.xml:3 | b | memory | 1 GiB → 2 GiB | recreate, down about 31 s |

</details>
"""


def test_what_is_wrong_comes_first():
    shown = markdown(value(sourceError="gone", elsewhere=["h2.xml"],
                           invalid=[{"file": "b.xml", "errors": ["b.xml:1: error: <x>"]},
                                    {"file": "a.xml", "errors": ["a.xml:2: error: y"]}]))
    assert shown.index("gone") < shown.index("a.xml:2") < shown.index("b.xml:1")
    assert "&lt;x&gt;" in shown
    assert "h2.xml: assigned to another host" in shown


@pytest.mark.parametrize(("wild", "tame"), [
    ("a|b", r"a\|b"), ("<img src=x>", "&lt;img src=x&gt;"), ("@team", "&#64;team"),
    ("[a](http://b)", r"\[a\]\(http&#58;//b\)"), ("`x`", r"\`x\`"), ("a\n\n# b", r"a \# b"),
    ("**b** _i_ ~s~ #1", r"\*\*b\*\* \_i\_ \~s\~ \#1"), ("www.x", "www&#46;x"),
    ("\\|", r"\\\|")])
def test_what_comes_from_files_is_only_text(wild, tame):
    assert escaped(wild) == tame
    row = next(line for line in markdown(value(recreate(changes=[change(to=wild)]))).splitlines()
               if "memory" in line)
    assert tame in row


def test_a_long_value_is_cut():
    assert escaped("x" * 300) == "x" * 200 + "…"


def test_nothing_that_counts_is_in_a_comment():
    counting = [{**CONDITION, "status": "False", "reason": "BackOff",
                 "message": "no; try 3 follows in 7 s"}]
    shown = markdown(value(plan("a", "start", waits=True, conditions=counting)))
    assert "| a | a.xml | start | BackOff |" in shown
    assert "7 s" not in shown


def test_for_people_it_names_file_line_field_class_and_cost():
    assert text(value(recreate(changes=[change(), change("alias", **{
        "class": "none", "cost": "no effect"})]), elsewhere=["h2.xml"])) == (
        "! b (b.xml): recreate, down about 31 s\n"
        "    b.xml:3  memory: 1 GiB → 2 GiB  recreate, down about 31 s\n"
        "    b.xml:3  alias: 1 GiB → 2 GiB  no effect\n"
        "h2.xml: assigned to another host (placement/@host)\n"
        "1 to recreate (down about 31 s)")
