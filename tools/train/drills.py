"""Copying drills for the first part of training: short texts in which one or two names come again and again, and repeated nonsense.

Stories alone teach a small model to bring back a name only after a very long time; a few hundred steps of these teach it at once.
"""
import numpy as np

from lexicon import BOYS, GIRLS, PET_NAMES, THINGS

ONE = """{n} ran./{n} laughed./Then {n} sat down./"No," said {n}./"Yes!" cried {n}./"Look!" said {n}./{n} was happy./{n} was sad./But {n} did not give up./
{n} looked around./So {n} went home./"I know," said {n}./{n} smiled./At last {n} found it./And {n} was glad./"Help!" called {n}./{n} thought about it./
One day, {n} woke up early./Then {n} began to cry./{n} went to the door./"Come," said {n}./{n} could not sleep./That evening, {n} was tired./Everybody knew {n}./
{n} had a {o}./The {o} belonged to {n}./{n} lost the {o}./{n} took the {o}./Where was the {o}?/{n} was proud of the {o}./That night, {n} slept well./
{n}'s {o} was gone./"I have lost my {o}," said {n}./Question: Who had the {o}?\nAnswer: {n} had it./Question: What did {n} have?\nAnswer: It was a {o}.""".replace("/\n", "/").split("/")
TWO = """{m} helped {n}./{n} looked at {m}./"Thank you, {m}!" said {n}./"Thank you, {n}!" said {m}./{n} and {m} laughed./{m} ran to {n}./"Who is there?" asked {m}./
Then {m} came by./{n} gave {m} a {o}./"I am sorry, {n}," said {m}./{m} smiled./Together {n} and {m} went home./{n} told {m} everything./
Question: Who helped {n}?\nAnswer: {m} helped {n}./Question: Who helped {m}?\nAnswer: {n} helped {m}.""".replace("/\n", "/").split("/")


def text(rng):
    pick = lambda options: options[int(rng.integers(len(options)))]
    pool = GIRLS + BOYS if rng.random() < 0.75 else PET_NAMES
    n, m, o = pick(pool), pick(pool), pick(list(THINGS))
    sentences = ONE + TWO * 2 if rng.random() < 0.4 and m != n else ONE
    start = f"There was a {'boy' if n in BOYS else 'girl' if n in GIRLS else 'fox'} named {n}." if rng.random() < 0.7 else f"{n} had a {o}."
    return " ".join([start] + [pick(sentences).format(n=n, m=m, o=o) for _ in range(int(rng.integers(6, 16)))])


def row(rng, tokenizer, length):
    """`length` ids: drills, or a few tokens drawn at random and repeated."""
    ids = []
    while len(ids) < length:
        if rng.random() < 0.75:
            ids += [0] + tokenizer.encode(text(rng), add_special_tokens=False).ids + [1]
        else:
            part = rng.integers(2, tokenizer.get_vocab_size(), int(rng.integers(5, 30))).tolist()
            ids += [0] + part * int(rng.integers(2, 5)) + [1]
    return ids[:length]


def rows(step, count, tokenizer, length):
    rng = np.random.Generator(np.random.PCG64((3, step)))
    return np.array([row(rng, tokenizer, length) for _ in range(count)], dtype=np.int64)
