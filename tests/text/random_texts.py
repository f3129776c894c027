"""Random texts that are hard on tokenizers: all scripts, emoji, marks, white space, digits, controls, look-alikes."""
import random

SCRIPTS = [(0x61, 0x7A), (0x41, 0x5A), (0x20, 0x7E), (0xA1, 0xFF), (0x100, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x530, 0x58F),
           (0x590, 0x5FF), (0x600, 0x6FF), (0x700, 0x74F), (0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF), (0xE00, 0xE7F), (0xF00, 0xFFF),
           (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F), (0x13A0, 0x13FF), (0x1780, 0x17FF), (0x1E00, 0x1EFF),
           (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x209F), (0x20A0, 0x20CF), (0x2100, 0x218F), (0x2190, 0x23FF), (0x2460, 0x24FF),
           (0x2500, 0x27BF), (0x2C60, 0x2C7F), (0x2E80, 0x2FDF), (0x3000, 0x303F), (0x3040, 0x30FF), (0x3130, 0x318F), (0x3200, 0x33FF),
           (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xA4CF), (0xA640, 0xA69F), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0xF900, 0xFAFF),
           (0xFB00, 0xFB4F), (0xFE00, 0xFE0F), (0xFE50, 0xFE6F), (0xFF00, 0xFFEF), (0x10000, 0x100FF), (0x10330, 0x1034F),
           (0x1D100, 0x1D1FF), (0x1D400, 0x1D7FF), (0x1E900, 0x1E95F), (0x1F100, 0x1F1FF), (0x1F300, 0x1F6FF), (0x1F900, 0x1F9FF),
           (0x20000, 0x2A6DF), (0x2F800, 0x2FA1F), (0xE0100, 0xE01EF), (0x100000, 0x10FFFD)]
MARKS = [*range(0x300, 0x370), 0x483, 0x591, 0x5BF, 0x64B, 0x651, 0x654, 0x93C, 0x93E, 0x94D, 0x9BE, 0xBBE, 0xE38, 0xE48, 0x1037, 0x1039,
         0x135D, 0x17D2, 0x1DC4, 0x20D0, 0x20DD, 0x302A, 0x3099, 0x309A, 0xA66F, 0xFE20, 0x1D165, 0x1D16D,
         0x898, 0x8CA, 0x1ABF, 0x1DF6, 0x10F46, 0x11938, 0x1E130]
SPACES = " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff\u180e"
DIGITS = "0123456789" * 3 + "\u0663\u0967\u0e53\u06f4\u07c1\u00b2\u00b3\u00b9\u00bd\u2153\u2167\u2460\u3007\u4e09\uff15\U0001d7d8\U0001f101"
EMOJI = ["\U0001f600", "\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea",
         "1\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e007f", "\u263a", "\U0001f9d1\u200d\U0001f4bb", "\u200d", "\ufe0f"]
WORDS = ["the", "Hello", "world", "I'm", "we'LL", "don't", "'s", "'S", "it\u2019s", "'\u017f", "x'd", "CamelCaseWord", "snake_case", "naive",
         "na\u00efve", "caf\u00e9", "cafe\u0301", "\u00c5ngstr\u00f6m", "stra\u00dfe", "\u0130stanbul", "\u1e9e", "Mr.", "e.g.", "3.14", "1,000", "0x1F",
         "http://a.b/c?d=e&f", "foo(bar);", "if (x) {", "return;", "\\n", "<b>", "</b>", "&amp;", "#include", "a==b", "-->", "...", "!!!", "\u3002",
         "\u4f60\u597d", "\u65e5\u672c\u8a9e", "\ud55c\uad6d\uc5b4", "\u041f\u0440\u0438\u0432\u0435\u0442", "\u0645\u0631\u062d\u0628\u0627",
         "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\u05e9\u05dc\u05d5\u05dd", "\ufb01ne", "\u2026", "\u2581",
         "\u2581the", "\u0120the", "\u010a", "<0x41>", "<0xE2>", "\u212b", "\u2126", "\u1100\u1161\u11a8", "\u0958", "a\u0323\u0307", "a\u0307\u0323"]


class Texts:
    """An endless stream; `tokens` are texts that are special to the tokenizer at hand."""

    def __init__(self, seed, tokens=()):
        self.random = random.Random(seed)
        self.tokens = list(tokens)

    def from_script(self, low, high):
        return "".join(chr(self.random.randint(low, high)) for _ in range(self.random.randint(1, 6)))

    def look_alike(self):
        if not self.tokens:
            return "<s>"
        r, token = self.random, self.random.choice(self.tokens)
        kind = r.randrange(12)
        if kind == 0:
            return token[: r.randint(0, len(token))]
        if kind == 1:
            return token[r.randint(0, len(token)):]
        if kind == 2:
            return token * r.randint(2, 3)
        if kind == 3:
            return token.upper() if r.random() < 0.5 else token.lower()
        if kind == 4:
            return r.choice(SPACES) * r.randint(1, 3) + token + r.choice(SPACES) * r.randint(1, 3)
        if kind == 5:
            return token + r.choice(["a", "_", "9", "-", "\u00e9", "\u0301", "\u2581", "."])
        if kind == 6:
            return r.choice(["a", "_", "9", "-", "\u00e9", "\u2581", "."]) + token
        return token

    def piece(self):
        r = self.random
        kind = r.randrange(100)
        if kind < 30:
            return r.choice(WORDS)
        if kind < 50:
            return self.from_script(*r.choice(SCRIPTS))
        if kind < 60:
            return r.choice([" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\n ", " " * r.randint(4, 40)])
        if kind < 66:
            return "".join(r.choice(SPACES) for _ in range(r.randint(1, 5)))
        if kind < 74:
            return "".join(r.choice(DIGITS) for _ in range(r.randint(1, 9)))
        if kind < 79:
            return r.choice(EMOJI) * r.randint(1, 2)
        if kind < 84:
            return r.choice("aeo\u00e9\u4e2d\u0915 ") + "".join(chr(r.choice(MARKS)) for _ in range(r.randint(1, 4)))
        if kind < 88:
            return "".join(r.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\u00a1\u00bf\u2013\u2014\u201c\u201d\u3001\uff01") for _ in range(r.randint(1, 6)))
        if kind < 90:
            return chr(r.choice([*range(0, 0x20), 0x7F, *range(0x80, 0xA0), 0xAD, 0x200E, 0x202E, 0xFFFD, 0xFFFF]))
        if kind < 92:
            code = r.randint(0x80, 0x10FFFF)
            return chr(code) if not 0xD800 <= code < 0xE000 else "?"
        if kind < 93:
            return r.choice("aA0 \n.\u4e2d\u0301") * r.randint(5, 60)
        return self.look_alike()

    def text(self):
        r = self.random
        out = []
        for _ in range(1 + min(int(r.expovariate(0.25)), 40)):
            out.append(self.piece())
            if r.random() < 0.4:
                out.append(" ")
        return "".join(out)

    def take(self, count):
        return [self.text() for _ in range(count)]
