"""Stories of ten seeds, in full and unpicked, as a Markdown file; from transformers, or from moiety itself.

    python sample.py --model models/stories-12m --out docs/stories.md
    python sample.py --model models/stories-12m --binary build/moiety --out docs/stories.md
"""
import argparse
import shlex
import subprocess

PROMPTS = ["Once upon a time", "Once upon a time", "One rainy afternoon", "In a small village there lived", "Long ago, there was a", "The Lost Key",
           "Mia was a", "Deep in the woods lived", "Once, there was a fox named", "Ben lived in"]
FOLLOW_UP = "\n\nQuestion:"


def with_transformers(options, prompt, seed):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    if not hasattr(with_transformers, "model"):
        with_transformers.model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
        with_transformers.tokenizer = AutoTokenizer.from_pretrained(options.model)
    model, tokenizer = with_transformers.model, with_transformers.tokenizer
    torch.manual_seed(seed)
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=options.temperature, top_p=options.top_p, top_k=0, max_new_tokens=options.length, pad_token_id=1)
    return tokenizer.decode(out[0], skip_special_tokens=True)


def command(options, prompt, seed):
    return [options.binary, "run", "-m", options.model, "-p", prompt, "-n", str(options.length), "--temp", str(options.temperature), "--top-k", "0", "--top-p", str(options.top_p), "--seed", str(seed)]


def with_moiety(options, prompt, seed):
    text = subprocess.run(command(options, prompt, seed), check=True, capture_output=True, text=True).stdout
    return text if text.startswith(prompt) else prompt + text


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--model", required=True)
    a.add_argument("--binary", help="moiety; without it transformers runs the model")
    a.add_argument("--out")
    a.add_argument("--temperature", type=float, default=0.5)
    a.add_argument("--top-p", type=float, default=0.95)
    a.add_argument("--length", type=int, default=400)
    options = a.parse_args()
    how = "`" + shlex.join(command(options, "PROMPT", 1)).replace(" 1", " SEED") + "`" if options.binary else "transformers, float32"
    lines = ["# Ten stories", "", f"Seeds 1 to 10, one story each, in full and unpicked, from `{options.model.rstrip('/').split('/')[-1]}`.",
             f"Temperature {options.temperature:g}, top-p {options.top_p:g}, at most {options.length} tokens. Made with {how}.",
             "The prompt is in bold; a story ends where the model ended it. Some stories are followed by the model's own questions and answers.", ""]
    for seed, prompt in enumerate(PROMPTS, 1):
        text = (with_moiety if options.binary else with_transformers)(options, prompt, seed).strip()
        rest = text[len(prompt):].replace("\nAnswer:", "  \nAnswer:").replace("\nQuestion:", "  \nQuestion:").replace("\n  \nQuestion:", "\n\nQuestion:")
        lines += [f"## Seed {seed}", "", f"**{prompt}**{rest}", ""]
    text = "\n".join(lines)
    print(text) if not options.out else open(options.out, "w", encoding="utf-8").write(text)


if __name__ == "__main__":
    main()
