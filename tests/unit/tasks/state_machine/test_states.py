"""The table of states and transitions, and that it is the only way from one state to another."""

import ast
from collections.abc import Iterator
from itertools import product

import pytest

from tasks.ledger.record_values import FINAL, State
from tasks.state_machine.states import (
    MEANING,
    NEXT,
    TRANSITIONS,
    UNDECIDED,
    ForbiddenTransition,
    move,
)
from tests.support.processes import ROOT
from tests.support.records import operation

PAIRS = list(product(State, State))


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda state: str(state.value))
def test_an_operation_moves_only_along_the_table(source: State, target: State) -> None:
    of = operation(state=source)

    if any((one.source, one.target) == (source, target) for one in TRANSITIONS):
        moved = move(of, target, finished_at=5)
        assert (moved.state, moved.finished_at, moved.version) == (target, 5, of.version)
    else:
        with pytest.raises(ForbiddenTransition, match=f"op-1 is {source} and cannot become {target}"):
            move(of, target)


def test_a_final_state_leads_nowhere_and_every_other_one_does() -> None:
    assert {state for state in State if not NEXT[state]} == set(FINAL)


def test_every_state_is_reached_from_planned() -> None:
    reached, found = {State.PLANNED}, {State.PLANNED}
    while found:
        found = {target for state in found for target in NEXT[state]} - reached
        reached |= found

    assert reached == set(State) == set(MEANING)


def test_a_definite_response_may_decide_every_undecided_state() -> None:
    assert all(NEXT[state] >= {State.RUNNING, State.REFUSED} for state in UNDECIDED)
    assert {state for state in State if NEXT[state] >= {State.RUNNING, State.REFUSED}} == UNDECIDED


def test_no_other_code_sets_a_state() -> None:
    """Only `move` writes one, a plan creates an operation, and a lost record is written anew as held.

    Usage is computed for a fictitious operation.
    """
    assert set(_state_updates()) == {
        ("tasks/ledger/usage_counters.py", "RUNNING"),
        ("tasks/state_machine/rebuilding.py", "HELD"),
    }


def _state_updates() -> Iterator[tuple[str, str]]:
    """Find each constant `State.X` that becomes a field `state` of a copied or new operation."""
    for path in sorted((ROOT / "tasks").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            pairs: list[tuple[ast.expr | None, ast.expr]] = []
            if isinstance(node, ast.Dict):
                pairs = list(zip(node.keys, node.values, strict=True))
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Operation":
                pairs = [(ast.Constant(word.arg), word.value) for word in node.keywords]
            for key, value in pairs:
                names = {item.attr for item in ast.walk(value) if isinstance(item, ast.Attribute)}
                if isinstance(key, ast.Constant) and key.value == "state" and names & set(State.__members__):
                    (name,) = names & set(State.__members__)
                    yield str(path.relative_to(ROOT)), name
