"""JSON Schemas and an AsyncAPI 3 document of the native uplink, made of the very classes that parse it (contract.md 5)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, cast

import msgspec

from protocols.uplink.commands import ARGS, EXPIRING, MONEY, TARGETS, Command
from protocols.uplink.messages import (
    Ack,
    AnchorMessage,
    BalanceMessage,
    EventMessage,
    ReadingMessage,
    Resend,
    ResultMessage,
    Status,
)
from protocols.uplink.topics import NATIVE, Down, Up

VERSION = "1.1.0"
"""Of the documents: the first number is that of the topics, the second rises with what is added."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"
JWS = "^[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+$"

Schema = dict[str, object]


@dataclass(frozen=True, slots=True)
class Channel:
    """A class of messages as a document shows it. subject: what the last level of its topic is. signed: as a compact JWS."""

    name: str
    form: type[msgspec.Struct]
    action: Literal["send", "receive"]
    summary: str
    subject: str | None = None
    signed: bool = False
    retained: bool = False


CHANNELS = (
    Channel("status", Status, "send", "Whether the gateway is there; also its will", retained=True),
    Channel(Up.READING, ReadingMessage, "send", "One reading of a meter", "meter"),
    Channel(Up.EVENT, EventMessage, "send", "What happened, past tense; of a meter, or of the gateway itself", "meter"),
    Channel(Up.BALANCE, BalanceMessage, "send", "Balance and credit state of an account after a change", "account"),
    Channel(Up.ANCHOR, AnchorMessage, "send", "Signed heads of the audit log and the ledger"),
    Channel(Up.RESULT, ResultMessage, "send", "A state of a command, the last one final", "command"),
    Channel(Down.COMMAND, Command, "receive", "An order to the gateway", signed=True),
    Channel(Down.ACK, Ack, "receive", "These numbers are safe at the centre", signed=True),
    Channel(Down.RESEND, Resend, "receive", "The centre misses these numbers", signed=True),
)
"""Every class of messages, as the gateway sees it."""

_SUBJECTS = {
    "gateway": "The gateway's id.",
    "meter": "The meter's id; `gateway` for events that have no meter.",
    "account": "A pseudonym of the account.",
    "command": "The command's id.",
}


def documents(version: str) -> dict[str, str]:
    """Every document as a text by its file's name. version: of the protocol's documents."""
    named: dict[str, Schema] = {f"{channel.name}.schema.json": schema_of(channel) for channel in CHANNELS}
    named["asyncapi.json"] = asyncapi(version)
    return {name: json.dumps(content, indent=1, ensure_ascii=False) + "\n" for name, content in named.items()}


def schema_of(channel: Channel) -> Schema:
    """The JSON Schema of one class; of a signed one, of the payload within."""
    (own,), parts = _components(channel, "#/$defs/{name}")
    name = str(own["$ref"]).rpartition("/")[2]
    head: Schema = {"$schema": DIALECT, "$id": f"urn:wattgate:v1:{channel.name}"}
    return head | parts.pop(name) | {"title": channel.summary} | ({"$defs": parts} if parts else {})


def asyncapi(version: str) -> Schema:
    """An AsyncAPI 3.0 document of all classes, from the gateway's point of view."""
    schemas: dict[str, Schema] = {}
    for channel in CHANNELS:
        schemas |= _components(channel, "#/components/schemas/{name}")[1]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "wattgate uplink",
            "version": version,
            "description": "MQTT 5 (and 3.1.1) between a gateway and its central system; payloads are UTF-8 JSON of at most "
            "256 KiB, what comes down is a compact JWS (EdDSA) over such a payload.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": dict(_operation(channel) for channel in CHANNELS),
        "components": {
            "messages": {channel.name: _message(channel) for channel in CHANNELS},
            "schemas": {name: _as_draft_07(schemas[name]) for name in sorted(schemas)},
        },
    }


def address(channel: Channel) -> str:
    """The topic with its parameters in braces."""
    direction = {"send": "up/", "receive": "down/"}[channel.action] if channel.name != "status" else ""
    subject = f"/{{{channel.subject}}}" if channel.subject else ""
    return f"{NATIVE.root}/{{gateway}}/{direction}{channel.name}{subject}"


def _components(channel: Channel, template: str) -> tuple[tuple[Schema, ...], dict[str, Schema]]:
    forms = [channel.form, *dict.fromkeys(ARGS.values())] if channel.form is Command else [channel.form]
    roots, parts = msgspec.json.schema_components(forms, schema_hook=_anything, ref_template=template)
    schemas = {name: cast(Schema, _portable(part)) for name, part in parts.items()}
    if channel.form is Command:
        command = schemas["Command"]
        command |= {"properties": cast(Schema, command["properties"]) | {"verb": {"enum": list(ARGS)}}, **_by_verb(template)}
    return roots[:1], schemas


def _anything(kind: type) -> Schema:
    """Any JSON value that we read: no number but integers."""
    if kind is object:
        return {"type": ["null", "boolean", "integer", "string", "array", "object"]}
    raise NotImplementedError(kind)


def _by_verb(template: str) -> Schema:
    """What a verb needs of its arguments, its target and its expiry."""
    present: Schema = {"type": "string"}
    rules: list[Schema] = []
    for verb, args in ARGS.items():
        properties: Schema = {"args": {"$ref": template.format(name=args.__name__)}}
        required = ["args"] if _needed(args) else []
        if verb in EXPIRING:
            properties["expires_at"] = present
            required.append("expires_at")
        elif verb in MONEY:
            properties["expires_at"] = {"type": "null"}
        needs: Schema = {"properties": properties} | ({"required": required} if required else {})
        targets = [{"required": [target], "properties": {target: present}} for target in sorted(TARGETS[verb])]
        if targets:
            needs["oneOf"] = targets
        else:
            needs["properties"] = properties | {"meter": {"type": "null"}, "account": {"type": "null"}}
        rules.append({"if": {"properties": {"verb": {"const": verb}}}, "then": needs})
    return {"allOf": rules}


def _needed(args: type[msgspec.Struct]) -> bool:
    return any(field.required for field in msgspec.structs.fields(args))


def _portable(schema: object, key: str = "") -> object:
    """Patterns as every validator reads them, where Python's end of text is `$`; descriptions without the lines of our code."""
    if isinstance(schema, dict):
        return {name: _portable(value, str(name)) for name, value in schema.items()}
    if isinstance(schema, list):
        return [_portable(each) for each in schema]
    if not isinstance(schema, str):
        return schema
    return {"pattern": schema.replace("\\Z", "$"), "description": " ".join(schema.split())}.get(key, schema)


def _as_draft_07(schema: object) -> object:
    """The one word that AsyncAPI's own dialect spells otherwise."""
    if isinstance(schema, list):
        return [_as_draft_07(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _as_draft_07(value) for key, value in schema.items()}
    if "prefixItems" in changed:
        changed |= {"items": changed.pop("prefixItems"), "additionalItems": False}
    return changed


def _channel(channel: Channel) -> Schema:
    names = ("gateway", *filter(None, [channel.subject]))
    return {
        "address": address(channel),
        "title": channel.summary,
        "parameters": {name: {"description": _SUBJECTS[name]} for name in names},
        "messages": {channel.name: {"$ref": f"#/components/messages/{channel.name}"}},
    }


def _operation(channel: Channel) -> tuple[str, Schema]:
    path = f"#/channels/{channel.name}"
    return f"{channel.action}_{channel.name}", {
        "action": channel.action,
        "summary": channel.summary,
        "channel": {"$ref": path},
        "messages": [{"$ref": f"{path}/messages/{channel.name}"}],
        "bindings": {"mqtt": {"qos": 1, "retain": channel.retained, "bindingVersion": "0.2.0"}},
    }


def _message(channel: Channel) -> Schema:
    form = f"#/components/schemas/{channel.form.__name__}"
    shown: Schema = {"name": channel.name, "title": channel.summary, "contentType": "application/json", "payload": {"$ref": form}}
    if channel.signed:
        told = f"A compact JWS; what it signs has the form {form}. Plain JSON of that form only where signatures are switched off."
        shown |= {"contentType": "application/jose", "description": told, "payload": {"type": "string", "pattern": JWS}}
    return shown
