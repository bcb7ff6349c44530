"""Texts, settings and the reference for the tests of the tokenizer: the parity test, the golden file, the benchmark.

The reference is the `tokenizers` package; where it is not importable, main programs call with_tokenizers() first,
which installs it into a virtual environment of its own and starts them again there.
"""

import json
import os
import random
import struct
import subprocess
import sys
import venv

REFERENCE_VERSION = "0.23.3"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NONE, RIGHT, LEFT = 0, 1, 2


def with_tokenizers():
    try:
        import tokenizers  # noqa: F401
        return
    except ImportError:
        pass
    home = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "distild", "tokenizers-venv")
    python = os.path.join(home, "bin", "python")
    if os.path.realpath(sys.prefix) == os.path.realpath(home):
        sys.exit("the tokenizers package cannot be imported even from " + home)
    if not os.path.exists(python):
        venv.create(home, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "tokenizers==" + REFERENCE_VERSION], check=True)
    os.execv(python, [python] + sys.argv)


def shared(*parts):
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    root = os.environ.get("DISTILD_SHARED", os.path.join(os.path.dirname(source), "shared"))
    return os.path.join(root, *parts)


def read_vocabulary(path):
    with open(path, encoding="utf-8", newline="\n") as f:
        return [line.rstrip("\r\n") for line in f]


def added(content, **flags):
    token = {"content": content, "special": False, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "outside": False}
    token.update(flags)
    return token


class Setting:
    """A tokenizer's settings over a vocabulary."""

    def __init__(self, name, clean=True, chinese=True, lowercase=True, strip=None, extra=(), prefix="##", longest=100, tokens=None):
        self.name, self.clean, self.chinese, self.lowercase, self.strip = name, clean, chinese, lowercase, strip
        self.added = [added(t, special=True) for t in SPECIAL] + list(extra)
        self.prefix, self.longest, self.tokens = prefix, longest, tokens

    def flags(self):
        strip = self.lowercase if self.strip is None else self.strip
        return self.clean | self.chinese << 1 | self.lowercase << 2 | strip << 3

    def reference(self, vocabulary):
        from tokenizers import Tokenizer
        ids = {t: i for i, t in enumerate(vocabulary)}
        outside = {t["content"] for t in self.added if t["outside"]}
        template = lambda *names: [
            {"Sequence": {"id": n, "type_id": int(n == "B")}} if n in "AB"
            else {"SpecialToken": {"id": n, "type_id": int(i > 3)}} for i, n in enumerate(names)]
        return Tokenizer.from_str(json.dumps({
            "version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{k: v for k, v in dict(t, id=ids[t["content"]]).items() if k != "outside"}
                             for t in sorted(self.added, key=lambda t: ids[t["content"]])],
            "normalizer": {"type": "BertNormalizer", "clean_text": self.clean, "handle_chinese_chars": self.chinese,
                           "strip_accents": self.strip, "lowercase": self.lowercase},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {
                "type": "TemplateProcessing", "single": template("[CLS]", "A", "[SEP]"),
                "pair": template("[CLS]", "A", "[SEP]", "B", "[SEP]"),
                "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in ("[CLS]", "[SEP]")}},
            "decoder": None,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": self.prefix,
                      "max_input_chars_per_word": self.longest,
                      "vocab": {t: i for t, i in ids.items() if t not in outside}}}))

    def pack(self, vocabulary):
        """The specification as tokenize_driver reads it."""
        ids = {t: i for i, t in enumerate(vocabulary)}
        string = lambda s: struct.pack("=i", len(s.encode())) + s.encode()
        parts = [struct.pack("=7i", self.flags(), self.longest, *(ids[t] for t in
                             ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"))), string(self.prefix),
                 struct.pack("=i", len(vocabulary))]
        parts += [string(t) for t in vocabulary]
        parts.append(struct.pack("=i", len(self.added)))
        for t in self.added:
            flags = (t["single_word"] | t["lstrip"] << 1 | t["rstrip"] << 2 | t["normalized"] << 3
                     | t["special"] << 4 | t["outside"] << 5)
            parts.append(struct.pack("=2i", ids[t["content"]], flags) + string(t["content"]))
        return b"".join(parts)


def settings():
    """Every setting that the tests go through on the model's vocabulary."""
    return [
        Setting("uncased"),
        Setting("cased", lowercase=False),
        Setting("lowercase-accents", strip=False),
        Setting("cased-stripped", lowercase=False, strip=True),
        Setting("no-chinese", chinese=False),
        Setting("no-clean", clean=False),
        Setting("added", extra=[
            added("[unused1]", single_word=True), added("[unused2]", lstrip=True), added("[unused3]", rstrip=True),
            added("[unused4]", lstrip=True, rstrip=True, single_word=True), added("cat"), added("catalogue"),
            added("dog", normalized=True, single_word=True), added("cafe", normalized=True, lstrip=True),
            added("##ing", normalized=True), added("中", normalized=True)]),
        Setting("added-raw", extra=[added("the"), added("##s"), added("new", single_word=True), 
                                    added("[unused5]", rstrip=True), added("[unused6]", lstrip=True)]),
    ]


def small_settings():
    """Settings over small vocabularies of their own."""
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789.,-#éß中я\u0301\u302e\u0301\ufffd") + ["i\u0307", "xx", "the"]
    pieces = list(dict.fromkeys(letters)) + ["##" + c for c in dict.fromkeys(letters)]
    odd = ["  ", " cat", "\u3000x", "dög", "É", "CAFÉ", "_new_", "\u0301a"]
    return [
        Setting("small", longest=10, tokens=SPECIAL + pieces),
        Setting("no-prefix", prefix="", longest=7, lowercase=False, tokens=SPECIAL + list(dict.fromkeys(letters)) + ["ab", "bc"]),
        Setting("letter-prefix", prefix="x", longest=1000, tokens=SPECIAL + list(dict.fromkeys(letters)) + ["xa", "xb", "xé", "xxa"]),
        Setting("odd-added", clean=False, tokens=SPECIAL + pieces + odd + ["outer"], extra=[
            added("  ", rstrip=True), added(" cat", single_word=True), added("\u3000x", lstrip=True, rstrip=True),
            added("dög", normalized=True, single_word=True), added("É", lstrip=True), added("CAFÉ", normalized=True, rstrip=True),
            added("_new_", single_word=True), added("outer", single_word=True, outside=True), added("\u0301a", normalized=False)]),
        Setting("odd-added-cased", lowercase=False, tokens=SPECIAL + pieces + odd, extra=[
            added("dög", normalized=True, rstrip=True), added("É", normalized=True, lstrip=True), added(" cat", normalized=True)]),
    ]


def record(window, truncation, text, pair=None):
    parts = [struct.pack("=4i", window, truncation, pair is not None, len(text)), text]
    if pair is not None:
        parts += [struct.pack("=i", len(pair)), pair]
    return b"".join(parts)


def run_driver(driver, setting, vocabulary, records):
    """Encodes records (window, truncation, text, pair), texts being bytes: yields (status, full count, tokens), a token
    being (id, type, special, start, end)."""
    data = setting.pack(vocabulary) + b"".join(record(*r) for r in records)
    done = subprocess.run([driver], input=data, stdout=subprocess.PIPE, check=True)
    out, at = memoryview(done.stdout), 0
    for _ in records:
        status, full, count = struct.unpack_from("=3i", out, at)
        at += 12
        yield status, full, [token for token in struct.iter_unpack("=5i", out[at:at + 20 * count])]
        at += 20 * count
    if at != len(out):
        raise SystemExit("the driver answered %d bytes, expected %d" % (len(out), at))


def reference_encode(tokenizer, records):
    """What run_driver should give, without the full count."""
    result = [None] * len(records)
    groups = {}
    for i, (window, truncation, _, pair) in enumerate(records):
        groups.setdefault((window, truncation, pair is not None), []).append(i)
    for (window, truncation, paired), members in groups.items():
        tokenizer.no_truncation()
        if truncation != NONE:
            tokenizer.enable_truncation(window, strategy="longest_first",
                                        direction="left" if truncation == LEFT else "right")
        texts = []
        for i in members:
            text = records[i][2].decode("utf-8", "replace")
            texts.append((text, records[i][3].decode("utf-8", "replace")) if paired else text)
        for i, e in zip(members, tokenizer.encode_batch(texts)):
            result[i] = [(a, b, c, d[0], d[1]) for a, b, c, d in
                         zip(e.ids, e.type_ids, e.special_tokens_mask, e.offsets)]
    tokenizer.no_truncation()
    return result


# Letters of many scripts, first and last code point.
SCRIPTS = [(0xC0, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x587), (0x5D0, 0x5EA), (0x620, 0x6FF),
           (0x710, 0x74F), (0x900, 0x97F), (0x980, 0x9FF), (0xA00, 0xAFF), (0xB80, 0xBFF), (0xC00, 0xD7F),
           (0xD80, 0xDFF), (0xE01, 0xE5B), (0xE81, 0xEDF), (0xF00, 0xFD4), (0x1000, 0x109F), (0x10A0, 0x10FF),
           (0x1100, 0x11FF), (0x1200, 0x137F), (0x13A0, 0x13FD), (0x1700, 0x17FF), (0x1800, 0x18AA), (0x1A00, 0x1AFF),
           (0x1B00, 0x1BFF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2C00, 0x2DFF), (0x3041, 0x30FF), (0x3105, 0x318E),
           (0xA640, 0xA6FF), (0xA720, 0xA7FF), (0xA8E0, 0xA9DF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFDFF),
           (0xFE70, 0xFEFF), (0xFF00, 0xFFEF), (0x10400, 0x1044F), (0x10D00, 0x10FFF), (0x11000, 0x114FF),
           (0x16E40, 0x16E9F), (0x1D100, 0x1D1FF), (0x1D400, 0x1D7FF), (0x1E000, 0x1E2FF), (0x1E900, 0x1E95F)]
MARKS = [(0x300, 0x36F), (0x483, 0x489), (0x591, 0x5C7), (0x610, 0x61A), (0x64B, 0x65F), (0x8D3, 0x8FF),
         (0x93C, 0x94F), (0xF71, 0xF87), (0x1AB0, 0x1ACE), (0x1DC0, 0x1DFF), (0x20D0, 0x20F0), (0x302A, 0x3030),
         (0xA66F, 0xA67D), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F), (0x10F46, 0x10F50), (0x11230, 0x11240),
         (0x1D165, 0x1D172), (0x1E000, 0x1E02A), (0x1E130, 0x1E136), (0x1E944, 0x1E94A), (0xE0100, 0xE01EF)]
ODD = [0, 1, 7, 9, 10, 11, 12, 13, 0x1B, 0x1C, 0x1F, 0x7F, 0x80, 0x85, 0x9F, 0xA0, 0xAD, 0x345, 0x378, 0x600, 0x61C,
       0x890, 0x8E2, 0xFFFD, 0xFFFE, 0xFFFF, 0x1680, 0x180E, 0x2000, 0x2009, 0x200A, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F,
       0x2028, 0x2029, 0x202A, 0x202E, 0x202F, 0x205F, 0x2060, 0x2066, 0x2069, 0x3000, 0xE000, 0xF8FF, 0xFEFF, 0xFFF9,
       0x110BD, 0x110CD, 0x13430, 0x1BCA0, 0x1D173, 0xE0001, 0xE0020, 0xF0000, 0x10FFFF]
TRICKY = ["İstanbul", "ΌΔΟΣ ΣΊΣΥΦΟΣ", "ẞtraße", "ǅungla ǈ", "ﬁﬂ ﬃ", "K Å Ω", "각 갂 힣 \u1100\u1161\u11a8",
          "q\u0307\u0323", "\u1e0b\u0323", "\u0344\u0345", "\u0f73\u0f75\u0f81", "\U0001d15e\U0001d160 \U0001d1bb",
          "a\u302e\u0301\u0323b", "\u302e\u302f", "क्षि ড় ਲ਼ ଡ଼", "ெொோ കൊ", "\u1b06\u1b35", "שלום", "مَرْحَبًا", "สวัสดี",
          "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "1\ufe0f\u20e3", "\U0001f3fd",
          "\u2e2f\u3001\u300c\u300d", "¿qué? ¡sí!", "«l’été»", "10.000€ £5 ¥", "x²½", "①Ⓐ", "a\u00adb", "a\u200bb",
          "中文字符", "日本語テスト", "한국어", "漢\u0301字", "\uf900\ufa0e", "\U00020000\U0002a6d6\U0002b81d\U0002f800",
          "A\u030a", "\u212b", "e\u0301\u0000\u0323", "\u0301", " \u0301 ", "a\u0000b", "\ufffd", "a\ufffdb"]


class Texts:
    """Seeded texts of every kind that a tokenizer meets, as bytes."""

    def __init__(self, vocabulary, seed):
        self.random = random.Random(seed)
        self.words = [t for t in vocabulary if t.isascii() and t.isalpha()]
        self.pieces = [t for t in vocabulary if t]
        self.kinds = [(self.sentence, 8), (self.scripts, 6), (self.marks, 4), (self.tricky, 4), (self.odd, 4),
                      (self.emoji, 2), (self.special, 4), (self.code_points, 4), (self.malformed, 4),
                      (self.long_word, 1), (self.chinese, 2), (self.pieces_text, 3), (self.mixture, 6)]

    def pick(self, items):
        return items[self.random.randrange(len(items))]

    def case(self, word):
        return self.pick([word, word, word.capitalize(), word.upper(), word.swapcase()])

    def inside(self, ranges):
        first, last = self.pick(ranges)
        return chr(self.random.randint(first, last))

    def sentence(self):
        words = [self.case(self.pick(self.words)) for _ in range(self.random.randint(1, 25))]
        for i in range(len(words)):
            r = self.random.random()
            if r < 0.1:
                words[i] += self.pick([",", ".", "!", "?", "...", ";", "'s", " -- ", "n't", ")", "\"", ":", "/"])
            elif r < 0.15:
                words[i] += self.pick(self.words)
            elif r < 0.18:
                words[i] = str(self.random.randint(0, 10 ** self.random.randint(1, 9)))
        return self.pick([" ", " ", "  ", "\t", "\n"]).join(words)

    def scripts(self):
        words = []
        for _ in range(self.random.randint(1, 10)):
            script = self.pick(SCRIPTS)
            words.append("".join(self.inside([script]) for _ in range(self.random.randint(1, 8))))
        return " ".join(words)

    def marks(self):
        out = []
        for _ in range(self.random.randint(1, 12)):
            out.append(self.pick(["e", "Z", "é", "\u1e69", "क", "각", " ", "", "中", "\u0f73"]))
            for _ in range(self.random.choice([0, 1, 1, 2, 3, 6, 20])):
                out.append(self.inside(MARKS))
        return "".join(out)

    def tricky(self):
        return self.pick([" ", "", "-", "x"]).join(self.pick(TRICKY) for _ in range(self.random.randint(1, 5)))

    def odd(self):
        return "".join(self.pick([self.pick(self.words), chr(self.pick(ODD)), chr(self.pick(ODD)), " "])
                       for _ in range(self.random.randint(1, 12)))

    def emoji(self):
        return "".join(self.pick([chr(self.random.randint(0x1F300, 0x1FAFF)), chr(self.random.randint(0x2600, 0x27BF)),
                                  "\u200d", "\ufe0f", " ", self.pick(self.words)])
                       for _ in range(self.random.randint(1, 12)))

    def special(self):
        parts = SPECIAL + ["[sep]", "[UN", "K]", "[[SEP]]", "[unused1]", "[unused2]", "[unused3]", "[unused4]",
                           "[unused5]", "[unused6]", "cat", "catalogue", "Cat", "dog", "DOG", "dög", "café", "cafe\u0301",
                           "CAFE", "##ing", "##ING", "中", "the", "new", "new_", "##s", "é", "e\u0301", "_", "1", "dög", "É", "CAFÉ", "_new_", "outer", " cat", "   ", "\u3000x", "\u0301a"]
        return "".join(self.pick([self.pick(parts), self.pick(parts), self.pick(self.words), " ", "  ", "\u3000",
                                  "\t", "\u0301", "\u302e"]) for _ in range(self.random.randint(1, 14)))

    def code_points(self):
        out = []
        for _ in range(self.random.randint(1, 20)):
            cp = self.random.randrange(self.pick([0x80, 0x800, 0x3000, 0x10000, 0x20000, 0x110000]))
            out.append(chr(cp) if not 0xD800 <= cp < 0xE000 else " ")
        return "".join(out)

    def malformed(self):
        data = bytearray(self.mixture() if isinstance(self.mixture(), bytes) else self.scripts().encode())
        for _ in range(self.random.randint(1, 6)):
            at = self.random.randint(0, len(data))
            choice = self.random.random()
            if choice < 0.4:
                data[at:at] = self.pick([b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xf0\x9f\x98",
                                         b"\x80", b"\xff", b"\xfe", b"\xf5", b"\xc3", b"\xe0\x80", b"\xf0\x80", b"\xc1"])
            elif choice < 0.7:
                del data[at:at + 1]
            else:
                data[at:at + 1] = bytes([self.random.randrange(256)])
        return bytes(data)

    def long_word(self):
        n = self.random.choice([50, 98, 99, 100, 101, 102, 150, 400])
        letters = self.pick(["a", "ab", "é", "中", "\u0301a", "я", "x\u00ad", "각", "un"])
        word = (letters * n)[:n]
        return self.pick(["", "word "]) + word + self.pick(["", " word", "."])

    def chinese(self):
        return "".join(self.pick([chr(self.random.randint(0x4E00, 0x9FFF)), chr(self.random.randint(0x3400, 0x4DBF)),
                                  "。", "，", chr(self.random.randint(0x20000, 0x2FA1F)), "a", "ア"])
                       for _ in range(self.random.randint(1, 20)))

    def pieces_text(self):
        return "".join(self.pick([self.pick(self.pieces).replace("##", "", self.random.randrange(2)), " ", ""])
                       for _ in range(self.random.randint(1, 12)))

    def mixture(self):
        kinds = [self.sentence, self.scripts, self.marks, self.tricky, self.odd, self.special, self.code_points]
        return self.pick(["", " "]).join(self.pick(kinds)() for _ in range(2))

    def text(self):
        kind = self.random.choices([k for k, _ in self.kinds], [w for _, w in self.kinds])[0]
        text = kind()
        return text if isinstance(text, bytes) else text.encode()

    def record(self):
        """A text or pair, three in four without truncation."""
        text = self.text()
        r = self.random.random()
        if r < 0.75:
            return (1 << 20, NONE, text, None)
        window = self.random.choice([3, 4, 5, 7, 8, 12, 13, 20, 32])
        truncation = self.random.choice([RIGHT, LEFT])
        if r < 0.85:
            return (window, truncation, text, None)
        pair = self.text()
        if r < 0.92:
            return (1 << 20, NONE, text, pair)
        return (window, truncation, text, pair)
