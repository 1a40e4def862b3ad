"""What each command prints with `--json`. Tests compare all output with it."""

from collections.abc import Mapping
from typing import Any

from tasks.contract import documents as d
from tasks.contract.dry_run import DryRun

# The first is what a command usually prints.
OUTPUT: Mapping[str, tuple[Any, ...]] = {
    "submit": (d.StatusDocument, DryRun),
    "status": (d.StatusDocument,),
    "wait": (d.StatusDocument,),
    "cancel": (d.StatusDocument,),
    "list": (list[d.StatusDocument],),
    "history": (list[d.HistoryEntry], list[d.HistoryEvent]),
    "stats": (list[d.PoolStats],),
    "pause": (list[d.Blocker],),
    "resume": (list[d.Blocker],),
    "resolve": (list[d.HeldOperation], d.HeldOperation),
    "quota": (d.Quota, d.QuotaPlan),
    "workers": (list[d.Worker],),
    "doctor": (list[d.Finding],),
    "health": (d.Health,),
    "schedules list": (list[d.Schedule],),
    "schedules trigger": (d.Triggered, d.TriggerPlan),
    "policy check": (d.PolicyCheck,),
    "policy show": (d.PolicyShown,),
    "dead-letters list": (list[d.DeadLetter],),
    "dead-letters show": (d.DeadLetter,),
    "dead-letters requeue": (d.Requeued,),
    "dead-letters clear": (d.Cleared,),
    "ledger export": (d.LedgerCopy,),
    "ledger import": (d.LedgerCopy,),
    "webhooks list": (list[d.Webhook],),
    "webhooks test": (d.WebhookTest,),
    "webhooks replay": (d.WebhookReplay,),
    "webhooks enable": (d.WebhookEnabled,),
    "gateway token": (d.NewToken,),
    "demo": (d.DemoReport,),
}
ERROR = d.Error
