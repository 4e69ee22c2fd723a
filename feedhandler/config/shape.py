"""Whether what is written in the file has the shape of the model: its keys, their types, their ranges.

The parsed TOML is walked beside the model's types, and the walk goes on after a problem: what is unsound is left out
or, where something must stand, replaced by a blank. The result always fits the model. Pure: no I/O, no clock.
"""

from typing import Any, Final

from msgspec import inspect

from feedhandler.config import private
from feedhandler.config.model import (
    Config,
    Connection,
    Endpoint,
    Publish,
    Runtime,
    SecretSource,
    Subscriptions,
    SymbolFile,
)
from feedhandler.config.problems import Problems, join, listed, looks_secret, near, quote

NOT_YET: Final[dict[type, frozenset[str]]] = {
    Config: frozenset({"metrics"}),
}
"""Keys that belong to the configuration but are not in this version."""

_TABLES: Final[dict[type, str]] = {
    Config: "the top level",
    Runtime: "[runtime]",
    Connection: "[connection] or [endpoints.NAME.connection]",
    Publish: "[publish]",
    Endpoint: "[endpoints.NAME]",
    Subscriptions: "[[endpoints.NAME.subscriptions]]",
}
"""Where each Struct stands in the file."""

_NOT_AVAILABLE: Final = "is not available in this version"
_A_SECRET: Final = (
    "looks like a secret: none belongs in this file;"  # noqa: S105 - a text
    " the api_key and api_secret of a private endpoint say where they are read"
)
_NUMBER: Final = (inspect.IntType, inspect.FloatType)


def fit(written: dict[str, Any], problems: Problems) -> dict[str, Any]:
    """Return ``written`` without what does not fit `Config`, and note everything that does not."""
    fitted: dict[str, Any] = _value(inspect.type_info(Config), written, "", problems)
    return fitted


def merged(fitted: dict[str, Any]) -> dict[str, Any]:
    """Return the tables with ``[connection]`` behind each endpoint's own: whatever one does not say, the other does."""
    shared = fitted.get("connection", {})
    endpoints = {
        name: {**endpoint, "connection": {**shared, **endpoint.get("connection", {})}}
        for name, endpoint in fitted["endpoints"].items()
    }
    return {**fitted, "endpoints": endpoints}


def _value(node: inspect.Type, value: Any, key: str, problems: Problems) -> Any:
    """Return the value, or a blank of the same type with a problem noted at ``key``."""
    if _is_secret(node) and not isinstance(value, dict):
        problems.add_about_key(key, private.bare(key))
        return None
    why = (node.extra or {}).get("why", "") if isinstance(node, inspect.Metadata) else ""
    node = _bare(node)
    match _chosen(node, value), value:
        case inspect.StructType() as chosen, dict():
            return _struct(chosen, value, key, problems)
        case inspect.DictType(value_type=table), dict():
            return _tables(table, value, key, problems)
        case inspect.ListType(item_type=item), list():
            return [_value(item, one, f"{key}[{index}]", problems) for index, one in enumerate(value)]
        case inspect.LiteralType() as chosen, str():
            text = _choice(chosen, value)
        case (inspect.IntType() | inspect.FloatType()) as chosen, int() if not isinstance(value, bool):
            text = _range(chosen, value, why)
        case inspect.FloatType() as chosen, float():
            text = _range(chosen, value, why)
        case inspect.BoolType(), bool():
            text = ""
        case inspect.StrType(), str():
            # A URL may hold a password.
            shown = "" if key.endswith(".url") else f": {quote(value)}"
            text = f"holds a control character{shown}" if any(map(_is_control, value)) else ""
        case _:
            text = f"must be {_expected(node)}, not {_found(value)}{_remedy(node, value)}"
    if not text:
        return value
    problems.add(key, text)
    return _blank(node)


def _bare(node: inspect.Type) -> inspect.Type:
    """Return a type without what `Meta` says of it, but for its range, which stands in the type itself."""
    return node.type if isinstance(node, inspect.Metadata) else node


def _is_secret(node: inspect.Type) -> bool:
    return isinstance(node, inspect.UnionType) and any(
        isinstance(one, inspect.StructType) and one.cls is SecretSource for one in node.types
    )


def _chosen(node: inspect.Type, value: Any) -> inspect.Type:
    """Return the type of a union that the value is meant as: a table (``{ file = … }``) or the first named."""
    if not isinstance(node, inspect.UnionType):
        return node
    wanted = (inspect.StructType,) if isinstance(value, dict) else (inspect.ListType, inspect.LiteralType)
    return next((one for one in node.types if isinstance(one, wanted)), node)


def _struct(node: inspect.StructType, table: dict[str, Any], key: str, problems: Problems) -> dict[str, Any]:
    fields = {field.encode_name: field for field in node.fields}
    fitted = {}
    for name, field in fields.items():
        if field.required and name not in table:
            # A file without endpoints is told together with an empty [endpoints].
            if not isinstance(field.type, inspect.DictType):
                problems.add(join(key, name), f"is missing; it is {_expected(_bare(field.type))}")
            fitted[name] = _blank(_bare(field.type))
    for name, value in table.items():
        own = join(key, name)
        if name in fields:
            fitted[name] = _value(fields[name].type, value, own, problems)
            if not problems.sound(own) and not fields[name].required:
                del fitted[name]
        elif node.cls is SecretSource and not (name.isalpha() and name.islower()):
            # No misspelt key but perhaps the secret itself, in the wrong place: it is not shown.
            problems.add_about_key(key, f"holds a key that means nothing here; it has {listed(fields)}")
        else:
            problems.add_about_key(own, _not_a_key(node.cls, key, name))
    return fitted


def _tables(node: inspect.Type, tables: dict[str, Any], key: str, problems: Problems) -> dict[str, Any]:
    fitted = {}
    for name, value in tables.items():
        own = join(key, name)
        if isinstance(value, dict):
            fitted[name] = _value(node, value, own, problems)
        elif looks_secret(own):
            problems.add_about_key(own, _A_SECRET)
        else:
            homes = _homes(name)
            hint = f"; the place of {name} is {listed(homes)}" if homes else ""
            problems.add(own, f"must be a table, [{own}], not {_found(value)}{hint}")
    return fitted


def _choice(node: inspect.LiteralType, value: str) -> str:
    if value in node.values:
        return ""
    names = [str(name) for name in node.values]
    return f"{quote(value)} is not {_expected(node)}{near(value, names)}"


def _range(node: inspect.IntType | inspect.FloatType, value: float, why: str) -> str:
    # Written so that NaN, which compares false with everything, is outside.
    inside = (
        (node.gt is None or value > node.gt)
        and (node.ge is None or value >= node.ge)
        and (node.le is None or value <= node.le)
    )
    if inside:
        return ""
    words = (("above", node.gt), ("at least", node.ge), ("at most", node.le))
    limits = listed((f"{word} {limit:,.0f}" for word, limit in words if limit is not None), "and")
    # Hexadecimal numbers may have more digits than Python agrees to write in decimal.
    number = "a number of that size" if isinstance(value, int) and abs(value) >= 10**18 else f"{value}"
    return f"must be {limits}, not {number}{'; ' if why else ''}{why}"


def _not_a_key(struct: type, table: str, name: str) -> str:
    if name in NOT_YET.get(struct, ()):
        return _NOT_AVAILABLE
    if looks_secret(name):
        return _A_SECRET
    known = struct.__struct_fields__  # type: ignore[attr-defined] # a Struct's own
    where = f"there is no such key in [{table}]" if table else "there is no such key at the top level"
    if hint := near(name, known):
        return where + hint
    if homes := _homes(name):
        return f"{where}; its place is {listed(homes)}"
    return f"{where}, only {listed(known, 'and')}"


def _homes(name: str) -> list[str]:
    return [place for struct, place in _TABLES.items() if name in struct.__struct_fields__]  # type: ignore[attr-defined]  # a Struct's own


def _is_control(character: str) -> bool:
    return ord(character) < 32 or 127 <= ord(character) < 160


def _expected(node: inspect.Type) -> str:
    """Return what should stand there, in TOML's words."""
    match node:
        case inspect.UnionType(types=types):
            return listed(_expected(one) for one in types if not isinstance(one, inspect.NoneType))
        case inspect.ListType(item_type=inspect.StrType()):
            return "a list of strings"
        case inspect.ListType(item_type=inspect.StructType()):
            return "a list of tables"
        case inspect.ListType():
            return "a list of whole numbers"
        case inspect.LiteralType(values=values):
            return f"one of {listed(quote(str(name)) for name in values)}"
        case inspect.StructType(cls=struct) if struct is SymbolFile:
            return '{ file = "..." }'
        case inspect.StrType():
            return "a string"
        case inspect.IntType():
            return "a whole number"
        case inspect.FloatType():
            return "a number"
        case inspect.BoolType():
            return "true or false"
    return "a table"


def _found(value: Any) -> str:
    """Return what stands there, in TOML's words."""
    match value:
        case bool():
            return "true or false"
        case str():
            return "a string"
        case int():
            return "a whole number"
        case float():
            return "a number with a fraction"
        case list():
            return "a list"
        case dict():
            return "a table"
    return "a date or a time"


def _remedy(node: inspect.Type, value: Any) -> str:
    if isinstance(value, str) and isinstance(node, _NUMBER) and value.strip().replace(".", "", 1).isdecimal():
        return "; leave out the quotes"
    if value in ("true", "false") and isinstance(node, inspect.BoolType):
        return "; leave out the quotes"
    if isinstance(value, str) and _expected(node).startswith("a list of strings"):
        return f"; write [{quote(value)}]"
    return ""


def _blank(node: inspect.Type) -> Any:
    """Return something that fits, for where a value must stand and none does."""
    match node:
        case inspect.UnionType(types=types):
            return _blank(types[0])
        case inspect.ListType():
            return []
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.StrType():
            return ""
        case inspect.IntType() | inspect.FloatType():
            return 1
        case inspect.BoolType():
            return False
        case inspect.StructType(fields=fields):
            return {field.encode_name: _blank(_bare(field.type)) for field in fields if field.required}
    return {}
