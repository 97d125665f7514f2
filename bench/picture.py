"""A picture of a record of `moiety bench --record`: each test's share of the limit that it runs into, as an SVG.

    python3 bench/picture.py RECORD.jsonl -o docs/speed.svg [--title TEXT]

The limits were probed in the same run: what a plain read streams from memory, and the peak of the arithmetic that the
largest weights use. Lines of one test count by their median. It is readable on light and on dark pages.
"""
import argparse
import os
import sys
import tempfile
from xml.sax.saxutils import escape

import records

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .head { font-size: 16px; font-weight: 600; }
  .note { font-size: 12px; fill: #59636e; }
  .page { fill: #ffffff; }
  .room { fill: #eaeef2; }
  .line { stroke: #afb8c1; }
  .read { fill: #0969da; }
  .peak { fill: #bc4c00; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .note { fill: #9198a1; }
    .page { fill: #0d1117; }
    .room { fill: #21262d; }
    .line { stroke: #484f58; }
    .read { fill: #4493f8; }
    .peak { fill: #db6d28; }
  }
"""
WIDTH, LEFT, BAR, ROW, GROUP = 800, 150, 440, 24, 34
KINDS = {"read": "of the read bandwidth", "peak": "of the arithmetic's peak"}


def model_name(test):
    """"olmoe olmoe-q4_0.gguf" is its file's name, with what its largest weights are."""
    name = test.model.split(" ", 1)[-1].removesuffix(".gguf")
    kind = test.types.split(",")[0]
    return name if kind.lower() in name.lower() else f"{name} ({kind})"


class Canvas:
    def __init__(self):
        self.lines, self.y = [], 0

    def text(self, x, y, words, style="", anchor="start"):
        kind = f' class="{style}"' if style else ""
        self.lines.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}"{kind}>{escape(words)}</text>')

    def box(self, x, y, width, height, style):
        self.lines.append(f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height}" rx="2" class="{style}"/>')


def draw(tests, title):
    c = Canvas()
    c.text(16, 28, title, "head")
    x = 16
    for kind, words in KINDS.items():
        c.box(x, 42, 12, 12, kind)
        c.text(x + 18, 53, words, "note")
        x += 190
    c.y = 62
    for model in dict.fromkeys(model_name(t) for t in tests):
        c.text(16, c.y + 24, model)
        c.y += GROUP
        for t in (t for t in tests if model_name(t) == model):
            kind = "read" if t.bandwidth >= t.peak else "peak"
            share = min(max(t.limit, 0), 1)
            c.text(LEFT - 8, c.y + 14, f"{t.name}, {t.threads} thread{'s' if t.threads != 1 else ''}", "", "end")
            c.box(LEFT, c.y + 2, BAR, 16, "room")
            c.box(LEFT, c.y + 2, share * BAR, 16, kind)
            c.text(LEFT + BAR + 8, c.y + 14, f"{100 * t.limit:.0f} %")
            c.text(LEFT + BAR + 56, c.y + 14, f"{t.speed:.1f} tokens/s", "note")
            c.y += ROW
    for quarter in range(5):
        x = LEFT + quarter * BAR // 4
        c.lines.append(f'<line x1="{x}" y1="{c.y + 2}" x2="{x}" y2="{c.y + 8}" class="line"/>')
        c.text(x, c.y + 22, f"{25 * quarter} %", "note", "middle")
    machines = dict.fromkeys(str(row.get("cpu", "unknown CPU")) for t in tests for row in t.rows)
    days = sorted({str(row["date"])[:10] for t in tests for row in t.rows if "date" in row})
    builds = dict.fromkeys(f"moiety {row['version']}" + (f" ({row['commit']})" if row.get("commit") else "")
                           for t in tests for row in t.rows if "version" in row)
    when = [days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"] if days else []
    c.text(16, c.y + 46, ", ".join([*machines, *builds, *when]), "note")
    height = c.y + 60
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">',
                      f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>",
                      f'<rect width="{WIDTH}" height="{height}" class="page"/>', *c.lines, "</svg>", ""])


def write(path, text):
    """Beside its place first, so that it is whole or not there."""
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, delete=False) as file:
        try:
            file.write(text)
            file.close()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", metavar="RECORD.jsonl")
    parser.add_argument("-o", "--output", required=True, metavar="FILE.svg")
    parser.add_argument("--title", default="How near moiety comes to what the machine can do")
    options = parser.parse_args()
    try:
        tests = list(records.read(options.record).values())
        if not tests:
            raise records.BadRecord(f"{options.record}: holds no result")
        write(options.output, draw(tests, options.title))
    except (OSError, UnicodeDecodeError, records.BadRecord) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
