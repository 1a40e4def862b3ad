"""Sentences from pydantic's errors: the field, the value and the remedy, bounded and printable."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from config.validation_messages import (
    MAX_NAME_CHARS,
    MAX_PROBLEMS,
    MAX_VALUE_CHARS,
    field_path,
    messages,
    shown,
)


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    count: Annotated[int, Field(ge=1, le=9)]


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(pattern="^[a-z]+$")]
    parts: dict[str, Part] = {}
    numbers: list[int] = []


def problems(given: Any, **options: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(given)
    return messages(caught.value, Whole, **{"name": field_path, **options})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "name is missing"),
        ({"name": "A"}, "name='A': must match ^[a-z]+$"),
        ({"name": 7}, "name=7: must be a valid string"),
        ({"name": "a", "nime": 1}, "unknown field nime (did you mean name?)"),
        ({"name": "a", "colour": 1}, "unknown field colour"),
        ({"name": "a", "parts": {"p": {"count": 0}}}, "parts.p.count=0: must be at least 1"),
        ({"name": "a", "parts": {"p": {"count": 10}}}, "parts.p.count=10: must be at most 9"),
        (
            {"name": "a", "parts": {"p": {"count": 1, "cuont": 2}}},
            "unknown field parts.p.cuont (did you mean count?)",
        ),
        ({"name": "a", "numbers": [1, "x"]}, "numbers[1]='x': must be a valid integer"),
    ],
)
def test_each_problem_names_the_field_the_value_and_the_remedy(given: dict[str, Any], message: str) -> None:
    assert problems(given) == [message]


def test_many_problems_are_counted_and_not_all_listed() -> None:
    found = problems({"name": "a", "numbers": ["x"] * (MAX_PROBLEMS + 3)})

    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == "and 3 more"


def test_skipped_locations_are_left_out_and_hidden_values_not_shown() -> None:
    given = {"name": "SECRET", "numbers": ["x"]}

    found = problems(given, skip=lambda at: at[0] == "numbers", hide=lambda at: at[0] == "name")

    assert found == ["name: must match ^[a-z]+$"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 200, "='" + "x" * (MAX_VALUE_CHARS - 2) + "…"),
        ("redis://user:pw@host", ""),
        ("user:pw@host", ""),
        ("https://host/?signature=a", ""),
        (SecretStr("pw"), ""),
        ("a@b", "='a@b'"),
        ("*/5 ? * * *", "='*/5 ? * * *'"),
    ],
)
def test_a_value_is_cut_and_a_possible_secret_hidden(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_path_is_printable_and_its_parts_are_bounded() -> None:
    assert field_path(("a\nb", 0, "x" * 100)) == f"a?b[0].{'x' * MAX_NAME_CHARS}"
    assert field_path(("a b",), "limits") == 'limits."a b"'
