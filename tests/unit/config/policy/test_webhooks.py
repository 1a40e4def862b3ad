"""The webhooks of a policy file: what is taken, and what is refused with every mistake."""

from pathlib import Path

import pytest

from config.policy.file import PolicyError, load_policy
from config.policy.model import Policy, Webhook

GOOD = """
[[webhook]]
name = "billing"
url = "https://billing.example/hooks?x=1"
secret_file = "/run/secrets/billing"
"""


def read(text: str, folder: Path) -> Policy:
    path = folder / "policy.toml"
    path.write_text(text)
    return load_policy(path)


def test_a_webhook_is_told_of_everything_unless_it_says_otherwise(tmp_path: Path) -> None:
    (webhook,) = read(GOOD, tmp_path).webhooks

    assert webhook.events == ("outcome", "held", "late_nodes", "paused")
    assert webhook.wants("outcome", {None})
    assert webhook.wants("paused", set())


def test_producers_are_globs_and_a_pause_concerns_all(tmp_path: Path) -> None:
    (webhook,) = read(f'{GOOD}producers = ["nightly-*"]', tmp_path).webhooks

    assert webhook.wants("outcome", {"nightly-batch"})
    assert webhook.wants("held", {"other", "nightly-batch"})
    assert webhook.wants("paused", set())
    assert not webhook.wants("outcome", {"Nightly-batch"})
    assert not webhook.wants("outcome", {None})


@pytest.mark.parametrize(
    "url",
    [
        "http://billing.example/",
        "https://",
        "https://user:word@billing.example/",
        "https://billing.example/#part",
        "https://billing.example:99999/",
        "https://billing.example:0/",
        "https://billing.example/a b",
        "https://billing.example/\u00e4",
        "ftp://billing.example/",
        "billing.example",
        "",
    ],
)
def test_urls_that_no_delivery_may_go_to_are_refused(url: str, tmp_path: Path) -> None:
    text = GOOD.replace("https://billing.example/hooks?x=1", url)
    with pytest.raises(PolicyError) as refused:
        read(text, tmp_path)

    (problem,) = refused.value.problems
    assert problem.startswith('webhook."billing".url')


def test_every_mistake_is_listed_at_once(tmp_path: Path) -> None:
    wrong = '[[webhook]]\nname = "a b"\nurl = "http://x"\nevents = ["all"]\ncolour = "red"\n'
    with pytest.raises(PolicyError) as refused:
        read(wrong + GOOD + GOOD, tmp_path)

    text = "\n".join(refused.value.problems)
    for part in ("name", "url", "events", "secret_file", "colour", "2 have the name billing"):
        assert part in text


def test_no_events_and_a_single_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="events"):
        read(f"{GOOD}events = []", tmp_path)
    with pytest.raises(PolicyError, match=r"must be written \[\[webhook\]\]"):
        read(GOOD.replace("[[webhook]]", "[webhook]"), tmp_path)


def test_the_example_has_a_webhook_that_is_valid(tmp_path: Path) -> None:
    lines = Path("config/policy/example.toml").read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("# [[webhook]]"))
    policy = read("\n".join(line.removeprefix("# ") for line in lines[first:]), tmp_path)

    assert policy.webhooks == (Webhook.model_validate(policy.webhooks[0].model_dump()),)
