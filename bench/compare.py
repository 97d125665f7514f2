"""Two records of `moiety bench --record`: how the speeds, and the shares of the machine's limits, changed.

    python3 bench/compare.py A.jsonl B.jsonl [--fail-below 0.95] [--by speed|share]

Lines of one model, test and number of threads count by their median. The share of the limit (read bandwidth or
arithmetic, whichever is closer) is probed in the run itself: on a machine that others use its ratio says more than that
of the speeds. Exit codes: 0; 1 if a ratio is below --fail-below; 2 for records that can't be read or share no test.
"""
import argparse
import sys

import records


def ratio(before, after):
    return after / before if before > 0 else float("nan")


def logits(a, b):
    if a.hashes == b.hashes:
        return "same"
    return "some differ" if a.hashes & b.hashes else "differ"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", metavar="A.jsonl")
    parser.add_argument("after", metavar="B.jsonl")
    parser.add_argument("--fail-below", type=float, metavar="RATIO", help="exit with 1 where B/A is smaller")
    parser.add_argument("--by", choices=("speed", "share"), default="speed", help="the ratio that --fail-below looks at (default: speed)")
    options = parser.parse_args()
    try:
        before, after = records.read(options.before), records.read(options.after)
    except (OSError, UnicodeDecodeError, records.BadRecord) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    common = [key for key in before if key in after]
    for name, tests, others in ((options.before, before, after), (options.after, after, before)):
        for key in tests:
            if key not in others:
                print(f"only in {name}: {key[0]}, {key[2]}, {key[3]} threads", file=sys.stderr)
    if not common:
        print("error: the records share no test", file=sys.stderr)
        return 2
    print("| model | test | threads | A t/s | B t/s | B/A | A of the limit | B of the limit | B/A | logits |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    slower = []
    for key in common:
        a, b = before[key], after[key]
        speed, share = ratio(a.speed, b.speed), ratio(a.limit, b.limit)
        print(f"| {a.model} {a.types} | {a.name} | {a.threads} | {a.speed:.2f} | {b.speed:.2f} | {speed:.3f} | {100 * a.limit:.1f} % | "
              f"{100 * b.limit:.1f} % | {share:.3f} | {logits(a, b)} |")
        judged = speed if options.by == "speed" else share
        if options.fail_below is not None and not judged >= options.fail_below:
            slower.append(f"{a.model}, {a.name}, {a.threads} threads: {judged:.3f}")
    for line in slower:
        print(f"below {options.fail_below}: {line}", file=sys.stderr)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
