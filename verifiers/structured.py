"""A verifier of JSON text: valid under a schema, or not."""

import json
from typing import Annotated, Any, NoReturn, cast

from pydantic import AfterValidator, ConfigDict, Field, JsonValue

from search.plugins import plugin
from search.ports import Answer, Config, Score, Verifier
from verifiers.each import Unreadable, each, right, text, wrong
from verifiers.patience import patience


def outside(schema: JsonValue) -> list[str]:
    """The references of a schema that lead out of it."""
    if isinstance(schema, list):
        return [reference for part in schema for reference in outside(part)]
    if not isinstance(schema, dict):
        return []
    here = [x for key in ("$ref", "$dynamicRef") if isinstance(x := schema.get(key), str) and not x.startswith("#")]
    return here + outside(list(schema.values()))


def sound(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The schema. Raises ValueError when it is not a JSON schema, or refers to another document."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for

    try:
        if strangers := outside(schema):
            raise ValueError(
                f"reference {strangers[0][:100]!r} leads out of the schema; expected one with '#' in front"
            )
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"not a JSON schema: at {error.json_path}, {error.message:.200}") from error
    except RecursionError as error:
        raise ValueError("the schema is nested too deeply") from error
    return schema


class JsonSchema(Config):
    """JSON text that must be valid under a schema."""

    model_config = ConfigDict(serialize_by_alias=True)

    document: Annotated[dict[str, JsonValue], AfterValidator(sound)] = Field(
        alias="schema", description="A JSON schema, draft 2020-12 unless it says otherwise by $schema."
    )


class NotJson(ValueError):
    """What Python reads as JSON although it is none."""


def no_constant(name: str) -> NoReturn:
    """JSON knows neither NaN nor Infinity."""
    raise NotJson(f"{name} is not JSON")


def parsed(said: str) -> tuple[JsonValue, str]:
    """The value of a JSON text, and its one spelling: sorted keys, no spaces.

    Raises JSONDecodeError or NotJson when it is not JSON, and another ValueError when its numbers are too large.
    """
    value = json.loads(said, parse_constant=no_constant)
    return value, json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@plugin(version="1", place="process")
def json_schema(config: JsonSchema) -> Verifier:
    """The text is JSON and valid under the schema. Votes as its JSON with sorted keys."""
    from jsonschema import exceptions
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    # With an empty registry no reference is ever looked up on the network.
    validator: Any = validator_for(config.document, default=Draft202012Validator)(config.document, registry=Registry())
    best = cast("Any", exceptions).best_match

    def judge(answer: Answer) -> Score:
        said = text(answer.value)
        with patience():
            try:
                value, canonical = parsed(said)
            except Unreadable:
                raise
            except (json.JSONDecodeError, NotJson) as error:
                return wrong(f"not JSON: {error!s:.100}")
            except ValueError as error:  # an integer of more digits than Python reads, a number beyond a double
                raise Unreadable(f"a number cannot be read: {error!s:.100}") from error
            fault: Any = best(validator.iter_errors(value))
        return wrong(f"at {fault.json_path:.100}: fails {fault.validator!r}") if fault else right(canonical)

    def careful(answer: Answer) -> Score:
        try:
            return judge(answer)
        except Unreadable:
            raise
        except Exception as error:  # a schema can fail in many ways: a dangling or endless reference, an overflow
            raise Unreadable(f"the schema cannot be applied: {type(error).__name__}") from error

    return each(careful)
