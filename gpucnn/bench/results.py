"""Files of results: reading JSON lines with errors that name the line, and what identifies a measurement."""

import json
import math

# Fields that say what was measured; the others say how it went, where and when.
IDENTITY = (
    *("bench", "layers", "layer", "shape", "model", "image", "batch", "size", "bytes", "direction", "dtype"),
    "layout",  # of a network; channels_first where there is none
)


def read(paths):
    """Every record of the files, in order; a ValueError that names file and line where one is malformed."""
    records = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            try:
                lines = file.read().splitlines()
            except UnicodeDecodeError as error:
                raise ValueError(f"results: {path} is text in UTF-8, but {error}") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                records.append(_record(line, f"{path}, line {number}"))
    if not records:
        raise ValueError(f"results: there are records, but {', '.join(map(str, paths))} has none")
    return records


def _record(line, where):
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"results: every line is a JSON object, but {where} is not ({error})") from None
    if not isinstance(record, dict) or not isinstance(record.get("bench"), str):
        raise ValueError(f'results: a record is an object with a name "bench", but {where} is not')
    for name in ("median_ms", "quartiles_ms"):
        times = record.get(name, {})
        if not isinstance(times, dict):
            raise ValueError(f"results: {name} is an object of times, but {where} has {times!r}")
        for value in times.values():
            several = value if isinstance(value, list) else [value]
            if not several or not all(_positive(ms) for ms in several):
                raise ValueError(f"results: times are positive numbers, but {where} has {value!r} in {name}")
    return record


def _positive(ms):
    return isinstance(ms, (int, float)) and not isinstance(ms, bool) and 0 < ms < math.inf


def key(record):
    """What was measured, as a hashable value: two records with one key are the same measurement made twice."""
    return tuple((name, json.dumps(record[name])) for name in IDENTITY if name in record)


def latest(records):
    """The last record of each measurement on each device with each number of threads, in the order of the first."""
    return list({(key(r), r.get("device"), r.get("threads")): r for r in records}.values())


def title(record):
    """What was measured, in words."""
    named = [record.get(name) for name in ("layer", "model")]
    if record.get("size"):
        named.append("x".join(map(str, record["size"])))
    if record["bench"] == "copy":
        named.append(f"{record['bytes']} bytes")
    if "batch" in record:
        named.append(f"batch {record['batch']}")
    return " ".join(
        str(part) for part in (record["bench"], *named, *map(record.get, ("direction", "dtype", "layout"))) if part
    )
