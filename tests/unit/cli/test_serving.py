"""`mentorgrad serve all`: what each service hears, and from whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
import typer
from typer.testing import CliRunner

from mentor_service.settings import MentorSettings
from mentorgrad.cli.support import processes
from service_common.settings import command
from trainer_service.settings import TrainerSettings
from ui_service.settings import UiSettings

Invoke = Callable[..., Any]
Heard = dict[str, Any]

MODELS = {"trainer": TrainerSettings, "mentor": MentorSettings, "ui": UiSettings}


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """The settings that each service would run with, read as it reads them."""
    found: Heard = {}

    class Listeners:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def start(
            self,
            name: str,
            arguments: Sequence[str],
            threads: int | None,
            environment: Mapping[str, str] | None = None,
        ) -> str:
            def take(settings: Any) -> None:
                found[name] = settings

            app = typer.Typer()
            app.command()(command(MODELS[name], take, "Listen."))
            result = CliRunner().invoke(app, list(arguments), env=environment)
            assert result.exit_code == 0, result.output
            found[f"{name} arguments"] = list(arguments)
            found[f"{name} threads"] = threads
            return "127.0.0.1:7"

        def wait(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(processes, "Services", Listeners)
    monkeypatch.setattr(processes, "cores", lambda: 6)
    return found


def test_what_nobody_says_is_the_services_own_default(invoke: Invoke, heard: Heard) -> None:
    assert invoke("serve", "all").exit_code == 0
    assert heard["trainer"] == TrainerSettings(threads=3, mentor={"default": "127.0.0.1:7"})
    assert heard["mentor"] == MentorSettings(threads=3)
    assert heard["trainer threads"] == heard["mentor threads"] == 3


def test_a_page_of_the_trainer_is_served_if_it_is_asked_for(invoke: Invoke, heard: Heard) -> None:
    result = invoke("serve", "all")
    assert ("ui" in heard, result.stdout.count(" at ")) == (False, 2)
    given = ("--ui-listen", "127.0.0.1:6", "--log-level", "debug", "--allow-actions")
    result = invoke("serve", "all", "--ui", *given)
    assert result.stdout.splitlines()[-1] == "ui at 127.0.0.1:7"
    assert heard["ui"] == UiSettings(
        listen="127.0.0.1:6", server="127.0.0.1:7", log_level="debug", allow_actions=True
    )
    assert heard["trainer threads"] == 3


def test_flag_over_environment_over_file_over_default(
    invoke: Invoke, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "both.toml"
    config.write_text(
        "[trainer]\n"
        'listen = "127.0.0.1:1"\nstore = "sqlite:///file.sqlite"\nqueue_limit = 7\nwarm = false\n'
        f'threads = 4\ndata_root = ["{tmp_path}"]\n'
        'mentor = { default = "127.0.0.1:1", other = "127.0.0.1:2" }\n'
        '[mentor]\nlisten = "127.0.0.1:3"\nmodel = "wörter.gguf"\nthreads = 5\ncontext = 512\n'
    )
    for name, value in {
        "TRAINER_LISTEN": "127.0.0.1:11",
        "TRAINER_STORE": "sqlite:///environment.sqlite",
        "MENTOR_THREADS": "2",
        "MENTOR_CONTEXT": "1024",
    }.items():
        monkeypatch.setenv(f"MENTORGRAD_{name}", value)

    flags = ("--store", "sqlite:///flag.sqlite", "--mentor-threads", "1")
    result = invoke("serve", "all", "--config", str(config), *flags)
    assert result.exit_code == 0, result.stderr

    trainer, mentor = heard["trainer"], heard["mentor"]
    assert trainer.store == "sqlite:///flag.sqlite"
    assert trainer.listen == "127.0.0.1:11"
    assert (trainer.queue_limit, trainer.warm, trainer.threads) == (7, False, 4)
    assert trainer.data_root == (tmp_path,)
    assert trainer.mentor == {"default": "127.0.0.1:7", "other": "127.0.0.1:2"}
    assert trainer.device == "auto"
    assert (mentor.threads, mentor.context) == (1, 1024)
    assert (mentor.listen, mentor.model) == ("127.0.0.1:3", "wörter.gguf")
    assert (heard["trainer threads"], heard["mentor threads"]) == (None, 1)


def test_the_environment_s_mentors_and_threads_stay(
    invoke: Invoke, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MENTORGRAD_TRAINER_MENTOR", "big=127.0.0.1:2, small=127.0.0.1:3")
    monkeypatch.setenv("MENTORGRAD_TRAINER_THREADS", "1")
    assert invoke("serve", "all", "--name", "small").exit_code == 0
    assert heard["trainer"].mentor == {"big": "127.0.0.1:2", "small": "127.0.0.1:7"}
    assert (heard["trainer"].threads, heard["mentor"].threads) == (1, 3)


def test_flags_reach_their_service(invoke: Invoke, heard: Heard, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    flags = ("--listen", "127.0.0.1:4", "--mentor-listen", "127.0.0.1:5", "--threads", "2")
    roots = ("--data-root", str(one), "--data-root", str(two))
    served = ("--tuned-model", "big=http://h:8/v1", "--tuned-model", "two=https://h/v1#org/m:1b")
    models = ("--model-root", str(two), "--device", "cpu", "--workers-per-device", "3")
    rest = ("--cache-dir", str(one), "--log-level", "debug", "--model", "m.gguf", "--insecure")
    remote = ("--backend", "openai", "--base-url", "http://h:9/v1")
    result = invoke("serve", "all", *flags, *roots, *served, *models, *rest, *remote)
    assert result.exit_code == 0, result.stderr
    trainer, mentor = heard["trainer"], heard["mentor"]
    assert trainer.data_root == (one, two)
    assert trainer.tuned_model == {"big": "http://h:8/v1", "two": "https://h/v1#org/m:1b"}
    assert (trainer.model_root, trainer.cache_dir) == ((two,), one)
    assert (trainer.device, trainer.workers_per_device) == ("cpu", 3)
    assert (mentor.backend, mentor.base_url) == ("openai", "http://h:9/v1")
    assert trainer.log_level == mentor.log_level == "debug"
    assert (trainer.listen, trainer.threads, trainer.insecure) == ("127.0.0.1:4", 2, True)
    assert (mentor.listen, mentor.model, mentor.insecure) == ("127.0.0.1:5", "m.gguf", True)


def test_the_store_stands_in_no_command_line(invoke: Invoke, heard: Heard) -> None:
    url = "postgresql://someone:s3cret@127.0.0.1/runs"
    assert invoke("serve", "all", "--store", url).exit_code == 0
    assert heard["trainer"].store == url
    assert "s3cret" not in " ".join(heard["trainer arguments"] + heard["mentor arguments"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[trainr]\n", "trainr: only the tables"),
        ("trainer = 3\n", "trainer: only the tables"),
        ("[trainer\n", "both.toml"),
        (None, "both.toml cannot be read"),
    ],
)
def test_a_bad_file_is_one_line(
    invoke: Invoke, heard: Heard, tmp_path: Path, text: str | None, message: str
) -> None:
    config = tmp_path / "both.toml"
    if text is not None:
        config.write_text(text)
    result = invoke("serve", "all", "--config", str(config))
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
    assert heard == {}
