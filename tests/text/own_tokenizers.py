"""Small tokenizers trained on a few sentences of our own, one for each step (or pair of steps) that a tokenizer.json may
name and that core/text knows."""
import json

CORPUS = ["Text to token ids and back, exactly as the model's own tokenizer does it; it's what we've done, isn't it?",
          "The quick brown fox jumps over the lazy dog 1234567890 times, then 42 more; 3.14 is not 22/7.",
          "Na\u00efve caf\u00e9s in \u00c5ngstr\u00f6m Stra\u00dfe serve cr\u00e8me br\u00fbl\u00e9e to \u0141\u00f3d\u017a and \u0130stanbul.",
          "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u4f60\u597d\uff0c\u4e16\u754c\u3002 \u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 \ud55c\uad6d\uc5b4 \u0645\u0631\u062d\u0628\u0627 \u0928\u092e\u0938\u094d\u0924\u0947",
          "def f(x):\n    return x  # comment\n\n\tif (a == b) { c(); } else { d[0] = \"e\"; }\r\n",
          "Words and words   with   many    spaces, the words of the model, the tokens of the text.",
          "\ufb01ne \u2026 \u212b \u00bd \u00b2 \uff21\uff22\uff23 \u2167 \u1100\u1161\u11a8 e\u0301 a\u0323\u0307"] * 3
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def added(tokenizers):
    """One token of each combination that changes how it is found."""
    make = tokenizers.AddedToken
    tokens = [make("<|plain|>", normalized=False, special=True), make("<|norm|>", normalized=True, special=True),
              make("<L>", lstrip=True, normalized=False, special=True), make("<R>", rstrip=True, normalized=False, special=True),
              make("<LR>", lstrip=True, rstrip=True, normalized=True, special=True), make("word", single_word=True, normalized=False),
              make("words", single_word=True, normalized=True), make("Caf\u00c9", normalized=True), make("  ", normalized=False),
              make("\n\n\n", normalized=False), make("<|pla", normalized=False), make("<|norm|><|x", normalized=True),
              make("\u212b", normalized=True), make(" the", normalized=True)]
    return tokens


def trained(tokenizers, model, trainer, normalizer=None, pre_tokenizer=None, with_added=True, tweak=None):
    t = tokenizers.Tokenizer(model)
    if normalizer is not None:
        t.normalizer = normalizer
    if pre_tokenizer is not None:
        t.pre_tokenizer = pre_tokenizer
    t.train_from_iterator(CORPUS, trainer)
    if with_added:
        for token in added(tokenizers):
            (t.add_special_tokens if token.special else t.add_tokens)([token])
    source = json.loads(t.to_str())
    if tweak:
        tweak(source)
    return json.dumps(source)


def byte_level(tk):
    """(name, source) of byte-level BPE files."""
    n, p = tk.normalizers, tk.pre_tokenizers

    def make(name, normalizer=None, pre=None, tweak=None, alphabet=True, model=None, with_added=True):
        trainer = tk.trainers.BpeTrainer(vocab_size=600, show_progress=False,
                                         initial_alphabet=p.ByteLevel.alphabet() if alphabet else [], special_tokens=["<unk>"])
        return name, trained(tk, model or tk.models.BPE(), trainer, normalizer, pre or p.ByteLevel(add_prefix_space=False), with_added, tweak)

    yield make("bytes")
    yield make("bytes, prefix space", pre=p.ByteLevel(add_prefix_space=True))
    yield make("bytes, no added tokens", with_added=False)
    yield make("bytes, NFC", n.NFC())
    yield make("bytes, NFKC and lower case", n.Sequence([n.NFKC(), n.Lowercase()]))
    yield make("bytes, NFD and strip", n.Sequence([n.NFD(), n.Strip()]))
    yield make("bytes, replace", n.Replace("a", "bb"))
    yield make("bytes, llama 3 expression", pre=p.Sequence([p.Split(tk.Regex(LLAMA3), "isolated"), p.ByteLevel(False, use_regex=False)]))
    yield make("bytes, digits one by one", pre=p.Sequence([p.Digits(True), p.ByteLevel(False)]))
    yield make("bytes, runs of digits", pre=p.Sequence([p.Digits(False), p.ByteLevel(True)]))
    yield make("bytes, punctuation", pre=p.Sequence([p.Punctuation(), p.ByteLevel(False)]))
    yield make("bytes, contiguous punctuation", pre=p.Sequence([p.Punctuation("contiguous"), p.Digits(True), p.ByteLevel(False)]))
    yield make("bytes, small alphabet", alphabet=False)
    yield make("bytes, small alphabet, unknown", alphabet=False, model=tk.models.BPE(unk_token="<unk>"))
    yield make("bytes, small alphabet, fused unknown", alphabet=False, model=tk.models.BPE(unk_token="<unk>", fuse_unk=True))
    yield make("bytes, ignore merges", tweak=lambda s: s["model"].update(ignore_merges=True))


def characters(tk):
    """(name, source) of BPE files over characters, with a marker for spaces."""
    n, p = tk.normalizers, tk.pre_tokenizers
    fallback = [f"<0x{b:02X}>" for b in range(256)]
    llama = n.Sequence([n.Prepend("\u2581"), n.Replace(" ", "\u2581")])

    def make(name, normalizer, pre=None, fuse=True, bytes_too=True, unknown=True, with_added=True):
        model = tk.models.BPE(unk_token="<unk>" if unknown else None, fuse_unk=fuse, byte_fallback=bytes_too)
        trainer = tk.trainers.BpeTrainer(vocab_size=700 if bytes_too else 400, show_progress=False,
                                         special_tokens=["<unk>"] + (fallback if bytes_too else []))

        def plain_bytes(source):  # training calls them special; real files keep them in the vocabulary only
            source["added_tokens"] = [t for t in source["added_tokens"] if t["content"] not in fallback]
        return name, trained(tk, model, trainer, normalizer, pre, with_added, plain_bytes)

    yield make("llama 2", llama)
    yield make("llama 2, no added tokens", llama, with_added=False)
    yield make("llama 2, no byte fallback", llama, bytes_too=False)
    yield make("llama 2, unknown not fused", llama, bytes_too=False, fuse=False)
    yield make("llama 2, no unknown", llama, bytes_too=False, unknown=False)
    yield make("gemma", n.Replace(" ", "\u2581"), p.Split(" ", "merged_with_previous"))
    yield make("NFC and markers", n.Sequence([n.NFC(), n.Replace(" ", "\u2581")]))
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            yield make(f"Metaspace {scheme}, split {split}", None, p.Metaspace("\u2581", scheme, split))
            yield make(f"Metaspace {scheme}, split {split}, unknown", n.NFKC(), p.Metaspace("\u2581", scheme, split), bytes_too=False)


def unigrams(tk):
    n, p = tk.normalizers, tk.pre_tokenizers

    def make(name, normalizer, pre, bytes_too=False, with_added=True):
        trainer = tk.trainers.UnigramTrainer(vocab_size=300, show_progress=False, special_tokens=["<unk>"], unk_token="<unk>")

        def add_bytes(source):
            if not bytes_too:
                return
            # After the trained pieces, whose ids the added tokens would take: those move up.
            vocabulary = source["model"]["vocab"]
            size = len(vocabulary)
            vocabulary += [[f"<0x{b:02X}>", -20.0] for b in range(256)]
            source["model"]["byte_fallback"] = True
            for token in source["added_tokens"]:
                token["id"] += 256 if token["id"] >= size else 0
        return name, trained(tk, tk.models.Unigram(), trainer, normalizer, pre, with_added, add_bytes)

    for scheme in ("always", "first", "never"):
        for split in (True, False):
            yield make(f"Unigram, Metaspace {scheme}, split {split}", None, p.Metaspace("\u2581", scheme, split))
    yield make("Unigram, NFKC, strip", n.Sequence([n.NFKC(), n.Strip()]), p.Metaspace("\u2581", "always", True))
    yield make("Unigram, spaces collapsed", n.Replace(tk.Regex(" {2,}"), " "), p.Metaspace("\u2581", "always", True))
    yield make("Unigram, split at white space", None, p.Sequence([p.WhitespaceSplit(), p.Metaspace("\u2581", "always", True)]))
    yield make("Unigram, byte fallback", n.NFC(), p.Metaspace("\u2581", "first", False), bytes_too=True)
    yield make("Unigram, no added tokens", None, p.Metaspace("\u2581", "always", True), with_added=False)


def all_kinds(tokenizers):
    return [*byte_level(tokenizers), *characters(tokenizers), *unigrams(tokenizers)]


COMMITTED = ["bytes, NFC", "bytes, ignore merges", "bytes, runs of digits", "llama 2", "llama 2, no unknown", "Metaspace first, split True, unknown",
             "Unigram, NFKC, strip", "Unigram, split at white space", "Unigram, byte fallback"]
TEXTS = ["<|norm|>Once <|norm|> twice<|norm|>", "words\u200d words word", "Caf\u00c9 Cafe\u0301 \u212b \u00c5ngstr\u00f6m", " the the", "a<LR> \n\n\n  <LR>b  ",
         "x<R>    \n\n\ny", "<|pla <|plain|><|norm|><|x", "\u2581the \u2581 the", "12 345\u00bd 6a7", "a\u2603b F G", "<0xE2><0x41>", "a\u0898\u0323\u1df6\u0301",
         "\u32ff \U0001f16c \u1c89", "  two  \t spaces  ", "\u24d0word \u24d0 word", "<unk> <unk>"]


def write_cases(folder):
    """The files and rows below tests/data/tokenizers: a look at every kind of difference there ever was."""
    import os
    import random_texts
    import reference
    tokenizers = reference.library("tokenizers")
    with open(os.path.join(folder, "own-json.jsonl"), "w") as rows:
        for name, source in all_kinds(tokenizers):
            if name not in COMMITTED:
                continue
            file = "own-" + "-".join(name.lower().replace(",", "").split()) + ".json"
            with open(os.path.join(folder, file), "w") as f:
                f.write(json.dumps(json.loads(source), separators=(",", ":")) + "\n")
            theirs = tokenizers.Tokenizer.from_str(source)
            tokens = [t["content"] for t in json.loads(source)["added_tokens"]]
            texts = TEXTS + [t for t in random_texts.Texts(1, tokens).take(80) if len(t) < 60][:20]
            for text in texts:
                ids = theirs.encode(text, add_special_tokens=False).ids
                rows.write(json.dumps({"model": file, "text": text, "ids": ids}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    import os
    import sys
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
    write_cases(sys.argv[1])
