"""One word for one thing: no two types of the product have the same name."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict

from tests.support.product_source import modules_with, product_texts

SAME_MEANING = {
    "MentorCallback": "the callback of one library's trainer each; both are public",
    "Text": "the column type of the tables; a migration states its own and imports no table",
    "Optimizer": "the spec's choice of an optimizer, and the protocol that the choice selects",
}
"""Names that two types may share, with the reason."""

_ALIAS = re.compile(r"[A-Z][a-z]\w*")


_DEFINED = re.compile(r"^(?:[ \t]*class[ \t]+(\w+)|([A-Z][a-z]\w*)[ \t]*=)", re.MULTILINE)


def _candidates() -> list[str]:
    """Names that the texts seem to define several times; to parse all modules takes seconds."""
    defined = Counter(
        plain or alias
        for text in product_texts().values()
        for plain, alias in _DEFINED.findall(text)
    )
    return [name for name, count in defined.items() if count > 1]


def _types(tree: ast.Module) -> list[str]:
    """Names of the classes and of the type aliases of a module."""
    found = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            # `Former = Present` is a second name for one type.
            if _ALIAS.fullmatch(name) and not isinstance(node.value, ast.Name):
                found.append(name)
    return found


def test_no_two_types_share_a_name_but_those_that_mean_the_same() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    names = "|".join(_candidates())
    for path, tree in modules_with(rf"(?m)^(?:[ \t]*class[ \t]+)?(?:{names})\b").items():
        for name in _types(tree):
            places[name].append(path)
    shared = {name: found for name, found in places.items() if len(found) > 1}
    assert {name: shared[name] for name in shared.keys() - SAME_MEANING.keys()} == {}
    assert SAME_MEANING.keys() <= shared.keys()  # no exception that nothing needs
