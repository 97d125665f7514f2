# The scores that `moiety eval choices` must give on the items of tests/eval/choices with the model that ships, computed
# with transformers: python check_choices.py MODEL > choices/expected.json. It reads files and templates by itself.
import csv, json, pathlib, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

here = pathlib.Path(__file__).parent
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
START = tokenizer.bos_token_id
ADDS_START = tokenizer("x").input_ids[0] == START
encode = lambda text: tokenizer(text, add_special_tokens=False).input_ids


def lines(name):
    return [json.loads(line) for line in open(here / "choices" / name, encoding="utf-8")]


def lower(text):
    return text[0].lower() + text[1:]


def score(context, target):
    stripped = context.rstrip(" ")
    if stripped != context and not target.startswith(" "):
        target = " " + target
    ids, first = encode(stripped + target), 0
    alone = encode(stripped)
    while first < len(alone) and first < len(ids) and alone[first] == ids[first]:
        first += 1
    if first == 0 or ADDS_START:
        ids, first = [START] + ids, first + 1
    with torch.no_grad():
        logs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
    return sum(logs[i - 1, ids[i]].item() for i in range(first, len(ids))), len(ids) - first


# (context, target, suffix context or None, suffix target) of each choice of each item
def items():
    for x in lines("copa.jsonl"):
        word = {"cause": "because", "effect": "so"}[x["question"]]
        yield "copa", [(x["premise"].rstrip(".") + " " + word, " " + lower(x[c]), None, None) for c in ("choice1", "choice2")]
    for x in lines("record.jsonl"):
        text = x["passage"]["text"]
        names = list(dict.fromkeys(text[e["start"] : e["end"] + 1] for e in x["passage"]["entities"]))
        clean = text.replace("@highlight", "-")
        for qa in x["qas"]:
            a, b = qa["query"].split("@placeholder")
            yield "record", [(clean + "\n", a + n + b, clean + "\n" + a + n, b) for n in names]
    for x in lines("hellaswag.jsonl"):
        yield "hellaswag", [(x["activity_label"] + ": " + x["ctx"], " " + e, None, None) for e in x["endings"]]
    for x in lines("piqa.jsonl"):
        yield "piqa", [("Question: " + x["goal"] + "\nAnswer:", " " + x[s], None, None) for s in ("sol1", "sol2")]
    for x in lines("winogrande.jsonl"):
        a, b = x["sentence"].split("_")
        yield "winogrande", [(a, x[o] + b, a + x[o], b) for o in ("option1", "option2")]
    for x in list(csv.reader(open(here / "choices" / "storycloze.csv", newline="")))[1:]:
        yield "storycloze", [(" ".join(x[1:5]), " " + e, None, None) for e in x[5:7]]
    for task in ("openbookqa", "arc"):
        for x in lines(task + ".jsonl"):
            yield task, [("Question: " + x["question"]["stem"] + "\nAnswer:", " " + c["text"], None, None) for c in x["question"]["choices"]]
    for x in lines("boolq.jsonl"):
        yield "boolq", [(x["passage"] + "\nQuestion: " + x["question"] + "?\nAnswer:", " " + c, None, None) for c in ("no", "yes")]


out = {}
for task, choices in items():
    scores = []
    for context, target, suffix_context, suffix in choices:
        total, tokens = score(context, target)
        one = {"sum": total, "tokens": tokens, "mean": total / tokens, "unconditional": total - score("" if task == "winogrande" else "Answer:", target)[0]}
        if suffix is not None:
            one["suffix"] = score(suffix_context, suffix)[0]
        scores.append(one)
    out.setdefault(task, []).append(scores)
json.dump(out, sys.stdout, indent=1)
