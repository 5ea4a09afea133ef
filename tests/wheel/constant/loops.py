# SPDX-License-Identifier: Apache-2.0
"""Four training loops of constant shapes, of the sizes of the recorded traces gpt2s_pad, llama1b_ckpt_pack, vit_const and unet_const.

Each is a function of `phase`, to be called with a name at the start of each step: "train" or "eval".
"""

import copy

import torch
from torch import nn
from torch.nn import functional as F


def tokens(vocabulary, *shape):
    return torch.randint(0, vocabulary, shape).to("cuda")


def gpt2_padded(phase):
    """GPT-2 small, batches of 8 rows padded to 1024; an evaluation of 16 rows after every step"""
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.device("cuda"):
        model = GPT2LMHeadModel(GPT2Config())
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    for _ in range(10):
        phase("train")
        model.train()
        ids = tokens(50257, 8, 1024)
        mask = torch.ones(8, 1024, dtype=torch.long).to("cuda")
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(input_ids=ids, attention_mask=mask, labels=ids).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        del loss
        phase("eval")
        model.eval()
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
            model(input_ids=tokens(50257, 16, 1024)).logits.argmax(-1).cpu()


def llama_packed(phase):
    """Llama of 1.1 billion parameters in bfloat16, packed to 4 rows of 2048, gradient checkpointing"""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(num_hidden_layers=22, hidden_size=2048, intermediate_size=5632, num_attention_heads=32,
                         num_key_value_heads=4, vocab_size=32000)
    with torch.device("cuda"):
        model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
    model.gradient_checkpointing_enable()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(7):
        phase("train")
        ids = tokens(32000, 4, 2048)
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()


def vit(phase):
    """ViT-B/16 in mixed precision with an averaged copy, 64 pictures a step; the copy evaluates 128 after every step"""
    from transformers import ViTConfig, ViTForImageClassification

    with torch.device("cuda"):
        model = ViTForImageClassification(ViTConfig(num_labels=1000))
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    scaler = torch.amp.GradScaler("cuda")
    for _ in range(10):
        phase("train")
        pictures = torch.empty(64, 3, 224, 224).to("cuda")
        labels = torch.zeros(64, dtype=torch.long).to("cuda")
        with torch.autocast("cuda", torch.float16):
            loss = model(pixel_values=pictures, labels=labels).loss
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 0.001)
        loss.item()
        phase("eval")
        with torch.no_grad(), torch.autocast("cuda", torch.float16):
            average(pixel_values=torch.empty(128, 3, 224, 224).to("cuda")).logits.argmax(-1).cpu()


class Residual(nn.Module):
    def __init__(self, channels_in, channels, time=512):
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(32, channels_in), nn.SiLU(), nn.Conv2d(channels_in, channels, 3, padding=1))
        self.time = nn.Linear(time, channels)
        self.second = nn.Sequential(nn.GroupNorm(32, channels), nn.SiLU(), nn.Dropout(0.1), nn.Conv2d(channels, channels, 3, padding=1))
        self.skip = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else nn.Identity()

    def forward(self, x, time):
        return self.skip(x) + self.second(self.first(x) + self.time(time)[:, :, None, None])


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.GroupNorm(32, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, 3, 8, c // 8, h * w).transpose(-1, -2).unbind(1)
        return x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(b, c, h, w))


class UNet(nn.Module):
    """Down and up again, two residual blocks a level, attention at the two lowest levels."""

    def __init__(self, widths=(128, 256, 512, 512), channels=4):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(128, 512), nn.SiLU(), nn.Linear(512, 512))
        self.enter = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        width, skips = widths[0], [widths[0]]
        for level, out in enumerate(widths):
            for _ in range(2):
                self.down.append(nn.ModuleList([Residual(width, out), Attention(out) if level >= 2 else nn.Identity()]))
                width = out
                skips.append(width)
            if level < len(widths) - 1:
                self.down.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
        self.middle = nn.ModuleList([Residual(width, width), Attention(width), Residual(width, width)])
        for level, out in reversed(list(enumerate(widths))):
            for _ in range(3):
                self.up.append(nn.ModuleList([Residual(width + skips.pop(), out), Attention(out) if level >= 2 else nn.Identity()]))
                width = out
            if level:
                self.up.append(nn.Conv2d(width, width, 3, padding=1))
        self.leave = nn.Sequential(nn.GroupNorm(32, width), nn.SiLU(), nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, x, time):
        time = self.time(time)
        x = self.enter(x)
        kept = [x]
        for block in self.down:
            x = block[1](block[0](x, time)) if isinstance(block, nn.ModuleList) else block(x)
            kept.append(x)
        x = self.middle[2](self.middle[1](self.middle[0](x, time)), time)
        for block in self.up:
            if isinstance(block, nn.ModuleList):
                x = block[1](block[0](torch.cat([x, kept.pop()], 1), time))
            else:
                x = block(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.leave(x)


def unet(phase):
    """A diffusion UNet in mixed precision with an averaged copy, 16 latents of 4x64x64"""
    with torch.device("cuda"):
        model, average = UNet(), UNet().requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters())
    scaler = torch.amp.GradScaler("cuda")
    for _ in range(16):
        phase("train")
        latents = torch.empty(16, 4, 64, 64).to("cuda")
        noise = torch.randn_like(latents)
        time = torch.empty(16, 128).to("cuda")
        with torch.autocast("cuda", torch.float16):
            loss = F.mse_loss(model(latents + noise, time).float(), noise)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 0.001)
        loss.item()
