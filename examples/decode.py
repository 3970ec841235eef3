#!/usr/bin/env python3
"""The BSON documents of messages: a decoder made from docs/message-format.md alone. Python 3.10, nothing else.

    kafkacat -C -b localhost:9092 -t cdc.game_db.players -e | python3 examples/decode.py

reads one message's value a line, and prints the BSON of its document_key, full_document and update_desc in hexadecimal
digits, `-` for what the message has not. (Control messages have none of the three.)
"""
import base64, datetime, decimal, json, struct, sys


class Fields(list):
    """A JSON object as pairs, in their order."""


def text(value):
    return struct.pack("<i", len(value.encode()) + 1) + value.encode() + b"\0"


def document(pairs, types, at):
    body = b"".join(element(key, value, types, at + "/" + key.replace("~", "~0").replace("/", "~1")) for key, value in pairs)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def element(key, value, types, at):
    tag, data = typed(value, types.get(at), types, at)
    return bytes([tag]) + key.encode() + b"\0" + data


def typed(value, kind, types, at):
    """The number of the BSON type, and the value's bytes."""
    part = dict(value).get if isinstance(value, Fields) else None
    match kind, value:
        case None, None: return 0x0A, b""
        case None, bool(): return 0x08, bytes([value])
        case None, float(): return 0x01, struct.pack("<d", value)
        case None, int() if -2**31 <= value < 2**31: return 0x10, struct.pack("<i", value)
        case (None | "long"), int(): return 0x12, struct.pack("<q", value)
        case None, str(): return 0x02, text(value)
        case None, Fields(): return 0x03, document(value, types, at)
        case None, list(): return 0x04, document(((str(index), item) for index, item in enumerate(value)), types, at)
        case "double", "NaN" | "Infinity" | "-Infinity": return 0x01, struct.pack("<d", float(value))
        case "double", str(): return 0x01, int(value.removeprefix("NaN(0x").removesuffix(")"), 16).to_bytes(8, "little")
        case "decimal", "NaN": return 0x13, (0x7C << 120).to_bytes(16, "little")
        case "decimal", "Infinity" | "-Infinity": return 0x13, (value.startswith("-") << 127 | 0x78 << 120).to_bytes(16, "little")
        case "decimal", str():
            sign, digits, exponent = decimal.Decimal(value).as_tuple()
            return 0x13, (sign << 127 | exponent + 6176 << 113 | int("".join(map(str, digits)))).to_bytes(16, "little")
        case "objectId", str(): return 0x07, bytes.fromhex(value)
        case "date", int(): return 0x09, struct.pack("<q", value)
        case "date", str():
            since = datetime.datetime.fromisoformat(value.removesuffix("Z")) - datetime.datetime(1970, 1, 1)
            return 0x09, struct.pack("<q", since // datetime.timedelta(milliseconds=1))
        case "timestamp", Fields(): return 0x11, struct.pack("<II", part("i"), part("t"))
        case "regex", Fields(): return 0x0B, part("pattern").encode() + b"\0" + part("options").encode() + b"\0"
        case "dbPointer", Fields(): return 0x0C, text(part("ref")) + bytes.fromhex(part("id"))
        case "javascript", str(): return 0x0D, text(value)
        case "symbol", str(): return 0x0E, text(value)
        case "javascriptWithScope", Fields():
            data = text(part("code")) + document(part("scope"), types, at + "/scope")
            return 0x0F, struct.pack("<i", len(data) + 4) + data
        case "undefined", None: return 0x06, b""
        case "minKey", None: return 0xFF, b""
        case "maxKey", None: return 0x7F, b""
        case str(), str() if kind.startswith("binData:"):
            subtype = int(kind[len("binData:"):], 16)
            is_uuid = subtype == 4 and "-" in value
            data = bytes.fromhex(value.replace("-", "")) if is_uuid else base64.b64decode(value, validate=True)
            data = struct.pack("<i", len(data)) + data if subtype == 2 else data
            return 0x05, struct.pack("<iB", len(data), subtype) + data
    raise ValueError(f"{at} is not spelled as {kind}")


def update_description(update, types):
    """MongoDB's updateDescription, in the one form that a message has of it."""
    body = element("updatedFields", update["updated_fields"], types, "/update_desc/updated_fields")
    body += element("removedFields", update["removed_fields"], {}, "")
    if arrays := update.get("truncated_arrays"):
        arrays = [Fields([("field", dict(array)["field"]), ("newSize", dict(array)["new_size"])]) for array in arrays]
        body += element("truncatedArrays", arrays, {}, "")
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def decode(message):
    """The BSON of document_key, full_document and update_desc; None for what the message has not."""
    envelope = dict(json.loads(message, object_pairs_hook=Fields))
    if envelope["version"] > 1:
        raise ValueError(f"the message has version {envelope['version']}, and this reads version 1")
    types = {pointer: kind for kind, pointers in envelope.get("bson_types", []) for pointer in pointers}
    raw = {pointer: base64.b64decode(whole) for pointer, whole in envelope.get("raw_bson", [])}
    for member in ("document_key", "full_document", "update_desc"):
        if "/" + member in raw or envelope.get(member) is None:
            yield raw.get("/" + member)
        elif member == "update_desc":
            yield update_description(dict(envelope[member]), types)
        else:
            yield document(envelope[member], types, "/" + member)


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)  # documents are nested up to 255 deep
    for line in sys.stdin.buffer:
        print(*("-" if part is None else part.hex() for part in decode(line)))
