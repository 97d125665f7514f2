#!/usr/bin/env python3
"""Makes tests/text/data/tokenizers.json: small tokenizers of many kinds with the ids that the `tokenizers` package gives.

    make_fixtures.py > tests/text/data/tokenizers.json
"""
import json
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = ["The quick brown fox jumps over the lazy dog. It's the fox's den, isn't it? WE'RE HERE, they've 12345 reasons.",
          "def main(argc, argv):\n    return argc + 1\n\n\tif x == y:  pass  # ok", "naïve café Straße — «déjà vu» … 10.000 €",
          "Съешь же ещё этих мягких французских булок, да выпей чаю", "我能吞下玻璃而不伤身体。 日本語のテキスト 한국어 문장",
          "hello hello hello world world the the then than that there"] * 4

TEXTS = ["", " ", "  ", "Hello world", " Hello  world ", "It's WE'RE they'Ve 'ſ '", "naïve cafe\u0301 Straße ﬁne Å",
         "a\n\n b\r\nc\r\rd\t\te \n  f", "x=1234567, y=3.14e-10; ²³½ ٣", "我能吞下玻璃 日本語 한국어", "🦙🚀 👩‍👩‍👧 e\u0301\u0323", "\u00a0\u2003\u3000\u180e\u0085end",
         "<|im_start|>system\nYou are<|im_end|> <tool> x<tool>y  <pad>  z day monday <s>", "def f(x):\n    return x != \"a\\b\"\n", "\x00\x01\x7f�"]

ADDED = [AddedToken("<|im_start|>", special=True, normalized=False), AddedToken("<|im_end|>", special=True, normalized=False),
         AddedToken("<tool>", special=False, normalized=False, single_word=True), AddedToken("<pad>", special=False, normalized=False, lstrip=True, rstrip=True),
         AddedToken("day", special=False, normalized=True, single_word=True)]


def train(pre_tokenizer, alphabet, special, size, byte_fallback=False, normalizer=None):
    tokenizer = Tokenizer(models.BPE(byte_fallback=byte_fallback, unk_token="<unk>" if "<unk>" in special else None, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=special, show_progress=False, min_frequency=2)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return json.loads(tokenizer.to_str())["model"]


def with_model(model, **changes):
    return Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None,
                                          "decoder": None, "truncation": None, "padding": None, "model": {**model, **changes}}))


def main():
    raw = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bytes_model = train(gpt2, sorted(alphabet), [], 460)
    byte_tokens = [f"<0x{b:02X}>" for b in range(256)]
    chars_model = train(pre_tokenizers.Metaspace(), [], ["<unk>", "<s>", "</s>"] + byte_tokens, 480, byte_fallback=True)
    plain_model = train(pre_tokenizers.Whitespace(), [], ["<unk>"], 160)
    list_merges = {**bytes_model, "merges": [" ".join(m) for m in bytes_model["merges"]]}
    out = {"models": {"bytes": bytes_model, "bytes, merges as strings": list_merges, "chars": chars_model, "plain": plain_model}, "cases": []}

    def case(name, model, pre=None, normalizer=None, decoder=None, post=None, added=ADDED, **changes):
        tokenizer = with_model(out["models"][model], **changes)
        if normalizer:
            tokenizer.normalizer = normalizer
        if pre:
            tokenizer.pre_tokenizer = pre
        if decoder:
            tokenizer.decoder = decoder
        if post:
            tokenizer.post_processor = post(tokenizer)
        tokenizer.add_tokens(added)
        tokenizer.add_special_tokens([t for t in added if t.special])
        whole = json.loads(tokenizer.to_str())
        tests = []
        for text in TEXTS:
            tokenizer.encode_special_tokens = True
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            tokenizer.encode_special_tokens = False
            special = tokenizer.encode(text, add_special_tokens=True).ids
            tests.append([text, ids, special, tokenizer.decode(special, skip_special_tokens=False), tokenizer.decode(ids, skip_special_tokens=True)])
        parts = {k: whole[k] for k in ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder")}
        out["cases"].append({"name": name, "model": model, "changes": changes, **parts, "tests": tests})

    contractions = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    tail = r"\s*[\r\n]+|\s+(?!\S)|\s+"
    llama3 = contractions + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + tail
    split = lambda regex, behavior="isolated", invert=False: pre_tokenizers.Split(Regex(regex), behavior, invert)
    byte_decoder = decoders.ByteLevel()
    template = lambda t: processors.TemplateProcessing(single="<|im_start|> $A <|im_end|>", pair="$A $B", special_tokens=[("<|im_start|>", 460), ("<|im_end|>", 461)])
    S = pre_tokenizers.Sequence
    case("gpt2", "bytes", gpt2, decoder=byte_decoder, post=lambda t: processors.ByteLevel())
    case("gpt2, merges as strings", "bytes, merges as strings", gpt2, decoder=byte_decoder)
    case("gpt2 with a prefix space", "bytes", pre_tokenizers.ByteLevel(add_prefix_space=True), decoder=byte_decoder)
    case("llama 3", "bytes", S([split(llama3), raw]), decoder=byte_decoder, ignore_merges=True,
         post=lambda t: processors.Sequence([processors.ByteLevel(), template(t)]))
    case("qwen 2", "bytes", S([split(llama3.replace("{1,3}", "")), raw]), normalizer=normalizers.NFC(), decoder=byte_decoder)
    case("starcoder", "bytes", S([pre_tokenizers.Digits(True), gpt2]), decoder=byte_decoder)
    case("unknown pattern", "bytes", S([split(r"\w+\s?|\S|\s"), raw]), decoder=byte_decoder)
    case("removed", "bytes", S([split(r"[\s,]", "removed"), raw]), decoder=byte_decoder)
    case("merged with previous", "bytes", S([split(r"\s", "merged_with_previous"), raw]), decoder=byte_decoder)
    case("merged with next", "bytes", S([pre_tokenizers.Split(" ", "merged_with_next"), raw]), decoder=byte_decoder)
    case("contiguous", "bytes", S([split(r"\p{L}", "contiguous"), raw]), decoder=byte_decoder)
    case("inverted", "bytes", S([split(r"\p{L}+", "removed", True), raw]), decoder=byte_decoder)
    case("punctuation", "bytes", S([pre_tokenizers.Punctuation("merged_with_previous"), raw]), decoder=byte_decoder)
    case("normalizers", "bytes", gpt2, decoder=byte_decoder, normalizer=normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip(), normalizers.Replace(Regex(r"\s+"), " ")]))
    case("nfd", "bytes", gpt2, normalizer=normalizers.NFD(), decoder=byte_decoder)
    case("nfkc", "bytes", gpt2, normalizer=normalizers.NFKC(), decoder=byte_decoder)
    case("split after bytes", "bytes", S([raw, split("Ġ?[a-z]+")]), decoder=byte_decoder)
    llama_decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    llama_normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    case("llama 2", "chars", normalizer=llama_normalizer, decoder=llama_decoder)
    case("metaspace first", "chars", pre_tokenizers.Metaspace(prepend_scheme="first", split=False), decoder=llama_decoder)
    case("metaspace always", "chars", pre_tokenizers.Metaspace(prepend_scheme="always"), decoder=decoders.Metaspace())
    case("metaspace never", "chars", pre_tokenizers.Metaspace(prepend_scheme="never"), decoder=decoders.Metaspace(prepend_scheme="never"))
    case("unknown characters, fused", "plain", pre_tokenizers.Whitespace(), added=[])
    case("unknown characters, single", "plain", S([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]), added=[], fuse_unk=False)
    case("no unknown token", "plain", pre_tokenizers.BertPreTokenizer(), added=[], unk_token=None)
    json.dump(out, sys.stdout, ensure_ascii=True, separators=(",", ":"))
    print()


main()
