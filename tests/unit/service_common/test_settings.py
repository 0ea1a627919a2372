"""Flags over environment over file over defaults, and one readable line for what is wrong."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import structlog
import typer
from pydantic import Field
from pydantic_settings import SettingsConfigDict
from typer.testing import CliRunner

from mentorgrad.errors import InvalidInput
from service_common import logs
from service_common.settings import ServiceSettings, command, load


class Sample(ServiceSettings):
    """A service's settings."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_SAMPLE_")

    listen: str = Field("127.0.0.1:1", description="Where to listen.")
    workers: int = Field(1, ge=1, le=64, description="Worker slots.")
    roots: tuple[str, ...] = Field((), description="Allowed folders.")
    insecure: bool = Field(False, description="Allow strangers.")


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "sample.toml"
    path.write_text('workers = 2\nlisten = "127.0.0.1:2"\n')
    return path


def test_each_source_overrules_the_weaker_ones(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(Sample, None, {}).workers == 1
    assert load(Sample, toml, {}).workers == 2
    monkeypatch.setenv("MENTORGRAD_SAMPLE_WORKERS", "3")
    assert load(Sample, toml, {}).workers == 3
    settings = load(Sample, toml, {"workers": 4, "listen": None})
    assert (settings.workers, settings.listen) == (4, "127.0.0.1:2")


def test_of_a_file_for_several_services_only_the_own_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    path.write_text("[sample]\nworkers = 2\n[other]\nlisten = 3\n")
    assert load(Sample, path, {}) == Sample(workers=2)
    path.write_text("[sample]\nwrokers = 2\n")
    with pytest.raises(InvalidInput, match="wrokers"):
        load(Sample, path, {})


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("workers = 0", "workers"),
        ("wrokers = 2", "wrokers"),
        ("workers = [", "config"),
        ("sample = 3", "sample"),
    ],
)
def test_a_wrong_file_names_the_setting(tmp_path: Path, content: str, field: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(content)
    with pytest.raises(InvalidInput) as caught:
        load(Sample, path, {})
    assert caught.value.violations[0].field == field


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        load(Sample, tmp_path / "absent.toml", {})


def test_the_command_has_a_flag_for_every_setting(toml: Path) -> None:
    seen: list[Sample] = []
    app = typer.Typer()
    app.command()(command(Sample, seen.append, "Serves a sample."))
    runner = CliRunner()
    result = runner.invoke(
        app, ["--config", str(toml), "--roots", "a", "--roots", "b", "--insecure"]
    )
    assert result.exit_code == 0, result.output
    assert seen == [Sample(listen="127.0.0.1:2", workers=2, roots=("a", "b"), insecure=True)]
    help_text = runner.invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "such as MENTORGRAD_SAMPLE_LISTEN for --listen." in help_text
    assert "[default: 127.0.0.1:1]" in help_text


def test_logs_follow_a_replaced_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    logs.configure("info")
    log = structlog.get_logger("test")
    log.info("one")
    first.close()
    monkeypatch.setattr(sys, "stderr", second)
    log.info("two")
    assert '"two"' in second.getvalue()


class Files(ServiceSettings):
    """Settings that are paths."""

    model_config = SettingsConfigDict(env_prefix="MENTORGRAD_FILES_")

    one: Path | None = Field(None, description="A file.")
    several: tuple[Path, ...] = Field((), description="Folders.")


def test_a_home_folder_is_expanded_from_every_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "files.toml").write_text('one = "~/a"\nseveral = ["~/b", "/c", "~"]\n')
    found = load(Files, Path("~/files.toml"), {})
    assert found.one == tmp_path / "a"
    assert found.several == (tmp_path / "b", Path("/c"), tmp_path)
    monkeypatch.setenv("MENTORGRAD_FILES_ONE", "~/d")
    assert load(Files, None, {}).one == tmp_path / "d"
    assert load(Files, None, {"one": Path("~/e")}).one == tmp_path / "e"


def test_without_a_home_folder_the_setting_is_named() -> None:
    with pytest.raises(InvalidInput, match="one: ~nobody-of-this-name/a: there is no home folder"):
        load(Files, None, {"one": Path("~nobody-of-this-name/a")})


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_text("workers = 2\n", encoding="utf-8-sig")
    assert load(Sample, path, {}).workers == 2
