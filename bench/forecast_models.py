# SPDX-License-Identifier: Apache-2.0
"""Training steps of a batch of n samples, for bench/forecast and bench/record_steps. Needs torch, transformers, peft."""


def gpt2(length, checkpointing=False):
    from transformers import GPT2Config, GPT2LMHeadModel

    return _model(GPT2LMHeadModel, GPT2Config(), 50257, length, autocast=not checkpointing, checkpointing=checkpointing)


def llama(length, layers, hidden, inner, heads, kv_heads, attention="sdpa", checkpointing=False, lora=False):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(num_hidden_layers=layers, hidden_size=hidden, intermediate_size=inner, num_attention_heads=heads,
                         num_key_value_heads=kv_heads, vocab_size=32000, attn_implementation=attention, use_cache=False)
    return _model(LlamaForCausalLM, config, 32000, length, half=True, checkpointing=checkpointing, lora=lora)


def llama_large(length, **options):
    return llama(length, 22, 2048, 5632, 32, 4, **options)


def bert(length):
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    return _model(BertForSequenceClassification, BertConfig(), 30522, length, autocast=True,
                  labels=lambda n: torch.zeros(n, dtype=torch.long))


def vit(size, layers=12):
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    return _model(ViTForImageClassification, ViTConfig(num_hidden_layers=layers, image_size=size), 0, size, autocast=True,
                  inputs=lambda n: {"pixel_values": torch.rand(n, 3, size, size)}, labels=lambda n: torch.zeros(n, dtype=torch.long))


def t5(length):
    from transformers import T5Config, T5ForConditionalGeneration

    return _model(T5ForConditionalGeneration, T5Config(decoder_start_token_id=0), 32128, length)


def distilbert(length, checkpointing=False):
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    return _model(DistilBertForMaskedLM, DistilBertConfig(), 30522, length, autocast=True, checkpointing=checkpointing)


def resnet(size):
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification

    return _model(ResNetForImageClassification, ResNetConfig(), 0, size,
                  inputs=lambda n: {"pixel_values": torch.rand(n, 3, size, size)}, labels=lambda n: torch.zeros(n, dtype=torch.long))


def qwen(length, checkpointing=False):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(num_hidden_layers=12, hidden_size=768, intermediate_size=2304, num_attention_heads=12, num_key_value_heads=4,
                         head_dim=64, vocab_size=60000, use_cache=False)
    return _model(Qwen3ForCausalLM, config, 60000, length, half=True, checkpointing=checkpointing)


def roberta(length):
    from transformers import RobertaConfig, RobertaForMaskedLM

    return _model(RobertaForMaskedLM, RobertaConfig(), 50265, length)


def opt(length):
    from transformers import OPTConfig, OPTForCausalLM

    return _model(OPTForCausalLM, OPTConfig(), 50272, length, half=True)


def neox(length):
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(num_hidden_layers=12, hidden_size=768, intermediate_size=3072, num_attention_heads=12)
    return _model(GPTNeoXForCausalLM, config, 50000, length, autocast=True)


def bart(length):
    from transformers import BartConfig, BartForConditionalGeneration

    config = BartConfig(encoder_layers=6, decoder_layers=6, d_model=768, encoder_ffn_dim=3072, decoder_ffn_dim=3072,
                        encoder_attention_heads=12, decoder_attention_heads=12)
    return _model(BartForConditionalGeneration, config, 50000, length, autocast=True)


def swin(size):
    import torch
    from transformers import SwinConfig, SwinForImageClassification

    return _model(SwinForImageClassification, SwinConfig(image_size=size), 0, size, autocast=True,
                  inputs=lambda n: {"pixel_values": torch.rand(n, 3, size, size)}, labels=lambda n: torch.zeros(n, dtype=torch.long))


def convnext(size):
    import torch
    from transformers import ConvNextConfig, ConvNextForImageClassification

    return _model(ConvNextForImageClassification, ConvNextConfig(image_size=size), 0, size,
                  inputs=lambda n: {"pixel_values": torch.rand(n, 3, size, size)}, labels=lambda n: torch.zeros(n, dtype=torch.long))


# First measured after the rules for sums over rows and for places were made. RoBERTa has changed one since.
HELD_OUT_LATER = {
    "roberta": ("RoBERTa-base, fp32, 192", lambda: roberta(192)),
    "opt": ("OPT-125M, bf16, 512", lambda: opt(512)),
    "neox": ("GPT-NeoX-style 0.16B, bf16 autocast, 384", lambda: neox(384)),
    "bart": ("BART-base, bf16 autocast, 256", lambda: bart(256)),
    "swin": ("Swin-tiny, bf16 autocast, 224 px", lambda: swin(224)),
    "convnext": ("ConvNeXt-tiny, fp32, 160 px", lambda: convnext(160)),
}
# Not looked at when the first rules that say what grows were made. ViT and T5 have changed some since.
HELD_OUT = {
    "vit": ("ViT-base, bf16 autocast, 224 px", lambda: vit(224)),
    "vit_large_image": ("ViT, 6 layers, bf16 autocast, 384 px", lambda: vit(384, 6)),
    "t5": ("T5-small, fp32, 256", lambda: t5(256)),
    "t5_long": ("T5-small, fp32, 640", lambda: t5(640)),
    "distilbert": ("DistilBERT, bf16 autocast, 128", lambda: distilbert(128)),
    "distilbert_long": ("DistilBERT, bf16 autocast, 512", lambda: distilbert(512)),
    "resnet": ("ResNet-50, fp32, 160 px", lambda: resnet(160)),
    "resnet_large_image": ("ResNet-50, fp32, 288 px", lambda: resnet(288)),
    "qwen": ("Qwen-style 0.13B, 768", lambda: qwen(768)),
    "qwen_checkpointing": ("Qwen-style 0.13B, checkpointing, 2048", lambda: qwen(2048, True)),
}
MODELS = {
    "gpt2": ("GPT-2 small, bf16 autocast, 512 tokens", lambda: gpt2(512)),
    "gpt2_checkpointing": ("GPT-2 small, gradient checkpointing, 1024", lambda: gpt2(1024, checkpointing=True)),
    "llama_eager": ("Llama-style 0.2B, eager attention, 1024", lambda: llama(1024, 8, 1024, 2816, 16, 8, attention="eager")),
    "llama_full": ("Llama-style 1.1B, full, 512", lambda: llama_large(512)),
    "llama_lora": ("Llama-style 1.1B, LoRA, 1024", lambda: llama_large(1024, lora=True)),
    "llama_checkpointing": ("Llama-style 1.1B, checkpointing, 2048", lambda: llama_large(2048, checkpointing=True)),
    "bert": ("BERT-base, bf16 autocast, 256", lambda: bert(256)),
}

ALL = MODELS | HELD_OUT | HELD_OUT_LATER


def _model(kind, config, words, length, *, autocast=False, half=False, checkpointing=False, lora=False, labels=None, inputs=None):
    """A function that trains one step of n samples."""
    import contextlib

    import gapless
    import torch

    torch.set_default_dtype(torch.bfloat16 if half else torch.float32)
    with torch.device("cuda"):
        model = kind(config)
    torch.set_default_dtype(torch.float32)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if lora:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])

    def step(n):
        given = inputs(n) if inputs is not None else {"input_ids": torch.randint(0, words, (n, length))}
        target = (labels(n) if labels is not None else given["input_ids"]).to("cuda")
        with torch.autocast("cuda", torch.bfloat16) if autocast else contextlib.nullcontext():
            loss = model(**{name: value.to("cuda") for name, value in given.items()}, labels=target).loss
        loss.backward()
        gapless.mark_phase("optimizer")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step.rewind = lambda: optimizer.zero_grad(set_to_none=True)
    return step
