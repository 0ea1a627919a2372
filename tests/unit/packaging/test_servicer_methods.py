"""A unary method of a servicer converts, calls and converts back; decisions lie behind it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from mentorgrad.v1 import (
    experiment_service_pb2,
    history_service_pb2,
    mentor_service_pb2,
    predict_service_pb2,
    trainer_service_pb2,
)
from tests.support.deployment import ROOT

MAX_STATEMENTS = 8

SERVICERS = {
    "trainer_service/control_plane/servicer.py": trainer_service_pb2,
    "trainer_service/experiments/servicer.py": experiment_service_pb2,
    "run_store/servicer.py": history_service_pb2,
    "mentor_service/servicer.py": mentor_service_pb2,
    "trainer_service/prediction/servicer.py": predict_service_pb2,
}


def unary_methods() -> Iterator[tuple[str, str]]:
    """File and name of each unary method."""
    for file, module in SERVICERS.items():
        (service,) = module.DESCRIPTOR.services_by_name.values()
        for method in service.methods:
            if not (method.client_streaming or method.server_streaming):
                yield file, method.name


@pytest.mark.parametrize(("file", "name"), list(unary_methods()))
def test_a_unary_method_is_short(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    (method,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncFunctionDef) and node.name == name
    )
    assert ast.get_docstring(method)
    statements = [node for node in ast.walk(method) if isinstance(node, ast.stmt)]
    assert len(statements) - 2 <= MAX_STATEMENTS, "without the method itself and its docstring"
