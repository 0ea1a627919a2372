"""The document of the page's API, walked route by route against a real page."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import jsonschema
import pytest
import pytest_asyncio

from mentorgrad.async_client import AsyncClient
from mentorgrad.domain.experiment import Arm, ExperimentSpec
from mentorgrad.domain.objective import Function
from mentorgrad.domain.spec import Budget, RunSpec, Task
from run_store.temporary_store import TemporaryRunStore
from tests.support.quick_runs import end_runs
from tests.support.served_page import served_page
from tests.support.served_runs import finished_run, served
from ui_service.route_meanings import DESCRIBED

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXPERIMENT = ExperimentSpec(
    base=RunSpec(Function("rastrigin", 2), budget=Budget(gradient_steps=400)),
    tasks=(Task("toy"),),
    arms=(Arm("a"), Arm("b")),
    seeds=(1, 2),
)
Ids = dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def walked() -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, Any], Ids]]:
    """A browser, the document, and ids of records that there are."""
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(contextlib.closing(TemporaryRunStore()))
        _, address = await stack.enter_async_context(served(store))
        client = await stack.enter_async_context(AsyncClient(address))
        experiment = (await client.create_experiment(EXPERIMENT)).experiment
        end_runs(store, lambda run: 0.5)
        ids = {"run_id": finished_run(store), "experiment_id": experiment.experiment_id}
        page = await stack.enter_async_context(served_page(address))
        browser = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"{page}/api/v1", timeout=60, trust_env=False)
        )
        response = await browser.get("/openapi.json")
        assert response.headers["content-type"] == "application/json"
        yield browser, response.json(), ids


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def check(document: dict[str, Any], schema: Any, found: Any) -> None:
    """Checks an answer: all its fields are in the schema."""
    closed = {
        name: {**one, "additionalProperties": False} if "properties" in one else one
        for name, one in document["components"]["schemas"].items()
    }
    wanted = {**schema, "components": {"schemas": closed}}
    if "properties" in schema:
        wanted["additionalProperties"] = False
    jsonschema.Draft202012Validator(wanted).validate(found)


def query_of(operation: dict[str, Any], ids: Ids) -> dict[str, Any]:
    """The parameters that must be given."""
    known = {"run": ids["run_id"], "label": "arm"}
    return {
        one["name"]: known[one["name"]]
        for one in operation["parameters"]
        if one["in"] == "query" and one.get("required")
    }


async def test_every_route_is_described_and_answers_what_the_document_says(walked: Any) -> None:
    browser, document, ids = walked
    known = {(method, path) for method, path, _ in operations(document)}
    assert known == DESCRIBED.keys(), "describe new routes in ui_service/route_meanings.py"
    names = [operation["operationId"] for *_, operation in operations(document)]
    assert len(set(names)) == len(names)
    for method, path, operation in operations(document):
        parts = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert parts == set(re.findall(r"{(\w+)}", path))
        ok = operation["responses"].get("200", {}).get("content", {})
        if method != "GET" or "application/json" not in ok:
            continue
        response = await browser.get(path.format(**ids), params=query_of(operation, ids))
        assert response.status_code == 200, (path, response.text)
        check(document, ok["application/json"]["schema"], response.json())


async def test_parameters_are_those_of_the_document_with_its_limits(walked: Any) -> None:
    browser, document, ids = walked
    for method, path, operation in operations(document):
        if method != "GET" or path == "/stream":
            continue
        url, needed = path.format(**ids), query_of(operation, ids)
        given = {
            one["name"]: one["schema"] for one in operation["parameters"] if one["in"] == "query"
        }
        if given:
            said = (await browser.get(url, params=needed | {"nobody_knows": "1"})).json()["error"]
            assert said["field"] == "nobody_knows"
            assert set(said["message"].partition("known: ")[2].split(", ")) == given.keys()
        for name, schema in given.items():
            one = schema.get("items", schema)
            for value in one.get("enum", ()):
                assert (await browser.get(url, params=needed | {name: value})).status_code == 200
            if "maximum" in one:
                for value, status in ((one["maximum"], 200), (one["maximum"] + 1, 400)):
                    response = await browser.get(url, params=needed | {name: value})
                    assert response.status_code == status, (path, name, response.text)


async def test_errors_are_those_of_the_document(walked: Any) -> None:
    browser, document, _ = walked
    schema = {"$ref": "#/components/schemas/Error"}
    for url, status in (
        ("/runs/unknown", 404),
        ("/runs?state=odd", 400),
        ("/compare", 400),
        ("/stream", 400),
        ("/nothing", 404),
    ):
        response = await browser.get(url)
        assert response.status_code == status
        check(document, schema, response.json())
    refused = await browser.post("/openapi.json")
    assert refused.status_code == 405
    small = await browser.get("/openapi.json", headers={"accept-encoding": "identity"})
    assert (small.json(), "content-encoding" in small.headers) == (document, False)
