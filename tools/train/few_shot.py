"""Sums after k solved ones, in an exact match, each answered by moiety itself, most likely token by most likely token.

    python few_shot.py --binary build/moiety models/stories-12m DENSE...
Bare sums are the lines of training ("3 + 4 = 7."); word problems are questions whose answer is a sentence, which must come out word for word;
beyond: bare sums with numbers from 21 to 49, which training has nowhere.
Prompts come from seeds of the held-out split and are the same for every model.
"""
import argparse
import subprocess

import sums
from engine import Story
from generate import SPLITS, Random


def beyond(s):
    x, y = int(s.rng.integers(21, 50)), int(s.rng.integers(21, 50))
    return f"{x} + {y} = {x + y}." if s.chance(0.5) else f"{x + y} - {y} = {x}."


# Name: maker of one line, what ends the prompt, tokens of the longest answer, first seed.
TASKS = {"bare": (sums.bare, " =", 4, 2 * 10 ** 6), "words": (sums.ask, "\nAnswer:", 24, 3 * 10 ** 6),
         "beyond": (beyond, " =", 4, 4 * 10 ** 6)}


def prompts(task, shots, count):
    """Pairs of a prompt and its answer; prompt i asks the same whatever stands before it."""
    make, mark, _, seed = TASKS[task]
    for i in range(count):
        story = Story(Random(SPLITS["held-out"], seed + i))
        asked, solved = make(story), []
        while len(solved) < shots:
            line = make(story)
            if line != asked:
                solved.append(line)
        question, answer = asked.split(mark)
        yield "".join(line + "\n" for line in solved) + question + mark, answer.strip()


def answer_of(options, model, task, prompt):
    command = [options.binary, "run", "-m", model, "-p", prompt, "-n", str(TASKS[task][2]), "--temp", "0", "--no-display-prompt",
               "--threads", str(options.threads)]
    text = subprocess.run(command, check=True, capture_output=True, text=True, errors="replace").stdout
    return text.split("\n")[0].strip()


def right(options, model, task, shots):
    return sum(answer_of(options, model, task, prompt) == answer for prompt, answer in prompts(task, shots, options.count))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("models", nargs="+")
    a.add_argument("--binary", required=True, help="moiety")
    a.add_argument("--shots", default="0,1,4")
    a.add_argument("--count", type=int, default=200, help="prompts of a task")
    a.add_argument("--threads", type=int, default=1)
    a.add_argument("--show", action="store_true", help="print the first prompt and answer of each task")
    options = a.parse_args()
    columns = [(task, int(k)) for task in TASKS for k in options.shots.split(",")]
    if options.show:
        for task, shots in columns:
            prompt, answer = next(prompts(task, shots, 1))
            print(f"--- {task}, {shots} shots\n{prompt} [{answer}]")
    print("| right, percent | " + " | ".join(f"{task}, {k} shots" for task, k in columns) + " |", flush=True)
    print("| --- |" + " ---: |" * len(columns))
    for model in options.models:
        cells = (f"{100 * right(options, model, task, k) / options.count:.1f}" for task, k in columns)
        print(f"| {model.rstrip('/').split('/')[-1]} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
