"""What a JSON Schema looks like: the meta-schema of draft 2020-12 in one piece, without what refers to other documents."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_SCHEMA = {"$ref": "#"}
_SCHEMAS = {"type": "array", "minItems": 1, "items": _SCHEMA}
_NAMED = {"type": "object", "additionalProperties": _SCHEMA}
_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": "number"}
_TEXT = {"type": "string"}
_NAMES = {"type": "array", "items": _TEXT, "uniqueItems": True}
_FLAG = {"type": "boolean"}
_TYPE = {"enum": ["array", "boolean", "integer", "null", "number", "object", "string"]}

SHAPE: Mapping[str, Any] = MappingProxyType(
    {
        "type": ["object", "boolean"],
        "properties": {
            "$id": _TEXT,
            "$schema": _TEXT,
            "$ref": _TEXT,
            "$dynamicRef": _TEXT,
            "$recursiveRef": _TEXT,
            "$anchor": {"type": "string", "pattern": "^[A-Za-z_][-A-Za-z0-9._]*$"},
            "$dynamicAnchor": {"type": "string", "pattern": "^[A-Za-z_][-A-Za-z0-9._]*$"},
            "$comment": _TEXT,
            "$defs": _NAMED,
            "definitions": _NAMED,
            "title": _TEXT,
            "description": _TEXT,
            "deprecated": _FLAG,
            "readOnly": _FLAG,
            "writeOnly": _FLAG,
            "examples": {"type": "array"},
            "format": _TEXT,
            "contentEncoding": _TEXT,
            "contentMediaType": _TEXT,
            "contentSchema": _SCHEMA,
            "type": {"anyOf": [_TYPE, {"type": "array", "items": _TYPE, "minItems": 1, "uniqueItems": True}]},
            "enum": {"type": "array"},
            "multipleOf": {"type": "number", "exclusiveMinimum": 0},
            **dict.fromkeys(("maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum"), _NUMBER),
            **dict.fromkeys(("maxLength", "minLength", "maxItems", "minItems"), _COUNT),
            **dict.fromkeys(("maxContains", "minContains", "maxProperties", "minProperties"), _COUNT),
            "pattern": _TEXT,
            "uniqueItems": _FLAG,
            "required": _NAMES,
            "dependentRequired": {"type": "object", "additionalProperties": _NAMES},
            **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _SCHEMAS),
            **dict.fromkeys(("not", "if", "then", "else", "items", "contains", "propertyNames"), _SCHEMA),
            **dict.fromkeys(("additionalProperties", "unevaluatedItems", "unevaluatedProperties"), _SCHEMA),
            **dict.fromkeys(("properties", "patternProperties", "dependentSchemas"), _NAMED),
        },
    }
)
