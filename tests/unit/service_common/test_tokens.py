from __future__ import annotations

import json
import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mentorgrad.errors import (
    InvalidInput,
    MentorgradError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from service_common import callers, tokens
from service_common.token_file import TokenFile
from service_common.tokens import Scope

NOW = datetime.now(UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def reason(file: TokenFile, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        file.authenticate(token)
    return caught.value.reason


def test_the_file_keeps_no_token_and_is_its_owners_alone(file: Path) -> None:
    record, token = tokens.create(file, "alice", [Scope.RUN])
    secret = token.split("_", 2)[2]
    assert len(secret) == 43
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert tokens.load(file) == (record,)
    assert tokens.find([record], token) == record


def test_a_token_must_be_right_in_every_letter(file: Path) -> None:
    record, token = tokens.create(file, "alice", [Scope.RUN])
    other = "A" if token[-1] != "A" else "B"
    for wrong in (token[:-1] + other, token[:-1], token + "A", record.token_id, "", token.upper()):
        with pytest.raises(Unauthenticated) as caught:
            tokens.find([record], wrong)
        assert caught.value.reason == "TOKEN_UNKNOWN"


def test_scopes_include_those_before_them() -> None:
    order = [Scope.PREDICT, Scope.READ, Scope.RUN, Scope.ADMIN]
    for i, has in enumerate(order):
        assert [has.includes(wanted) for wanted in order] == [j <= i for j in range(4)]
    # What a trainer service may is nothing that a person needs, and the reverse.
    assert [scope for scope in Scope if scope.includes(Scope.SERVICE)] == [Scope.SERVICE]
    assert [scope for scope in Scope if Scope.SERVICE.includes(scope)] == [Scope.SERVICE]


def test_a_missing_scope_is_named(file: Path) -> None:
    record, _ = tokens.create(file, "reader", [Scope.READ])
    record.require(Scope.READ, "GetRun")
    with pytest.raises(PermissionDenied, match="CreateRun needs the scope run") as caught:
        record.require(Scope.RUN, "CreateRun")
    assert caught.value.metadata == {"scope": "run"}


def test_a_token_ends_when_it_was_said_to(file: Path) -> None:
    record, _ = tokens.create(file, "guest", [Scope.READ], timedelta(days=1))
    record.check(NOW)
    with pytest.raises(Unauthenticated) as caught:
        record.check(NOW + timedelta(days=2))
    assert caught.value.reason == "TOKEN_EXPIRED"


def test_a_change_of_the_file_counts_at_once(file: Path) -> None:
    first, token = tokens.create(file, "first", [Scope.RUN])
    served = TokenFile(file)
    _, second = tokens.create(file, "second", [Scope.READ])
    assert served.authenticate(second).name == "second"
    revoked = tokens.revoke(file, first.token_id)
    assert tokens.revoke(file, first.token_id) == revoked
    assert reason(served, token) == "TOKEN_REVOKED"
    assert served.authenticate(second).name == "second"


def test_a_file_that_is_gone_takes_every_token_with_it(file: Path) -> None:
    _, token = tokens.create(file, "alice", [Scope.RUN])
    served = TokenFile(file)
    file.rename(file.with_name("away"))
    assert reason(served, token) == "TOKEN_UNKNOWN"
    file.with_name("away").rename(file)
    assert served.authenticate(token).name == "alice"


def test_a_file_that_makes_no_sense_changes_nothing(file: Path) -> None:
    _, token = tokens.create(file, "alice", [Scope.RUN])
    served = TokenFile(file)
    file.write_text('{"tokens": [')
    assert served.authenticate(token).name == "alice"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_changes_nothing_and_holds_up_nobody(file: Path, make: Any) -> None:
    _, token = tokens.create(file, "alice", [Scope.RUN])
    served = TokenFile(file)
    file.unlink()
    make(file)
    assert served.authenticate(token).name == "alice"


def test_a_revocation_that_could_not_be_read_at_first_counts_all_the_same(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, token = tokens.create(file, "alice", [Scope.RUN])
    served = TokenFile(file)
    tokens.revoke(file, record.token_id)

    def too_many_open_files(path: Path) -> bytes:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch, capture_logs() as logged:
        patch.setattr(Path, "read_bytes", too_many_open_files)
        assert served.authenticate(token).name == served.authenticate(token).name == "alice"
    assert [line["event"] for line in logged] == ["tokens_kept"]
    assert reason(served, token) == "TOKEN_REVOKED"


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"tokens": [{"id": "x"}]}', '{"tokens": 3}', "\0", "[" * 200_000]
)
def test_what_is_no_file_of_tokens_is_refused(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(InvalidInput, match="not a token file"):
        TokenFile(file)
    with pytest.raises(InvalidInput, match="not a token file"):
        tokens.create(file, "alice", [Scope.RUN])
    assert file.read_text() == content


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scopes": []}, r"tokens\[1\].scopes: must contain at least one scope"),
        ({"scopes": ["reed"]}, r"tokens\[1\].scopes\[0\]: must be one of: predict, .*'reed'"),
        ({"scopes": "read"}, r"tokens\[1\].scopes: must be a list"),
        ({"queue_limt": 3}, r"tokens\[1\].queue_limt: is not known here; known: .*queue_limit"),
        ({"queue_limit": "many"}, r"tokens\[1\].queue_limit: must be an integer"),
        ({"expires": "soon"}, r"tokens\[1\].expires: must be an ISO 8601 time"),
    ],
)
def test_what_is_wrong_with_an_entry_is_named_and_changes_nothing(
    file: Path, change: dict[str, object], said: str
) -> None:
    _, token = tokens.create(file, "alice", [Scope.RUN])
    tokens.create(file, "bob", [Scope.READ])
    served = TokenFile(file)
    document = json.loads(file.read_text())
    document["tokens"][1].update(change)
    file.write_text(json.dumps(document))
    with pytest.raises(InvalidInput, match=said):
        TokenFile(file)
    assert served.authenticate(token).name == "alice"


def test_a_token_has_one_entry(file: Path) -> None:
    record, token = tokens.create(file, "alice", [Scope.RUN])
    served = TokenFile(file)
    document = json.loads(file.read_text())
    document["tokens"] *= 2
    file.write_text(json.dumps(document))
    with pytest.raises(InvalidInput, match=rf"tokens\[1\].id: '{record.token_id}' has an entry"):
        tokens.revoke(file, record.token_id)
    assert served.authenticate(token).name == "alice"


def test_a_folder_that_cannot_be_written_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != file.parent)
    with pytest.raises(InvalidInput, match="no write permission in the folder"):
        tokens.create(file, "alice", [Scope.RUN])


def test_a_change_keeps_the_permissions_of_the_file(file: Path) -> None:
    record, _ = tokens.create(file, "alice", [Scope.RUN])
    file.chmod(0o640)  # a service in the group reads it
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
    before = file.stat()
    tokens.revoke(file, record.token_id)
    after = file.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )


def test_a_secret_may_go_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o640)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    tokens.write_private(pipe, b"secret")
    reader.join()
    assert read == [b"secret"]
    assert pipe.stat().st_mode & 0o777 == 0o640


def test_a_token_is_revoked_through_a_link_too(file: Path, tmp_path: Path) -> None:
    record, token = tokens.create(file, "alice", [Scope.RUN])
    served = TokenFile(file)
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "tokens.json"
    link.symlink_to(file)
    tokens.revoke(link, record.token_id)
    assert link.is_symlink()
    assert reason(served, token) == "TOKEN_REVOKED"


def test_a_field_beside_the_tokens_is_refused(file: Path) -> None:
    file.write_text('{"tokens": [], "token": []}')
    with pytest.raises(InvalidInput, match="token: is not known here; known: tokens"):
        tokens.load(file)


def test_two_tokens_of_an_owner_keep_the_limits_of_each(file: Path) -> None:
    _, many = tokens.create(file, "night", [Scope.RUN], owner="alice", queue_limit=500)
    _, few = tokens.create(file, "desk", [Scope.RUN], owner="alice", queue_limit=2)
    served = TokenFile(file)
    assert [served.authenticate(token).queue_limit for token in (many, few)] == [500, 2]


@pytest.mark.parametrize(
    ("attempt", "kind"),
    [
        (lambda file: tokens.load(file), InvalidInput),
        (lambda file: tokens.revoke(file, "00000000"), InvalidInput),
        (lambda file: tokens.create(file, " ", [Scope.RUN]), InvalidInput),
        (lambda file: tokens.create(file, "x" * 101, [Scope.RUN]), InvalidInput),
        (lambda file: tokens.create(file, "alice", []), InvalidInput),
        (lambda file: tokens.create(file / "none" / "x", "alice", [Scope.RUN]), InvalidInput),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_no_file(
    file: Path, attempt: object, kind: type[MentorgradError]
) -> None:
    assert callable(attempt)
    with pytest.raises(kind):
        attempt(file)
    assert not file.exists()


def test_an_unknown_id_cannot_be_revoked(file: Path) -> None:
    tokens.create(file, "alice", [Scope.RUN])
    with pytest.raises(NotFound, match="no token 12345678"):
        tokens.revoke(file, "12345678")


def test_two_who_change_the_file_at_once_both_do(file: Path) -> None:
    together = threading.Barrier(8)

    def make(name: str) -> None:
        together.wait()
        tokens.create(file, name, [Scope.READ])

    threads = [threading.Thread(target=make, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(record.name for record in tokens.load(file)) == [f"t{n}" for n in range(8)]


def test_an_owner_has_several_tokens_and_one_project_each(file: Path) -> None:
    mine, _ = tokens.create(file, "alice", [Scope.RUN], project="vision")
    desk, _ = tokens.create(file, "desk", [Scope.READ], owner="alice")
    assert (mine.owner, mine.project) == ("alice", "vision")
    assert (desk.owner, desk.project) == ("alice", "")
    assert tokens.load(file) == (mine, desk)


def test_a_token_has_limits_of_its_own(file: Path) -> None:
    limits: dict[str, Any] = {
        "queue_limit": 500,
        "session_limit": 3,
        "call_rate": 0.5,
        "run_limit": 90,
    }
    record, _ = tokens.create(file, "alice", [Scope.RUN], size_limit_mib=2, **limits)
    assert tokens.load(file) == (record,)
    assert (record.queue_limit, record.experiment_limit, record.session_limit) == (500, None, 3)
    assert (record.call_rate, record.run_limit) == (0.5, 90)
    assert callers.of_token(record).size_limit == 2 * 1024 * 1024


@pytest.mark.parametrize(
    ("names", "field"),
    [
        ({"project": "alice"}, "project"),
        ({"project": "carol"}, "project"),
        ({"owner": "vision"}, "owner"),
        ({"owner": "a\nb"}, "owner"),
        ({"owner": " "}, "owner"),
        ({"project": "x" * 101}, "project"),
    ],
)
def test_an_owner_and_a_project_have_different_names(
    file: Path, names: dict[str, str], field: str
) -> None:
    tokens.create(file, "alice", [Scope.RUN], project="vision")
    with pytest.raises(InvalidInput) as caught:
        tokens.create(file, "carol", [Scope.RUN], **names)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert len(tokens.load(file)) == 1


def test_a_file_without_owners_names_them_as_its_tokens(file: Path) -> None:
    record, _ = tokens.create(file, "alice", [Scope.RUN])
    document = json.loads(file.read_text())
    for name in ("owner", "project"):
        del document["tokens"][0][name]
    file.write_text(json.dumps(document))
    assert tokens.load(file) == (record,)
    assert record.owner == "alice"
