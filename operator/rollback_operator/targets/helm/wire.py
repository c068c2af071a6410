"""Secrets as Kubernetes' clients send them: JSON, or the protobuf that typed Go clients prefer.

Only what Helm writes of a Secret is read from protobuf: name, labels, annotations, data, type. The numbers of fields
are those of generated.proto in k8s.io/api/core/v1 and k8s.io/apimachinery, which never change.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_RAW = 2  # of runtime.Unknown
_METADATA, _DATA, _TYPE = 1, 2, 3  # of Secret
_NAME, _NAMESPACE, _UID, _VERSION, _LABELS, _ANNOTATIONS = 1, 3, 5, 6, 11, 12  # of ObjectMeta
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10

Object = dict[str, Any]
Field = tuple[int, bytes]


class WireError(Exception):
    """A body is nothing that a Secret is sent as."""


def secret_in(body: bytes, content_type: str) -> Object:
    """The Secret in the body of a request.

    Raises:
        WireError: there is none.
    """
    if content_type == JSON:
        try:
            secret = json.loads(body)
        except ValueError:
            raise WireError("it is not JSON") from None
        if not isinstance(secret, dict) or not isinstance(secret.get("metadata"), dict):
            raise WireError("it is no object")
        return secret
    if content_type != PROTOBUF or not body.startswith(_MAGIC):
        raise WireError(f"it is sent as {content_type}")
    raw = [value for number, value in _fields(body[len(_MAGIC) :]) if number == _RAW]
    if len(raw) != 1:
        raise WireError("it is no object")
    return _secret(raw[0])


def _secret(raw: bytes) -> Object:
    secret: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": {}}
    for number, value in _fields(raw):
        if number == _METADATA:
            secret["metadata"] = _metadata(value)
        elif number == _DATA:
            name, data = _entry(value)
            secret["data"][_text(name)] = base64.b64encode(data).decode()
        elif number == _TYPE:
            secret["type"] = _text(value)
        elif value:
            raise WireError(f"field {number} of the Secret is not expected")
    return secret


def _metadata(raw: bytes) -> Object:
    plain = {_NAME: "name", _NAMESPACE: "namespace", _UID: "uid", _VERSION: "resourceVersion"}
    maps = {_LABELS: "labels", _ANNOTATIONS: "annotations"}
    metadata: Object = {}
    for number, value in _fields(raw):
        if number in plain and value:
            metadata[plain[number]] = _text(value)
        elif number in maps:
            name, text = _entry(value)
            metadata.setdefault(maps[number], {})[_text(name)] = _text(text)
    return metadata


def _entry(raw: bytes) -> tuple[bytes, bytes]:
    """One entry of a map: its key and its value."""
    found = dict(_fields(raw))
    return found.get(1, b""), found.get(2, b"")


def _fields(raw: bytes) -> Iterator[Field]:
    """The fields of a message with their numbers; numbers as values are left empty."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, kind = tag >> 3, tag & 7
        if kind == _BYTES:
            length, at = _varint(raw, at)
            if at + length > len(raw):
                raise WireError("it is cut off")
            yield number, raw[at : at + length]
            at += length
        elif kind == _VARINT:
            _, at = _varint(raw, at)
            yield number, b""
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
            yield number, b""
        else:
            raise WireError("it is no protobuf")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(_LONGEST_VARINT):
        if at >= len(raw):
            raise WireError("it is cut off")
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << (7 * shift)
        if not byte & 0x80:
            return value, at
    raise WireError("it is no protobuf")


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise WireError("a text in it is none") from None
