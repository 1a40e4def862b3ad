"""The file by which a host remembers what its workers have seen of the ledger."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from config.settings import Settings
from tasks.engine.state_file import StateFile
from tasks.ledger.epoch import Epoch


def settings(**more: object) -> Settings:
    return Settings.model_validate(
        {"access_key_id": SecretStr("key"), "secret_access_key": SecretStr("secret"), **more}
    )


def seen(name: str = "one", count: int = 7, step: str = "step-7") -> Epoch:
    epoch = Epoch()
    epoch.observe(name, count, 0, step)
    return epoch


def loaded(file: StateFile) -> tuple[str, int, str]:
    epoch = Epoch()
    file.load(epoch)
    return epoch.id, epoch.count, epoch.step


def test_what_a_worker_has_seen_is_known_to_the_next_one(tmp_path: Path) -> None:
    StateFile(tmp_path / "new", settings()).save(seen())

    assert loaded(StateFile(tmp_path / "new", settings())) == ("one", 7, "step-7")


def test_a_worker_that_has_seen_less_overwrites_nothing(tmp_path: Path) -> None:
    StateFile(tmp_path, settings()).save(seen(count=9, step="step-9"))
    StateFile(tmp_path, settings()).save(seen())

    assert loaded(StateFile(tmp_path, settings())) == ("one", 9, "step-9")


def test_an_acknowledged_ledger_replaces_the_one_before(tmp_path: Path) -> None:
    StateFile(tmp_path, settings()).save(seen(count=9))
    StateFile(tmp_path, settings()).save(seen("two", 1, "first"))

    assert loaded(StateFile(tmp_path, settings())) == ("two", 1, "first")


def test_a_ledger_that_lost_data_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file, epoch = StateFile(tmp_path, settings()), seen()
    file.save(epoch)
    epoch.observe("one", 3, 1_000)
    file.save(epoch)

    assert loaded(StateFile(tmp_path, settings())) == ("one", 7, "step-7")


@pytest.mark.parametrize("other", [{"key_prefix": "b"}, {"redis_url": SecretStr("redis://other/0")}])
def test_each_ledger_has_a_file_of_its_own(tmp_path: Path, other: dict[str, object]) -> None:
    StateFile(tmp_path, settings()).save(seen())

    assert loaded(StateFile(tmp_path, settings(**other))) == ("", 0, "")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"id": 1, "count": "x", "step": ""}'])
def test_a_damaged_file_is_reported_and_stops_nothing(tmp_path: Path, text: str) -> None:
    StateFile(tmp_path, settings()).save(seen())
    (path,) = tmp_path.iterdir()
    path.write_text(text, encoding="utf-8")

    with capture_logs() as logs:
        assert loaded(StateFile(tmp_path, settings())) == ("", 0, "")
    assert [line["event"] for line in logs] == ["state_not_read"]


def test_a_directory_that_cannot_be_written_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    file = StateFile(tmp_path / "file" / "below", settings())

    with capture_logs() as logs:
        file.save(seen())
        file.save(seen(count=8))
    assert [line["event"] for line in logs if line["event"] == "state_not_saved"] == ["state_not_saved"]


def test_without_a_directory_nothing_is_kept() -> None:
    file = StateFile(None, settings())
    file.save(seen())

    assert loaded(file) == ("", 0, "")
