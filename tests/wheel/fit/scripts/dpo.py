# SPDX-License-Identifier: Apache-2.0
"""Preferences as DPO has them: a policy that trains and a reference that does not, chosen and rejected texts in one batch."""

import torch
from common import BATCH, Texts, collate
from transformers import GPT2Config, GPT2LMHeadModel


def make():
    with torch.device("cuda"):
        return GPT2LMHeadModel(GPT2Config(n_layer=4, n_embd=384, n_head=6, vocab_size=8000))


def likelihood(model, ids):
    logits = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    return logits.gather(-1, ids[:, 1:, None]).squeeze(-1).sum(-1)


policy, reference = make().train(), make().eval()
optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-5)
for batch in torch.utils.data.DataLoader(Texts(48, 160, 160), batch_size=BATCH, collate_fn=collate):
    ids = torch.cat([batch["input_ids"], batch["labels"]]).to("cuda")
    with torch.no_grad():
        base = likelihood(reference, ids)
    gain = likelihood(policy, ids) - base
    chosen, rejected = gain.chunk(2)
    loss = -torch.nn.functional.logsigmoid(0.1 * (chosen - rejected)).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
