# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes a Llama-style model on variable-length conversations: an ordinary script that knows nothing of gapless.

The weights are random and the conversations are random tokens, so nothing is downloaded; shapes, optimizer, precision and
phases are those of a real run: dynamic padding to the longest of a batch, AdamW, bf16, gradient accumulation, clipping, and
an evaluation phase with a larger batch every few steps.
"""

import argparse
import math
import random

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import LlamaConfig, LlamaForCausalLM, get_cosine_schedule_with_warmup

# layers, hidden, intermediate, heads, key-value heads, vocabulary
MODELS = {
    "tiny": (2, 64, 176, 4, 2, 256),
    "0.2b": (8, 1024, 2816, 16, 8, 32000),
    "1b": (22, 2048, 5632, 32, 4, 32000),
}
PAD, IGNORE = 0, -100


class Conversations(Dataset):
    """Token sequences whose lengths follow a log-normal law, as those of chat data sets do: many short, a few very long."""

    def __init__(self, count, vocabulary, max_length, seed):
        draw = random.Random(seed)
        self.vocabulary = vocabulary
        self.lengths = [int(min(max_length, max(16, draw.lognormvariate(math.log(max_length / 5), 0.8)))) for _ in range(count)]

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return torch.randint(1, self.vocabulary, (self.lengths[index],), generator=generator)


def collate(samples):
    longest = max(len(sample) for sample in samples)
    width = (longest + 7) // 8 * 8
    ids = torch.full((len(samples), width), PAD)
    mask = torch.zeros(len(samples), width, dtype=torch.long)
    labels = torch.full((len(samples), width), IGNORE)
    for row, sample in enumerate(samples):
        ids[row, : len(sample)] = sample
        mask[row, : len(sample)] = 1
        labels[row, : len(sample)] = sample
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def build_model(name, max_length, device):
    layers, hidden, intermediate, heads, kv_heads, vocabulary = MODELS[name]
    config = LlamaConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocabulary,
        max_position_embeddings=max_length,
        use_cache=False,
    )
    with torch.device(device):
        return LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)


@torch.no_grad()
def evaluate(model, loader, device):
    model.eval()
    total = 0.0
    for batch in loader:
        total += model(**{name: tensor.to(device) for name, tensor in batch.items()}).loss.item()
    model.train()
    return total / len(loader)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="1b")
    parser.add_argument("--steps", type=int, default=30, help="optimizer steps (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="conversations in a micro-batch (default: %(default)s)")
    parser.add_argument("--accumulate", type=int, default=2, help="micro-batches for each optimizer step (default: %(default)s)")
    parser.add_argument("--max-length", type=int, default=2048, help="tokens (default: %(default)s)")
    parser.add_argument("--eval-every", type=int, default=10, help="optimizer steps (default: %(default)s)")
    parser.add_argument("--eval-batch", type=int, default=8, help="conversations in an evaluation batch (default: %(default)s)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    model = build_model(args.model, args.max_length, args.device)
    model.train()
    vocabulary = model.config.vocab_size
    train_set = Conversations(args.steps * args.accumulate * args.batch, vocabulary, args.max_length, args.seed)
    eval_set = Conversations(4 * args.eval_batch, vocabulary, args.max_length, args.seed + 1)
    shuffle = torch.Generator().manual_seed(args.seed)
    train_loader = DataLoader(train_set, batch_size=args.batch, shuffle=True, generator=shuffle, collate_fn=collate)
    eval_loader = DataLoader(eval_set, batch_size=args.eval_batch, collate_fn=collate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=args.steps // 10, num_training_steps=args.steps)

    step = 0
    for index, batch in enumerate(train_loader):
        batch = {name: tensor.to(args.device) for name, tensor in batch.items()}
        loss = model(**batch).loss / args.accumulate
        loss.backward()
        if (index + 1) % args.accumulate:
            continue
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        width = batch["input_ids"].shape[1]
        print(f"step {step}/{args.steps}: loss {loss.item() * args.accumulate:.3f}, {width} tokens wide", flush=True)
        if step % args.eval_every == 0:
            print(f"step {step}/{args.steps}: evaluation loss {evaluate(model, eval_loader, args.device):.3f}", flush=True)


if __name__ == "__main__":
    main()
