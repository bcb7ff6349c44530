"""A strict reader of the text format of Prometheus, for pages that it must accept without a word.

Beyond the grammar it holds a page to: HELP and TYPE before the first sample of a family, families that are not interleaved, no
series twice, names in base units, counters that end in _total, and histograms whose buckets rise to +Inf and agree with _count.
"""

import math
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|\Z)')
NOT_BASE = re.compile(r"_(milliseconds|microseconds|nanoseconds|minutes|hours|kilobytes|megabytes|ms|kb|mb|percent)(_|\Z)")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


class Fault(Exception):
    pass


def labels_of(text):
    found, at = {}, 0
    while at < len(text or ""):
        match = LABEL.match(text, at)
        if not match or match.group(1) in found:
            raise Fault(f"labels {text}")
        found[match.group(1)] = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m.group(1), m.group(1)), match.group(2))
        at = match.end()
    return found


def check_histogram(family, samples):
    series = {}
    for name, labels, value in samples:
        rest = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
        series.setdefault(rest, {}).setdefault(name[len(family):], []).append((labels.get("le"), value))
    for rest, parts in series.items():
        if set(parts) != {"_bucket", "_sum", "_count"} or len(parts["_sum"]) != 1 or len(parts["_count"]) != 1:
            raise Fault(f"{family}{rest}: incomplete")
        bounds = [float(le) for le, _ in parts["_bucket"]]
        counts = [count for _, count in parts["_bucket"]]
        if bounds != sorted(set(bounds)) or bounds[-1] != math.inf:
            raise Fault(f"{family}{rest}: bounds {bounds}")
        if counts != sorted(counts) or counts[-1] != parts["_count"][0][1]:
            raise Fault(f"{family}{rest}: counts {counts}")


def check_family(family, kind, samples):
    if not samples:
        raise Fault(f"{family} has no series")
    if NOT_BASE.search(family):
        raise Fault(f"{family}: not a base unit")
    if (kind == "counter") != family.endswith("_total"):
        raise Fault(f"{family} is a {kind}")
    if family.endswith(("_bucket", "_count", "_sum")):
        raise Fault(f"{family}: the suffix is a histogram's")
    for name, _, value in samples:
        if kind in ("counter", "histogram") and not value >= 0:
            raise Fault(f"{name} is {value}")
    if kind == "histogram":
        check_histogram(family, samples)


def parse(page):
    """Returns {(name, (("label", "value"), ...)): value}; raises Fault."""
    if not page.endswith("\n"):
        raise Fault("the last line has no end")
    families, helped, current, found = {}, set(), None, {}
    for number, line in enumerate(page.split("\n")[:-1], 1):
        if line.startswith("# HELP "):
            name, _, text = line[7:].partition(" ")
            if not NAME.match(name) or not text or name in helped:
                raise Fault(f"line {number}: {line}")
            helped.add(name)
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            if name in families or name not in helped or kind not in ("counter", "gauge", "histogram", "summary"):
                raise Fault(f"line {number}: {line}")
            families[name] = (kind, [])
            current = name
        else:
            match = SAMPLE.match(line)
            if not match or current is None:
                raise Fault(f"line {number}: {line}")
            name, labels, value = match.group(1), labels_of(match.group(2)), float(match.group(3))
            kind, samples = families[current]
            if name not in [current + suffix for suffix in SUFFIXES.get(kind, ("",))]:
                raise Fault(f"line {number}: {name} stands under {current}")
            key = (name, tuple(sorted(labels.items())))
            if key in found:
                raise Fault(f"line {number}: {line} stands twice")
            found[key] = value
            samples.append((name, labels, value))
    for family, (kind, samples) in families.items():
        check_family(family, kind, samples)
    return found
