"""The table of who may call what covers the protos, and nothing else."""

from __future__ import annotations

import importlib
import pkgutil

import mentorgrad.v1
from service_common.authorization import OPEN, SCOPES
from service_common.tokens import Scope

READING = ("Get", "List", "Stream", "Compare", "Export", "Download")


def methods() -> set[str]:
    """Every method of every service in the protos."""
    found = set()
    for module in pkgutil.iter_modules(mentorgrad.v1.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"mentorgrad.v1.{module.name}").DESCRIPTOR
            for service in file.services_by_name.values():
                found |= {f"/{service.full_name}/{method.name}" for method in service.methods}
    return found


def test_every_method_has_a_scope() -> None:
    assert methods() - set(SCOPES) == set()


def test_every_scope_is_of_a_method() -> None:
    others = {name for name in SCOPES if not name.startswith("/grpc.reflection.")} - methods()
    assert others == set()
    assert not any(name.startswith(OPEN) for name in SCOPES)


def test_what_only_looks_is_read_and_nothing_else_is() -> None:
    for name, scope in SCOPES.items():
        if name.startswith("/mentorgrad.") and scope not in (Scope.PREDICT, Scope.ADMIN):
            assert (scope is Scope.READ) == name.rpartition("/")[2].startswith(READING), name


def test_predicting_has_a_scope_of_its_own() -> None:
    predicting = {name for name, scope in SCOPES.items() if scope is Scope.PREDICT}
    assert predicting == {name for name in SCOPES if ".PredictService/" in name}


def test_what_destroys_and_the_audit_take_admin() -> None:
    for name, scope in SCOPES.items():
        assert (scope is Scope.ADMIN) == ("/Delete" in name or "Audit" in name), name
