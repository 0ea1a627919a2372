"""The rows of a task as token ids around a soft prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from mentorgrad.domain.objective import CausalPrompt, PromptPosition
from mentorgrad.domain.spec import LongTexts
from mentorgrad.errors import InvalidInput, PreconditionFailed
from mentorgrad.model_refs import first_line
from trainer_service.encoding.line_tokens import LineTokens
from trainer_service.objectives.causal_prompt import PATH
from trainer_service.objectives.causal_prompt.checks import room_field
from trainer_service.objectives.causal_prompt.label_tree import LabelTree
from trainer_service.objectives.input_template import Template, TemplateError
from trainer_service.objectives.long_texts import TextRoom
from trainer_service.objectives.torch_free import MODEL_FILE
from trainer_service.tasks.data import Row, TaskData

_EMPTY = Row("", 0)

MOST_LABEL_TOKENS = 4096
"""Maximum tokens of all labels together: one pass over an input scores them all, and takes the
square of their number as memory."""


@dataclass(frozen=True)
class Inputs:
    """What stands around the soft prompt, as token ids."""

    template: Template
    """The template, with its opening."""
    is_after: bool
    """Whether the prompt stands behind the text."""
    opening: tuple[int, ...]
    """In front of all rows alike, for a prompt behind the text; empty if there is nothing."""
    start: tuple[int, ...]
    """The tokenizer's start token, behind the prompt, for a prompt in front of the text."""
    tail: tuple[int, ...]
    """Between the prompt and the label, for a prompt behind the text."""
    tree: LabelTree
    """The labels' tokens."""
    tokens: LineTokens
    """The model's tokens."""
    most: int
    """Maximum tokens of a row's own part: what opening, prompt, template and label leave."""
    path: str
    """Path of the objective's fields in the request."""

    def own_ids(self, row: Row) -> list[int]:
        """Token ids of a row's own part: in front of the prompt, or, for a prompt in front of the
        text, between the prompt and the label."""
        text = self.template.head(row) if self.is_after else self.template.tail(row)
        return [*self.start, *self.tokens.plain_ids(text)]

    def whole_ids(self, text: str) -> list[int]:
        """Token ids of a row's whole input in words, behind `opening` and without the label; a line
        break if there is nothing."""
        return [*self.start, *self.tokens.plain_ids(text)] or [self.tokens.filler_id]

    def require_label_tokens(self, known: Sequence[Sequence[int]]) -> None:
        """Checks that the labels' tokens are those of a run.

        Raises:
            PreconditionFailed: They are others by now (reason MODEL_CHANGED).
        """
        if [list(label) for label in self.tree.labels] != known:
            raise PreconditionFailed(
                f"the labels' tokens are others than those in {MODEL_FILE}: the tokenizer has "
                "changed",
                reason="MODEL_CHANGED",
            )

    def room(self, how: LongTexts) -> TextRoom:
        """The room for texts beside prompt and answer; `how` says what happens to longer ones."""
        tokens = self.tokens
        return TextRoom(
            how,
            self.most,
            size=lambda row: len(self.own_ids(row)),
            count=lambda text: len(tokens.plain_ids(text)),
            shorten=tokens.without_middle if how is LongTexts.HEAD_TAIL else tokens.shortened,
        )


def read_inputs(
    spec: CausalPrompt,
    task: TaskData,
    demonstrations: Sequence[Row],
    tokenizer: Any,
    tokens: LineTokens,
    context: int,
    path: str = PATH,
) -> Inputs:
    """Reads the template and the labels with a model's tokens.

    Args:
        spec: The objective.
        task: The rows.
        demonstrations: Rows that stand in front of every text.
        tokenizer: The model's tokenizer of transformers.
        tokens: Its tokens.
        context: Maximum tokens of an input.
        path: Path of the objective's fields in the request.

    Raises:
        InvalidInput: The template or the labels cannot be used with this model, or prompt and
            template do not fit it.
    """
    template = read_template(spec, task.is_paired, tokenizer, path)
    template = template.with_demonstrations(demonstrations, task.labels)
    return inputs_of(spec, template, task.labels, tokenizer, tokens, context, path)


def inputs_of(
    spec: CausalPrompt,
    template: Template,
    words: Sequence[str],
    tokenizer: Any,
    tokens: LineTokens,
    context: int,
    path: str = PATH,
) -> Inputs:
    """The template and the labels with a model's tokens; see `read_inputs`.

    Args:
        spec: The objective.
        template: The template, with its opening.
        words: The label words.
        tokenizer: The model's tokenizer of transformers.
        tokens: Its tokens.
        context: Maximum tokens of an input.
        path: Path of the objective's fields in the request.

    Raises:
        InvalidInput: See `read_inputs`.
    """
    start = [] if spec.chat_template else _start_ids(tokenizer)
    is_after = spec.position is PromptPosition.AFTER_TEXT
    if is_after:
        start += tokens.plain_ids(template.opening)
    tail = tokens.continued_ids("a", template.after) if is_after else []
    anchor = template.anchor.rpartition("\n")[2]
    labels = [tokens.continued_ids(anchor, template.label(word)) for word in words]
    tree = _tree(labels, tokens, words)
    limit = min(context, spec.max_length or context)
    taken = spec.n_tokens + len(tail) + max(tree.depths, default=0) + is_after * len(start)
    inputs = Inputs(
        template=template,
        is_after=is_after,
        opening=tuple(start) if is_after else (),
        start=() if is_after else tuple(start),
        tail=tuple(tail),
        tree=tree,
        tokens=tokens,
        most=limit - taken,
        path=path,
    )
    least = len(inputs.own_ids(_EMPTY)) + 1
    if inputs.most < least:
        raise InvalidInput.field(
            f"{path}.{room_field(spec)}",
            f"prompt, template and label leave {inputs.most} of {limit} tokens for a row; at least "
            f"{least} are needed",
            reason="PROMPT_TOO_LONG",
        )
    return inputs


def read_template(spec: CausalPrompt, paired: bool, tokenizer: Any, path: str = PATH) -> Template:
    """The template of an objective, in the tokenizer's chat template if it asks for that.

    Raises:
        InvalidInput: It cannot be used.
    """
    try:
        template = Template.parse(spec.template, spec.position, paired)
    except TemplateError as error:
        raise InvalidInput.field(f"{path}.template", str(error)) from None
    if not spec.chat_template:
        return template
    if not tokenizer.chat_template:
        raise InvalidInput.field(f"{path}.chat_template", "the model's tokenizer has none")

    def wrap(message: str) -> str:
        chat = [{"role": "user", "content": message}]
        try:
            made = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        except jinja2.TemplateError as error:  # it is broken, or wants another kind of chat
            raise TemplateError(f"cannot be rendered: {first_line(error)}") from error
        return str(made)

    try:
        return template.in_chat(wrap)
    except TemplateError as error:
        raise InvalidInput.field(f"{path}.chat_template", str(error)) from None


def _start_ids(tokenizer: Any) -> list[int]:
    """The token that the tokenizer puts in front of every input, if it does."""
    first, start = tokenizer("a")["input_ids"][:1], tokenizer.bos_token_id
    return list(first) if start is not None and first == [start] else []


def _tree(labels: list[list[int]], tokens: LineTokens, words: Sequence[str]) -> LabelTree:
    taken = sum(map(len, labels))
    if taken > MOST_LABEL_TOKENS:
        raise InvalidInput.field(
            "spec.task.labels",
            f"take {taken} tokens in all in this model's vocabulary; at most {MOST_LABEL_TOKENS} "
            "are allowed",
            reason="LABEL_TOKENS",
        )
    try:
        return LabelTree.of(labels, tokens.plain_ids("\n"))
    except ValueError as error:
        names = " and ".join(repr(words[index]) for index in error.args[0])
        what = "has no tokens" if len(error.args[0]) == 1 else "have the same tokens"
        raise InvalidInput.field(
            "spec.task.labels", f"{names} {what} in this model's vocabulary", reason="LABEL_TOKENS"
        ) from None
