"""A person decides about an operation: the provider's log is asked first, whichever surface it comes by."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks import admin
from tasks.handlers.check_decision import check_absence, check_adoption
from tasks.handlers.context import Context
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Operation
from tasks.state_machine.decision_check import Objection
from tasks.state_machine.resolution import DECIDABLE


@dataclass(frozen=True, slots=True)
class Checked:
    """What speaks against a decision, and the operation as it was then; None if nothing can be decided."""

    operation: Operation | None
    objections: list[Objection]


async def check(ctx: Context, operation_id: str, adopt_job: str | None) -> Checked:
    """Compare a decision with the provider's log. `adopt_job`: None if it was not executed."""
    operation = await ctx.ledger.operation(operation_id)
    if operation is None or operation.state not in DECIDABLE:
        # What is the matter with it is said when it is decided.
        return Checked(None, [])
    if adopt_job is None:
        return Checked(operation, await check_absence(ctx, operation))
    return Checked(operation, await check_adoption(ctx, operation, adopt_job))


def refusals(found: Sequence[Objection], *, force: bool, option: str) -> list[str]:
    """Return why the decision is not taken, as sentences with a remedy. `option`: how `force` is called."""
    certain = [one.text for one in found if one.certain]
    if certain or force:
        return certain
    return [f"{one.text}: {option} overrules that, for what the log cannot show" for one in found]


async def decide(
    ledger: Ledger,
    operation_id: str,
    adopt_job: str | None,
    checked: Checked,
    *,
    by: str,
    reason: str | None,
) -> None:
    """Record and carry out a decision as it was checked. Raises CannotResolve."""
    await admin.resolve(
        ledger,
        operation_id,
        adopt_job=adopt_job,
        by=by,
        reason=reason,
        checked=checked.operation,
        overruled=[one.text for one in checked.objections],
    )
