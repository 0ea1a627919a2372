"""Writes docs/reference/*.md from the settings, the spec and the protos: `make docs`.

The reference is made from the things it describes, so it cannot fall behind them; `make check`
makes it again and compares.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

from google.protobuf import descriptor_pb2
from pydantic.fields import FieldInfo

from mentor_service.settings import MentorSettings, Secrets
from mentorgrad.cli.support import auth_options
from mentorgrad.cli.support.options import (
    DEFAULT_MENTOR,
    DEFAULT_SERVER,
    MentorOption,
    ServerOption,
)
from mentorgrad.domain.spec import RunSpec
from mentorgrad.schema import FieldKind, all_dataclasses, field_bounds, field_types, snake_case
from mentorgrad.serialization import to_dict
from mentorgrad.wire.documented_codes import ANY, SPECIFIC
from service_common import token_commands
from service_common.authorization import SCOPES
from service_common.settings import ServiceSettings
from trainer_service.settings import TrainerSettings

ROOT = Path(__file__).parent.parent
HEAD = "<!-- Made by `make docs`; do not edit. -->\n\n"
SECRETS = (
    "By environment only: a flag can be read by everybody on the machine, and a file gets copied."
)
SERVE_ALL = (
    "Starts both services with the environments above. Its flags (`mentorgrad serve all --help`) "
    "are stronger; its `--config` holds the settings of each service in a table `[trainer]` and "
    "`[mentor]`, and is weaker. Threads of which nobody says anything are the machine's cores, "
    "divided between both. A store's URL with a password belongs into `MENTORGRAD_TRAINER_STORE`."
)


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells) + "\n"


def prose(text: str) -> str:
    """Python's documentation text as Markdown, on one line."""
    return " ".join(text.split()).replace("``", "`")


# -- settings ---------------------------------------------------------------------------------


def shown_default(field: FieldInfo) -> str:
    """A default as the reference shows it; one that depends on the machine by what it is."""
    if isinstance(field.default_factory, FunctionType):
        return prose((field.default_factory.__doc__ or "").split(":")[0].removesuffix("."))
    default = field.get_default(call_default_factory=True)
    return "" if default in (None, "", (), {}) else f"`{default}`"


def settings_section(title: str, cls: type[ServiceSettings]) -> str:
    """One service's settings."""
    prefix = cls.model_config.get("env_prefix", "")
    rows = []
    for name, field in cls.model_fields.items():
        flag = f"`--{name.replace('_', '-')}`"
        environment = f"`{(prefix + name).upper()}`"
        rows.append((flag, environment, shown_default(field), prose(field.description or "")))
    return f"## {title}\n\n" + table(("flag", "environment", "default", "meaning"), rows) + "\n"


def secrets_section(title: str, cls: type[ServiceSettings]) -> str:
    """What a service takes from the environment and from nowhere else."""
    prefix, docs = cls.model_config.get("env_prefix", ""), field_docs(cls)
    rows = [(f"`{(prefix + name).upper()}`", docs[name]) for name in cls.model_fields]
    return f"## {title}\n\n{SECRETS}\n\n" + table(("environment", "meaning"), rows) + "\n"


def client_section() -> str:
    """The environment of the commands that talk to a service."""
    rows = []
    for option, default in ((ServerOption, DEFAULT_SERVER), (MentorOption, DEFAULT_MENTOR)):
        (info,) = option.__metadata__
        rows.append((f"`{info.default}`", f"`{info.envvar}`", f"`{default}`", prose(info.help)))
    for _, option in auth_options.OPTIONS.values():
        (info,) = option.__metadata__
        rows.append((f"`{info.default}`", f"`{info.envvar}`", "", prose(info.help)))
    rows.append(("", "`MENTORGRAD_TOKEN`", "", "Our token, where no file is named."))
    (info,) = token_commands.FileOption.__metadata__
    given = (f"`{info.default}`", f"`{info.envvar}`", f"`{token_commands.DEFAULT_FILE}`")
    rows.append((*given, f"Of `mentorgrad tokens`: {prose(info.help)}"))
    return "## Client commands\n\n" + table(("flag", "environment", "default", "meaning"), rows)


def configuration() -> str:
    """The configuration reference."""
    return (
        HEAD
        + "# Configuration\n\n"
        + "A flag is stronger than the environment, which is stronger than a TOML file given with "
        + "`--config`, whose keys are the flags' names with underscores.\n\n"
        + settings_section("`mentorgrad serve trainer`", TrainerSettings)
        + settings_section("`mentorgrad serve mentor`", MentorSettings)
        + secrets_section("Secrets of `mentorgrad serve mentor`", Secrets)
        + f"## `mentorgrad serve all`\n\n{SERVE_ALL}\n\n"
        + client_section()
    )


# -- spec -------------------------------------------------------------------------------------


def field_docs(cls: type) -> dict[str, str]:
    """Field name → the docstring under it."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body  # type: ignore[attr-defined]
    docs, name = {}, ""
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            docs[name], name = prose(str(node.value.value)), ""
    return docs


def spec_rows(cls: type) -> Iterator[tuple[str, ...]]:
    """One row a field of a spec's dataclass."""
    defaults = to_dict(cls())
    docs, bounds = field_docs(cls), field_bounds(cls)
    for name, kind in field_types(cls).items():
        limit = bounds[name].range_text()
        if kind.kind is FieldKind.ENUM:
            limit = ", ".join(f"`{member.value}`" for member in kind.base)  # type: ignore[attr-defined]
        elif kind.kind is FieldKind.MESSAGE:
            limit = (
                f"see [{kind.base.__name__}](#{snake_case(kind.base.__name__).replace('_', '-')})"
            )
        elif kind.kind is FieldKind.UNION:
            limit = "one of " + ", ".join(f"`{snake_case(m.__name__)}`" for m in kind.members)
        default = defaults.get(name, "")
        shown = "" if isinstance(default, (dict, list)) or default == "" else f"`{default}`"
        yield f"`{name}`", shown, limit, docs[name]


def spec() -> str:
    """The run spec reference."""
    parts = [
        HEAD,
        "# The run spec\n\n",
        "Everything that shapes a run, as `mentorgrad run --spec FILE.toml` reads it and "
        "`RunSpec` in `run.proto` carries it. Durations are seconds.\n\n",
    ]
    for cls in all_dataclasses([RunSpec]):
        name = snake_case(cls.__name__).replace("_", "-")
        doc = prose(cls.__doc__ or "")
        parts.append(f"## {name}\n\n{doc}\n\n")
        parts.append(table(("field", "default", "allowed", "meaning"), list(spec_rows(cls))) + "\n")
    return "".join(parts)


# -- gRPC -------------------------------------------------------------------------------------


def comments(file: descriptor_pb2.FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """Path within the file → leading comment."""
    return {
        tuple(location.path): prose(location.leading_comments)
        for location in file.source_code_info.location
        if location.leading_comments
    }


_TYPES = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in descriptor_pb2.FieldDescriptorProto.Type.items()
}


def field_type(field: Any) -> str:
    """A field's type as it is written."""
    name = field.type_name.removeprefix(".mentorgrad.v1.").removeprefix(".")
    text = name or _TYPES[field.type]
    if field.label == field.LABEL_REPEATED:
        return "map<string, string>" if name.endswith("Entry") else f"repeated {text}"
    return f"optional {text}" if field.proto3_optional else text


def grpc_file(file: descriptor_pb2.FileDescriptorProto) -> str:
    """One proto file's services, messages and enums."""
    said = comments(file)
    parts = [f"## {file.name.removeprefix('mentorgrad/v1/')}\n\n"]
    for i, service in enumerate(file.service):
        parts.append(f"### service {service.name}\n\n{said[6, i]}\n\n")
        rows = []
        for j, method in enumerate(service.method):
            request, response = (
                ("stream " if streams else "") + f"`{name.rpartition('.')[2]}`"
                for streams, name in (
                    (method.client_streaming, method.input_type),
                    (method.server_streaming, method.output_type),
                )
            )
            path = f"/{file.package}.{service.name}/{method.name}"
            codes = ", ".join(f"`{code.name}`" for code in SPECIFIC[path])
            meaning = said[6, i, 2, j]
            name = f"`{method.name}`"
            rows.append((name, request, response, f"`{SCOPES[path]}`", codes, meaning))
        head = ("rpc", "request", "response", "scope", "its own errors", "meaning")
        parts.append(table(head, rows) + "\n")
    for i, message in enumerate(file.message_type):
        parts.append(f"### {message.name}\n\n{said[4, i]}\n\n")
        rows = [
            (str(f.number), f"`{f.name}`", f"`{field_type(f)}`", said.get((4, i, 2, j), ""))
            for j, f in enumerate(message.field)
        ]
        if rows:
            parts.append(table(("no.", "field", "type", "meaning"), rows) + "\n")
    for i, enum in enumerate(file.enum_type):
        parts.append(f"### enum {enum.name}\n\n{said[5, i]}\n\n")
        rows = [
            (str(value.number), f"`{value.name}`", said.get((5, i, 2, j), ""))
            for j, value in enumerate(enum.value)
        ]
        parts.append(table(("no.", "value", "meaning"), rows) + "\n")
    return "".join(parts)


def grpc() -> str:
    """The gRPC reference, through buf's image of the protos."""
    buf = Path(sys.executable).parent / "buf"
    image = subprocess.run(
        [buf, "build", "-o", "-#format=binpb"], cwd=ROOT / "protos", check=True, capture_output=True
    )
    files = descriptor_pb2.FileDescriptorSet.FromString(image.stdout).file
    own = sorted(
        (f for f in files if f.package == "mentorgrad.v1"), key=lambda f: (not f.service, f.name)
    )
    return (
        HEAD
        + "# gRPC reference\n\nPackage `mentorgrad.v1`. Health checking and reflection are on in "
        + "both services. Errors carry `google.rpc.ErrorInfo` (domain `mentorgrad`) and, for "
        + "INVALID_ARGUMENT, `google.rpc.BadRequest` with each field's full path. Where a service "
        + "takes tokens, a call needs one of the scope that its method is listed with, reflection "
        + "one of `read`, and health none.\n\n"
        + "Every method may answer "
        + ", ".join(f"`{code.name}`" for code in ANY)
        + "; beyond these only what stands beside it. `INTERNAL` and `UNKNOWN` are defects.\n\n"
        + "".join(grpc_file(file) for file in own)
    )


def main() -> None:
    """Writes the three pages."""
    folder = ROOT / "docs" / "reference"
    folder.mkdir(exist_ok=True)
    for name, text in (("configuration", configuration()), ("spec", spec()), ("grpc", grpc())):
        (folder / f"{name}.md").write_text(text.rstrip() + "\n")


if __name__ == "__main__":
    main()
