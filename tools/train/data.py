"""Tokenizer and token files.

    python data.py --out DIR [--documents 95000 --held-out 2000]
writes DIR/tokenizer/{tokenizer,tokenizer_config,generation_config}.json, DIR/{train,held_out}.npy (uint16 ids) and DIR/held_out.jsonl.
"""
import argparse
import itertools
import json
import multiprocessing
import os

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from generate import EARLY, document
from lexicon import BOYS, GIRLS, PET_NAMES, SURNAMES

BEGIN, END = "<|begin_of_text|>", "<|end_of_text|>"
VOCAB = 4096
# Llama 3's pattern, as its tokenizer.json writes it.
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def train_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=[AddedToken(BEGIN, special=True), AddedToken(END, special=True)],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    # Every name and every number that a sum can show becomes one token: to bring it back is then one copy, not three.
    whole = GIRLS + BOYS + PET_NAMES + SURNAMES + [str(n) for n in range(101)]
    tokenizer.train_from_iterator(itertools.chain(texts, (f"{word}\n {word}\n'{word}" for word in whole for _ in range(1000))), trainer)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))])])
    return tokenizer


def save_tokenizer(tokenizer, folder):
    os.makedirs(folder, exist_ok=True)
    tokenizer.save(f"{folder}/tokenizer.json")
    special = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    config = {"added_tokens_decoder": {"0": {"content": BEGIN, **special}, "1": {"content": END, **special}}, "bos_token": BEGIN,
              "clean_up_tokenization_spaces": False, "eos_token": END, "model_max_length": 512, "tokenizer_class": "PreTrainedTokenizerFast"}
    generation = {"bos_token_id": 0, "eos_token_id": 1, "do_sample": True, "temperature": 0.5, "top_p": 0.95}
    for name, content in (("tokenizer_config.json", config), ("generation_config.json", generation)):
        with open(f"{folder}/{name}", "w", encoding="utf-8") as out:
            out.write(json.dumps(content, indent=2) + "\n")


def texts_of(job):
    split, first, last = job
    return [document(split, i) for i in range(first, last)]


def documents(split, count, workers):
    jobs = [(split, i, min(i + 2000, count)) for i in range(0, count, 2000)]
    with multiprocessing.Pool(workers) as pool:
        for part in pool.imap(texts_of, jobs):
            yield from part


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", required=True)
    arguments.add_argument("--documents", type=int, default=95000)
    arguments.add_argument("--held-out", type=int, default=2000)
    arguments.add_argument("--tokenizer", help="a tokenizer.json to use instead of training one")
    arguments.add_argument("--workers", type=int, default=2)
    options = arguments.parse_args()
    os.makedirs(options.out, exist_ok=True)
    tokenizer = Tokenizer.from_file(options.tokenizer) if options.tokenizer else train_tokenizer(text for text, _ in documents("train", EARLY + 12000, options.workers))
    save_tokenizer(tokenizer, f"{options.out}/tokenizer")
    for split, count, name in (("held-out", options.held_out, "held_out"), ("train", options.documents, "train")):
        ids, size, batch = [], 0, []
        rows = open(f"{options.out}/held_out.jsonl", "w", encoding="utf-8") if split == "held-out" else None

        def flush():
            for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
                ids.append(np.array([0] + encoding.ids + [1], dtype=np.uint16))
            batch.clear()
        for text, kind in documents(split, count, options.workers):
            size += len(text.encode())
            batch.append(text)
            if rows:
                rows.write(json.dumps({"kind": kind, "text": text}) + "\n")
            if len(batch) == 2000:
                flush()
        flush()
        if rows:
            rows.close()
        tokens = np.concatenate(ids)
        np.save(f"{options.out}/{name}.npy", tokens)
        print(f"{name}: {count} documents, {len(tokens)} tokens, {size} bytes", flush=True)


if __name__ == "__main__":
    main()
