"""A 5-gram model with interpolated Kneser-Ney smoothing over token ids, on sorted arrays (five ids of 12 bits fit one 64-bit key)."""
import numpy as np

BITS, ORDER = 12, 5


def keys(tokens, n):
    """One integer for each n-gram, oldest token in the high bits."""
    out = np.zeros(len(tokens) - n + 1, dtype=np.uint64)
    for i in range(n):
        out = (out << np.uint64(BITS)) | tokens[i:len(tokens) - n + 1 + i].astype(np.uint64)
    return out


def look_up(table, values, wanted, missing=0):
    at = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
    return np.where(table[at] == wanted, values[at], missing)


class KneserNey:
    def __init__(self, tokens, vocab):
        self.vocab, self.levels = vocab, []
        counts = None
        for n in range(ORDER, 0, -1):
            if n == ORDER:
                grams, counts = np.unique(keys(tokens, n), return_counts=True)
            else:  # how many different tokens stand before the n-gram
                grams, counts = np.unique(longer & np.uint64((1 << (BITS * n)) - 1), return_counts=True)
            longer = grams
            once, twice = (counts == 1).sum(), (counts == 2).sum()
            discount = once / (once + 2 * twice) if once else 0.5
            contexts, first = np.unique(grams >> np.uint64(BITS), return_index=True)
            kinds = np.diff(np.append(first, len(grams)))
            totals = np.add.reduceat(counts, first)
            self.levels.append((grams, counts, discount, contexts, totals, kinds))
        self.levels.reverse()

    def log_probabilities(self, tokens):
        """Natural logarithms for each token from the fifth on."""
        count = len(tokens) - ORDER + 1
        p = np.full(count, 1.0 / self.vocab)
        for n, (grams, counts, discount, contexts, totals, kinds) in enumerate(self.levels, 1):
            wanted = keys(tokens, n)[ORDER - n:]
            context = wanted >> np.uint64(BITS)
            total = look_up(contexts, totals, context)
            seen = np.maximum(look_up(grams, counts, wanted) - discount, 0)
            weight = discount * look_up(contexts, kinds, context)
            p = np.where(total > 0, (seen + weight * p) / np.maximum(total, 1), p)
        return np.log(p)
