"""PURE: the states of an operation and the transitions between them. No other code sets a state.

An operation is one addNodes call of ours. This module is the source of the table and the diagram in
docs/how-it-works.md.
"""

from dataclasses import dataclass

from tasks.ledger.record_values import State
from tasks.ledger.records import Operation

MEANING = {
    # Nodes of requests are assigned to it and its cluster is locked; nothing was sent.
    State.PLANNED: "planned for its requests; nothing was sent",
    # Written before the call is signed: from here on it may have been sent.
    State.SUBMITTING: "about to be sent, or sent and without a response so far",
    # As in two-phase commit. It is never sent again; the provider's operation log decides.
    State.IN_DOUBT: "it is unknown whether the provider executed it",
    # The provider has named a job; nothing returns to demand any more.
    State.RUNNING: "the provider has accepted it as a job, which is polled",
    # The cluster stays locked until an operator decides with `scaleout resolve`.
    State.HELD: "the operation log cannot decide it: an operator has to",
    # Its nodes are there.
    State.SUCCEEDED: "its job succeeded",
    # Some of its nodes may be there.
    State.FAILED: "its job failed",
    # Its nodes return to demand, or end their requests, by the class of the refusal.
    State.REFUSED: "the provider refused it, or it never left this machine; nothing was made",
    # The only state after a doubt from which nodes return to demand.
    State.NOT_EXECUTED: "proven, or decided by an operator: the provider never executed it",
    # Its nodes return to demand, or no request wants them any more.
    State.ABANDONED: "abandoned before it was sent",
}


@dataclass(frozen=True, slots=True)
class Transition:
    """`module`: the file of this package that makes it."""

    source: State
    target: State
    cause: str
    module: str


TRANSITIONS = (
    Transition(State.PLANNED, State.SUBMITTING, "baseline listed, record written", "submission"),
    Transition(State.PLANNED, State.ABANDONED, "no request wants it, or its plan is outdated", "submission"),
    Transition(
        State.PLANNED, State.HELD, "a response to it shows that its sending was lost", "reconciliation"
    ),
    Transition(State.SUBMITTING, State.RUNNING, "the response names a job", "acceptance"),
    Transition(State.SUBMITTING, State.REFUSED, "the response refuses it, or it was not sent", "refusal"),
    Transition(State.SUBMITTING, State.IN_DOUBT, "unclear response, or the lease expired", "reconciliation"),
    Transition(State.IN_DOUBT, State.RUNNING, "its job is found (adopted), or a late response", "acceptance"),
    Transition(State.IN_DOUBT, State.REFUSED, "a late response refuses it", "refusal"),
    Transition(State.IN_DOUBT, State.NOT_EXECUTED, "two complete listings prove it", "refusal"),
    Transition(State.IN_DOUBT, State.HELD, "the log cannot decide it", "reconciliation"),
    Transition(State.RUNNING, State.SUCCEEDED, "its job succeeded", "completion"),
    Transition(State.RUNNING, State.FAILED, "its job failed", "completion"),
    Transition(
        State.RUNNING, State.HELD, "its job is missing, or a late response contradicts", "reconciliation"
    ),
    Transition(State.HELD, State.RUNNING, "an operator adopts a job, or a late response", "resolution"),
    Transition(State.HELD, State.NOT_EXECUTED, "an operator decides", "resolution"),
    Transition(State.HELD, State.REFUSED, "a late response refuses it", "refusal"),
)
NEXT = {state: frozenset(one.target for one in TRANSITIONS if one.source is state) for state in State}

# A definite response decides an operation only in these.
UNDECIDED = frozenset({State.SUBMITTING, State.IN_DOUBT, State.HELD})


class ForbiddenTransition(RuntimeError):  # noqa: N818 - named by what was tried
    """The table of transitions has no such one."""


def move(operation: Operation, target: State, **update: object) -> Operation:
    """Return the operation in its next state, with other fields updated.

    Raises:
        ForbiddenTransition: `TRANSITIONS` does not lead from its state to `target`.
    """
    if target not in NEXT[operation.state]:
        allowed = ", ".join(sorted(NEXT[operation.state])) or "none, for it is final"
        raise ForbiddenTransition(
            f"operation {operation.operation_id} is {operation.state} and cannot become {target}: "
            f"allowed are {allowed}"
        )
    return operation.model_copy(update={"state": target, **update})
