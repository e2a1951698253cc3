"""Validates input by the contract's schemas: as much of JSON Schema as occurs there, and no keyword unknown to it."""

import copy
import math
import re

ANNOTATIONS = {"title", "description", "examples", "says"}
KNOWN = ANNOTATIONS | {
    "type", "properties", "required", "additionalProperties", "propertyNames", "maxProperties", "items", "enum",
    "const", "pattern", "default", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum",
    "anyOf", "oneOf",
}  # fmt: skip
TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
    "null": type(None),
}  # fmt: skip
TRUE, FALSE = ("true", "1", "yes", "on", "y", "enabled"), ("false", "0", "no", "off", "n", "disabled")
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
ABSENT = object()
REFUSED = object()


def prepare(schema):
    """Makes a schema ready for use, once: its patterns are compiled, and a keyword that is not known is an error."""
    if not isinstance(schema, dict):
        return schema
    unknown = set(schema) - KNOWN
    if unknown or schema.get("type") not in (None, *TYPES):
        raise ValueError(f"the contract holds what this validator does not know: {sorted(unknown) or schema['type']}")
    ready = dict(schema)
    if "pattern" in schema:
        # A dollar is the end of the text, not of a line before it, and classes of characters are those of ASCII.
        ready["_pattern"] = re.compile(re.sub(r"(?<!\\)\$", r"\\Z", schema["pattern"]), re.ASCII)
    for name in ("additionalProperties", "propertyNames", "items"):
        if name in schema:
            ready[name] = prepare(schema[name])
    for name in ("anyOf", "oneOf"):
        if name in schema:
            ready[name] = [prepare(one) for one in schema[name]]
    if "properties" in schema:
        ready["properties"] = {name: prepare(one) for name, one in schema["properties"].items()}
    return ready


def parse(schema, value, where, coerce=False):
    """The value as the schema lets it pass, and a list of what is wrong. `coerce` reads text as numbers."""
    issues = []
    return _parse(schema, value, (where,), issues, coerce), issues


def _parse(schema, value, path, issues, coerce):
    if value is ABSENT and "default" in schema:
        return copy.copy(schema["default"])
    for name in ("anyOf", "oneOf"):
        if name in schema:
            return _parse_any(schema[name], value, path, issues, coerce)
    if "enum" in schema or "const" in schema:
        return _parse_option(schema.get("enum", [schema.get("const")]), value, path, issues)
    kind = schema.get("type")
    if coerce and isinstance(value, str) and kind in ("integer", "number", "boolean"):
        value = _boolean_of(value, path, issues) if kind == "boolean" else _number_of(value)
    if value is REFUSED:
        return None
    if kind is not None and not _is(kind, value):
        _refuse_type(schema, kind, value, path, issues)
    elif kind == "object":
        return _parse_object(schema, value, path, issues, coerce)
    elif kind == "array":
        _bound(schema, len(value), "array", path, issues)
        return [_parse(schema.get("items", {}), one, (*path, str(at)), issues, coerce) for at, one in enumerate(value)]
    elif kind == "string":
        _check_text(schema, value, path, issues)
    elif kind in ("integer", "number"):
        _check_number(schema, value, path, issues)
    return value


def _parse_any(schemas, value, path, issues, coerce):
    for one in schemas:
        found = []
        parsed = _parse(one, value, path, found, coerce)
        if not found:
            return parsed
    _add(issues, path, "Invalid input")
    return None


def _parse_option(options, value, path, issues):
    if not any(type(option) is type(value) and option == value for option in options):
        shown = "|".join(f'"{option}"' if isinstance(option, str) else str(option) for option in options)
        wrong = "Invalid option: expected one of" if len(options) > 1 else "Invalid input: expected"
        _add(issues, path, f"{wrong} {shown}")
    return value


def _parse_object(schema, value, path, issues, coerce):
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    required, parsed = schema.get("required", ()), {}
    for name, one in known.items():
        given = value.get(name, ABSENT)
        if given is not ABSENT or name in required or "default" in one:
            parsed[name] = _parse(one, given, (*path, name), issues, coerce)
    others = [name for name in value if name not in known]
    if rest is False and others:
        shown = ", ".join(f'"{name}"' for name in others)
        _add(issues, path, f"Unrecognized key{'s' if len(others) > 1 else ''}: {shown}", unknown=others)
    elif isinstance(rest, dict):
        for name in others:
            found = []
            _parse(schema.get("propertyNames", {}), name, path, found, False)
            if found:
                _add(issues, (*path, name), "Invalid key in record")
            parsed[name] = _parse(rest, value[name], (*path, name), issues, coerce)
        if len(others) > schema.get("maxProperties", math.inf):
            _say(schema, "maxProperties", f"holds at most {schema['maxProperties']} entries", path, issues)
    return parsed


def _check_text(schema, value, path, issues):
    _bound(schema, len(value), "string", path, issues)
    if "_pattern" in schema and not schema["_pattern"].search(value):
        _say(schema, "pattern", f"Invalid string: must match pattern /{schema['pattern']}/", path, issues)


def _bound(schema, size, kind, path, issues):
    unit, suffix = ("characters", "Length") if kind == "string" else ("items", "Items")
    least, most = (schema.get(f"{bound}{suffix}") for bound in ("min", "max"))
    if least is not None and size < least:
        _say(schema, f"min{suffix}", f"Too small: expected {kind} to have >={least} {unit}", path, issues)
    if most is not None and size > most:
        _say(schema, f"max{suffix}", f"Too big: expected {kind} to have <={most} {unit}", path, issues)


def _check_number(schema, value, path, issues):
    least, above, most = (schema.get(bound) for bound in ("minimum", "exclusiveMinimum", "maximum"))
    if least is not None and value < least:
        _say(schema, "minimum", f"Too small: expected number to be >={least}", path, issues)
    if above is not None and value <= above:
        _say(schema, "exclusiveMinimum", f"Too small: expected number to be >{above}", path, issues)
    if most is not None and value > most:
        _say(schema, "maximum", f"Too big: expected number to be <={most}", path, issues)


def _is(kind, value):
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, TYPES[kind])


def _refuse_type(schema, kind, value, path, issues):
    expected = kind
    if kind == "integer":
        expected = "int" if isinstance(value, float) and math.isfinite(value) else "number"
    if kind == "object" and "properties" not in schema and isinstance(schema.get("additionalProperties"), dict):
        expected = "record"
    _add(issues, path, f"Invalid input: expected {expected}, received {_kind_of(value)}")


def _kind_of(value):
    if value is ABSENT:
        return "undefined"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity"
    names = ((bool, "boolean"), (dict, "object"), (list, "array"), (str, "string"), ((int, float), "number"))
    return next((name for kind, name in names if isinstance(value, kind)), "null")


def _number_of(text):
    """A number as a query writes it; an empty text is 0, as it is wherever text becomes a number by itself."""
    if text.strip() == "":
        return 0
    number = float(text) if NUMBER.fullmatch(text) else math.nan
    return int(number) if math.isfinite(number) and number == int(number) else number


def _boolean_of(text, path, issues):
    word = text.lower()
    if word in TRUE or word in FALSE:
        return word in TRUE
    return _parse_option([*TRUE, *FALSE], text, path, issues) and REFUSED


def _say(schema, keyword, words, path, issues):
    _add(issues, path, schema.get("says", {}).get(keyword, words))


def _add(issues, path, problem, **more):
    issues.append({"field": ".".join(path), "problem": problem, **more})
