"""Templates: read, divided and filled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.objective import PromptPosition
from trainer_service.objectives.input_template import (
    Template,
    TemplateError,
    default_template,
)
from trainer_service.tasks.data import Row

AFTER, BEFORE = PromptPosition.AFTER_TEXT, PromptPosition.BEFORE_TEXT
literal = st.text(st.sampled_from("ab :\n{}"), max_size=8)
anything = st.lists(
    st.sampled_from(["a", " ", "\n", "{", "}", "{text}", "{prompt}", "{label}"])
).map("".join)


@given(first=literal, second=literal, third=literal, text=anything, prompt=anything, word=anything)
def test_an_input_is_the_template_with_its_fields_filled(
    first: str, second: str, third: str, text: str, prompt: str, word: str
) -> None:
    """Also if a text looks like a field."""
    row = Row(text, 0)
    after = Template.parse(f"{first}{{text}}{second}{{prompt}}{third}{{label}}", AFTER, False)
    expected = f"{first}{text}{second}{prompt}{third}{word}"
    assert after.prompted(row, prompt) + after.label(word) == expected
    assert after.head(row) == f"{first}{text}{second}"
    assert after.tail(row) + after.lead == third
    assert not after.after.endswith(" ")
    before = Template.parse(f"{{prompt}}{second}{{text}}{third}{{label}}", BEFORE, False)
    assert before.head(row) == ""
    assert before.tail(row) + before.lead == f"{second}{text}{third}"
    assert before.prompted(row, prompt) + before.label(word) == (
        f"{prompt}{second}{text}{third}{word}"
    )
    for template in (after, before):
        position = AFTER if template is after else BEFORE
        assert Template.parse(template.text, position, False) == template


def test_pairs_have_both_texts() -> None:
    template = Template.parse("", AFTER, True)
    row = Row("it rains", 0, "the sun shines")
    assert template.prompted(row, "Is it so?") + template.label("no") == (
        "Text: it rains\nSecond text: the sun shines\nIs it so? no"
    )


@pytest.mark.parametrize("position", PromptPosition)
@pytest.mark.parametrize("paired", [False, True])
def test_an_empty_template_is_the_default(position: PromptPosition, paired: bool) -> None:
    default = default_template(position, paired)
    assert Template.parse("", position, paired) == Template.parse(default, position, paired)
    assert Template.parse("", position, paired).text == default
    assert Template.parse("", position, paired).lead == " "


@pytest.mark.parametrize(
    ("text", "position", "paired", "message"),
    [
        ("{text} {label}", AFTER, False, "must contain {prompt} exactly once"),
        ("{text}{prompt}{prompt}{label}", AFTER, False, "must contain {prompt} exactly once"),
        ("{text}{prompt}", AFTER, False, "must contain {label} exactly once"),
        ("{label}{text}{prompt}{label}", AFTER, False, "must contain {label} exactly once"),
        ("{text}{prompt}{label}.", AFTER, False, "must end with {label}"),
        ("Text{prompt}{label}", AFTER, False, "must contain {text}"),
        ("{text_pair}{prompt}{label}", AFTER, True, "must contain {text}"),
        ("{text}{prompt}{label}", AFTER, True, "must contain {text_pair}: the rows are pairs"),
        ("{text}{text_pair}{prompt}{label}", AFTER, False, "must not contain {text_pair}"),
        ("a{prompt}{text}{label}", BEFORE, False, "must begin with {prompt}"),
        ("{text}{prompt}{label}", BEFORE, False, "must begin with {prompt}"),
        ("{prompt}{text}{label}", AFTER, False, "must have {prompt} behind the texts"),
        ("{text}{prompt}{text}{label}", AFTER, False, "must have {prompt} behind the texts"),
    ],
)
def test_what_is_no_template_says_what_would_be(
    text: str, position: PromptPosition, paired: bool, message: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse(text, position, paired)
    assert str(caught.value).startswith(message)


# -- chats and demonstrations -----------------------------------------------------------------


def chat(message: str) -> str:
    return f"<system>\nBe brief.\n<user>\n{message}\n<assistant>\n"


def test_a_chat_begins_all_rows_alike_and_the_label_begins_the_reply() -> None:
    template = Template.parse("", AFTER, False).in_chat(chat)
    assert template.opening == "<system>\nBe brief.\n<user>\n"
    row = Row("it rains", 0)
    whole = template.opening + template.prompted(row, "Wet?") + template.label("yes")
    assert whole == chat("Text: it rains\nWet?") + "yes"
    assert template.opening + template.unprompted(row) == chat("Text: it rains\nAnswer:")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda message: message.upper(),
        lambda message: f"<user>{message.replace('{prompt}', '')}",
        lambda message: f"<user>{message}<again>{message}",
        lambda message: message.replace("{text}\n", "{text} "),
    ],
)
def test_a_chat_that_changes_the_message_is_refused(wrap: object) -> None:
    with pytest.raises(TemplateError, match="changed by the tokenizer's chat template"):
        Template.parse("", AFTER, False).in_chat(wrap)  # type: ignore[arg-type]


@pytest.mark.parametrize("position", PromptPosition)
def test_demonstrations_stand_with_their_labels_and_without_a_prompt(
    position: PromptPosition,
) -> None:
    rows = [Row("it rains", 1), Row("it shines", 0)]
    template = Template.parse("", position, False).with_demonstrations(rows, ("dry", "wet"))
    assert template.opening == ("Text: it rains\nAnswer: wet\n\nText: it shines\nAnswer: dry\n\n")
    bare = template.unprompted(rows[0]).removeprefix(template.opening)
    assert bare == "Text: it rains\nAnswer:"


@pytest.mark.parametrize(
    ("template", "bare"),
    [
        ("", "Text: 2 + 3\nAnswer:"),
        ("{text}\n{prompt} {label}", "2 + 3\nAnswer:"),
        ("{text}\n{prompt}\n = {label}", "2 + 3\n ="),
        ("{text} {prompt}\n = {label}", "2 + 3 \n ="),
        ("{text}\nSum: {prompt} {label}", "2 + 3\nSum: "),
    ],
)
def test_without_a_prompt_its_line_goes_or_has_the_usual_words(template: str, bare: str) -> None:
    """The line goes if the prompt has it alone; `Answer:` stands in front of a label otherwise."""
    made = Template.parse(template, AFTER, False)
    row = Row("2 + 3", 0)
    assert made.unprompted(row) == made.head(row) + made.continuation("") == bare


def test_demonstrations_stand_in_front_of_the_text_but_behind_a_prompt_before_it() -> None:
    row, shown = Row("it rains", 1), [Row("{text} shines", 0)]
    opening = "Text: {text} shines\nAnswer: dry\n\n"
    after, before = (
        Template.parse("", position, False).with_demonstrations(shown, ("dry", "wet"))
        for position in (AFTER, BEFORE)
    )
    assert after.prompted(row, "Wet?") == "Text: it rains\nWet?"
    assert after.text == f"{opening}Text: {{text}}\n{{prompt}} {{label}}"
    assert before.prompted(row, "Wet?") == f"Wet?\n{opening}Text: it rains\nAnswer:"
    assert before.unprompted(row) == f"{opening}Text: it rains\nAnswer:"
    assert before.text == f"{{prompt}}\n{opening}Text: {{text}}\nAnswer: {{label}}"
