"""OLMoE as a lean training model: the same numbers as transformers' OlmoeForCausalLM, experts run on sorted tokens.

With one expert it is a dense model: the softmax over one score is one.
"""
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    vocab: int = 4096
    width: int = 256
    layers: int = 6
    heads: int = 8
    experts: int = 8
    top_k: int = 2
    expert_width: int = 256
    context: int = 512
    theta: float = 10000.0
    eps: float = 1e-5
    sharp: float = 1.5
    tied: bool = False  # while training; the export writes the head out, as published OLMoE files do

    def huggingface(self):
        return {"architectures": ["OlmoeForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 0, "clip_qkv": None, "eos_token_id": 1,
                "hidden_act": "silu", "hidden_size": self.width, "initializer_range": 0.02, "intermediate_size": self.expert_width,
                "max_position_embeddings": self.context, "model_type": "olmoe", "norm_topk_prob": False, "num_attention_heads": self.heads,
                "num_experts": self.experts, "num_experts_per_tok": self.top_k, "num_hidden_layers": self.layers, "num_key_value_heads": self.heads,
                "output_router_logits": False, "pad_token_id": 1, "rms_norm_eps": self.eps, "rope_scaling": None, "rope_theta": self.theta,
                "router_aux_loss_coef": 0.01, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": self.vocab}

    def dictionary(self):
        return asdict(self)


class Gather(torch.autograd.Function):
    """Rows of x, k copies each, in sorted order; the backward is a gather too (index_add is slow on a CPU)."""

    @staticmethod
    def forward(ctx, x, order, inverse, k):
        ctx.inverse, ctx.k = inverse, k
        return x.index_select(0, order // k)

    @staticmethod
    def backward(ctx, grad):
        grad = grad.index_select(0, ctx.inverse)
        return grad.view(-1, ctx.k, grad.shape[1]).sum(1), None, None, None


class Scatter(torch.autograd.Function):
    """Undoes the sorting."""

    @staticmethod
    def forward(ctx, y, order, inverse):
        ctx.order = order
        return y.index_select(0, inverse)

    @staticmethod
    def backward(ctx, grad):
        return grad.index_select(0, ctx.order), None, None


class Experts(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.gate = nn.Parameter(torch.randn(c.experts, c.width) * 0.02)
        self.gate_up = nn.Parameter(torch.randn(c.experts, 2 * c.expert_width, c.width) * c.width ** -0.5)
        # Square blocks one below the other, one for each `width` inputs: Muon needs true sub-matrices.
        self.down = nn.Parameter(torch.zeros(c.experts, c.expert_width, c.width))

    def down_matrices(self):
        """[experts, width, expert_width]: the blocks side by side."""
        c = self.c
        return self.down.view(c.experts, -1, c.width, c.width).transpose(1, 2).reshape(c.experts, c.width, c.expert_width)

    def dense(self, x, statistics):
        if statistics is not None:  # balanced by nature
            one = torch.ones((), device=x.device)
            statistics.append((one, torch.zeros_like(one), one.view(1), torch.zeros(len(x), 1, dtype=torch.long, device=x.device)))
        gate, up = F.linear(x, self.gate_up[0]).chunk(2, -1)
        return F.linear(F.silu(gate) * up, self.down_matrices()[0])

    def forward(self, x, statistics):
        c = self.c
        if c.experts == 1:
            return self.dense(x, statistics)
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(x.float(), self.gate.float())
            probabilities = logits.softmax(-1)
            weights, chosen = probabilities.topk(c.top_k, -1)
        flat = chosen.reshape(-1)
        order = flat.argsort(stable=True)
        inverse = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))
        counts = torch.bincount(flat, minlength=c.experts)
        if statistics is not None:
            share = counts.float() / flat.numel()
            statistics.append((c.experts * (share * probabilities.mean(0)).sum(), logits.logsumexp(-1).square().mean(), share, chosen))
        rows = Gather.apply(x, order, inverse, c.top_k).split(counts.tolist())
        gate_up, down = self.gate_up.to(x.dtype).unbind(0), self.down_matrices().to(x.dtype).unbind(0)
        done = []
        for e, row in enumerate(rows):
            if len(row) == 0:
                continue
            gate, up = F.linear(row, gate_up[e]).chunk(2, -1)
            done.append(F.linear(F.silu(gate) * up, down[e]))
        y = Scatter.apply(torch.cat(done), order, inverse).view(-1, c.top_k, c.width)
        return (y * weights.to(y.dtype).unsqueeze(-1)).sum(1)


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.norm1, self.norm2 = nn.Parameter(torch.ones(c.width)), nn.Parameter(torch.ones(c.width))
        # Gains above one: attention can be sharp from the start, as copying a name needs it.
        self.q_norm, self.k_norm = nn.Parameter(torch.full((c.width,), c.sharp)), nn.Parameter(torch.full((c.width,), c.sharp))
        self.qkv = nn.Parameter(torch.randn(3 * c.width, c.width) * c.width ** -0.5)
        self.o = nn.Parameter(torch.zeros(c.width, c.width))
        self.experts = Experts(c)

    def forward(self, x, cos, sin, statistics):
        c = self.c
        b, t, d = x.shape
        q, k, v = F.linear(F.rms_norm(x, (d,), self.norm1, c.eps), self.qkv).chunk(3, -1)
        q, k = F.rms_norm(q, (d,), self.q_norm.to(q.dtype), c.eps), F.rms_norm(k, (d,), self.k_norm.to(k.dtype), c.eps)
        q, k, v = (z.reshape(b, t, c.heads, -1).transpose(1, 2) for z in (q, k, v))

        def turn(z):
            low, high = z.chunk(2, -1)
            return torch.cat((low * cos - high * sin, high * cos + low * sin), -1).to(v.dtype)
        y = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
        x = x + F.linear(y.transpose(1, 2).reshape(b, t, d), self.o)
        h = F.rms_norm(x, (d,), self.norm2, c.eps).view(-1, d)
        return x + self.experts(h, statistics).view(b, t, d)


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        # Rows as loud as what the layers add: a token must still be readable behind the first layer, or nothing can be copied.
        self.embed = nn.Parameter(torch.randn(c.vocab, c.width) * (0.5 if c.tied else 1.0))
        self.head = self.embed if c.tied else nn.Parameter(torch.zeros(c.vocab, c.width))
        self.norm = nn.Parameter(torch.full((c.width,), 0.05 if c.tied else 1.0))
        self.layers = nn.ModuleList([Layer(c) for _ in range(c.layers)])
        half = c.width // c.heads // 2
        angle = torch.arange(c.context)[:, None].float() * (1.0 / c.theta ** (torch.arange(half).float() / half))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, ids, statistics=None):
        x = F.embedding(ids, self.embed)
        t = ids.shape[1]
        cos, sin = self.cos[:t], self.sin[:t]
        for layer in self.layers:
            x = layer(x, cos, sin, statistics)
        return F.linear(F.rms_norm(x, (self.c.width,), self.norm, self.c.eps), self.head)

    def huggingface(self):
        """Tensors under the names of published OLMoE files."""
        out = {"model.embed_tokens.weight": self.embed, "model.norm.weight": self.norm, "lm_head.weight": self.head}
        w = self.c.expert_width
        for i, layer in enumerate(self.layers):
            p = f"model.layers.{i}."
            q, k, v = layer.qkv.chunk(3, 0)
            out.update({p + "input_layernorm.weight": layer.norm1, p + "post_attention_layernorm.weight": layer.norm2,
                        p + "self_attn.q_norm.weight": layer.q_norm, p + "self_attn.k_norm.weight": layer.k_norm,
                        p + "self_attn.q_proj.weight": q, p + "self_attn.k_proj.weight": k, p + "self_attn.v_proj.weight": v,
                        p + "self_attn.o_proj.weight": layer.o, p + "mlp.gate.weight": layer.experts.gate})
            down = layer.experts.down_matrices()
            for e in range(self.c.experts):
                both = layer.experts.gate_up[e]
                out.update({p + f"mlp.experts.{e}.gate_proj.weight": both[:w], p + f"mlp.experts.{e}.up_proj.weight": both[w:],
                            p + f"mlp.experts.{e}.down_proj.weight": down[e]})
        return {name: value.detach().contiguous() for name, value in out.items()}
