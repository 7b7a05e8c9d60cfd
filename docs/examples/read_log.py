#!/usr/bin/env python3
"""Lists the events of a Fanfare log, a line of JSON for each, as `fanfare log dump` does.

Written from docs/log-format.md and nothing else. Usage: read_log.py DIRECTORY [--user NAME]
"""
import json, pathlib, struct, sys, zlib

U64 = (1 << 64) - 1
KINDS = {1: "event", 2: "answer", 3: "commit", 4: "hole"}
TARGETS = ["all", "one", "any", "every", "client"]


def rotate(word, bits):
    return (word << bits | word >> (64 - bits)) & U64


def siphash(secret, data):
    """SipHash-1-3 with 128 bits of output, as two words."""
    v = [secret[0] ^ 0x736F6D6570736575, secret[1] ^ 0x646F72616E646F6D ^ 0xEE,
         secret[0] ^ 0x6C7967656E657261, secret[1] ^ 0x7465646279746573]

    def rounds(count):
        for _ in range(count):
            v[0] = (v[0] + v[1]) & U64; v[1] = rotate(v[1], 13) ^ v[0]; v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[3]) & U64; v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & U64; v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & U64; v[1] = rotate(v[1], 17) ^ v[2]; v[2] = rotate(v[2], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word; rounds(1); v[0] ^= word
    v[2] ^= 0xEE; rounds(3); first = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD; rounds(3); return first, v[0] ^ v[1] ^ v[2] ^ v[3]


def read_manifest(directory):
    found = []
    for name in ["manifest-0", "manifest-1"]:
        path = directory / name
        data = path.read_bytes() if path.exists() else b""
        if len(data) < 100 or data[:8] != b"FANFMAN\n" or zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
            continue
        if data[8] != 1:
            sys.exit(f"{name} has format {data[8]}")
        generation, log_id, secret_0, secret_1, _, floor = struct.unpack_from("<6Q", data, 16)
        found.append((generation, log_id, (secret_0, secret_1), floor))
    return max(found)[1:] if found else sys.exit("no manifest")


def walk(data, salt, base):
    """Every record that can be read, and what is between them."""
    position, group, at, damaged = base, 0, 64, None
    while at + 40 <= len(data):
        crc, length, place, time, kind, target, _, keys, body, _ = struct.unpack_from("<IIQQBBHIII", data, at)
        whole = length == (40 + 16 * keys + body + 8) // 8 * 8 and length <= 4 << 20 and at + length <= len(data)
        if whole and zlib.crc32(data[at + 4 : at + length], salt) == crc and kind in KINDS:
            start = at + 40 + 16 * keys
            record = dict(at=at, end=at + length, kind=KINDS[kind], position=place, time=time, target=TARGETS[target],
                          keys=list(struct.iter_unpack("<QQ", data[at + 40 : start])), body=data[start : start + body])
            later = place > position if kind in (1, 4) else place >= position
            if record["kind"] == "commit":
                record["group"], record["bytes"] = struct.unpack("<QI", record["body"])
                later = later and record["group"] > group
            if later:
                if damaged:
                    yield dict(at=damaged, end=at, kind="damage")
                yield record
                position, group, damaged, at = place, record.get("group", group), None, at + length
                continue
        damaged, at = damaged or at, at + 8


def events(data, salt, base, newest):
    """Events of groups that were committed, and what can be read of damaged ones."""
    records = list(walk(data, salt, base))
    commits = sum(record["kind"] == "commit" for record in records)
    group, end = [], 64
    for record in records:
        group.append(record)
        if record["kind"] != "commit":
            continue
        commits -= 1
        began = max(record["at"] - record["bytes"], end)
        own = [one for one in group if one["end"] > began]
        whole = own[0]["at"] == began and all(one["kind"] != "damage" for one in own)
        if newest and commits == 0 and not whole:
            # Cannot be told from an interrupted write.
            group = group[: -len(own)]
        yield from (one for one in group if one["kind"] == "event")
        group, end = [], record["end"]


def shown(record):
    fields = [line.split(": ", 1) for line in record["body"].decode().split("\n") if line]
    data = "\n".join(value for name, value in fields if name == "data")
    try:
        data = json.loads(data, parse_constant=int)  # which refuses NaN and the like
    except ValueError:
        pass
    line = dict(position=record["position"], time=record["time"], data=data)
    line.update((name, int(value) if name == "retry" else value) for name, value in fields if name != "data")
    if "~" in line["id"]:
        line["ownId"] = line["id"].split("~", 1)[1]
    line["to"] = {"kind": record["target"]}
    if record["keys"]:
        line["to"]["keys"] = [f"{first:016x}{second:016x}" for first, second in record["keys"]]
    return json.dumps(line, ensure_ascii=False)


def main():
    directory = pathlib.Path(sys.argv[1])
    log_id, secret, floor = read_manifest(directory)
    wanted = None
    if sys.argv[2:3] == ["--user"]:
        name = sys.argv[3].encode()
        wanted = siphash(secret, b"\0" + struct.pack("<I", 0) + struct.pack("<I", len(name)) + name)
    segments = sorted(path for path in directory.glob("*.log") if len(path.name) == 24)
    for path in segments:
        base = int(path.stem)
        salt = ((log_id ^ rotate(base, 32)) * 0x9E3779B97F4A7C15 & U64) >> 32
        for event in events(path.read_bytes(), salt, base, path == segments[-1]):
            if event["position"] > floor and (wanted is None or wanted in event["keys"]):
                print(shown(event))


main()
