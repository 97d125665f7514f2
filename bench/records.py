"""What `moiety bench --record FILE` wrote, read back: one object a line, several lines of one test together."""
import json
import statistics
import sys

NEEDED = {"model_type": str, "model_types": str, "n_threads": int, "n_prompt": int, "n_gen": int, "n_depth": int,
          "avg_ts": (int, float), "bandwidth_share": (int, float), "peak_share": (int, float), "logits_hash": str}


class BadRecord(Exception):
    pass


class Test:
    """The lines of one model, test and number of threads; figures are medians over them."""

    def __init__(self, rows):
        self.rows = rows
        self.model, self.types, self.threads = (rows[0][key] for key in ("model_type", "model_types", "n_threads"))
        prompt, generated, depth = (rows[0][key] for key in ("n_prompt", "n_gen", "n_depth"))
        self.name = (f"pp{prompt}" if prompt else f"tg{generated}") + (f" @ d{depth}" if depth else "")
        self.speed, self.bandwidth, self.peak = (self.median(key) for key in ("avg_ts", "bandwidth_share", "peak_share"))
        self.hashes = {row["logits_hash"] for row in rows}

    def median(self, key):
        return statistics.median(row[key] for row in self.rows)

    @property
    def limit(self):
        """The larger share: the limit that the test runs into."""
        return max(self.bandwidth, self.peak)

    @property
    def key(self):
        return self.model, self.types, self.name, self.threads


def read(path):
    """{key: Test}, in the order of the file. A line that was cut while it was written is named and left out."""
    groups = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                print(f"{path}:{number}: left out: {error}", file=sys.stderr)
                continue
            wrong = [key for key, kind in NEEDED.items() if not isinstance(row, dict) or not isinstance(row.get(key), kind)]
            if wrong:
                raise BadRecord(f"{path}:{number}: {', '.join(wrong)}: missing, or of another type")
            groups.setdefault(Test([row]).key, []).append(row)
    return {key: Test(rows) for key, rows in groups.items()}
