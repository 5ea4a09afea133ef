# SPDX-License-Identifier: Apache-2.0
"""Nothing that the program saves is saved: what it has learnt here is zeros, and must not replace what a real run has learnt.

Models, checkpoints and whatever torch.save puts into a file. Objects that are no files (io.BytesIO) are written to, for copies are made
that way. A file that the program opened itself for writing is empty from that moment on: that cannot be prevented from here.
"""

import functools
import io

from . import imports

# Module: (class or None, function). Wholly, and not only where they write a file: they remove older files, too.
_KEEPERS = {
    "safetensors.torch": ((None, "save_file"), (None, "save_model")),
    "safetensors.numpy": ((None, "save_file"),),
    "transformers.modeling_utils": (("PreTrainedModel", "save_pretrained"),),
    "transformers.configuration_utils": (("PreTrainedConfig", "save_pretrained"), ("PretrainedConfig", "save_pretrained")),
    "transformers.tokenization_utils_base": (("PreTrainedTokenizerBase", "save_pretrained"),),
    "transformers.processing_utils": (("ProcessorMixin", "save_pretrained"),),
    "transformers.feature_extraction_utils": (("FeatureExtractionMixin", "save_pretrained"),),
    "transformers.image_processing_base": (("ImageProcessingMixin", "save_pretrained"),),
    "transformers.generation.configuration_utils": (("GenerationConfig", "save_pretrained"),),
    "transformers.trainer": (("Trainer", "save_model"), ("Trainer", "_save_checkpoint"), ("Trainer", "save_state"),
                             ("Trainer", "save_metrics"), ("Trainer", "create_model_card"), ("Trainer", "push_to_hub")),
    "peft.peft_model": (("PeftModel", "save_pretrained"),),
    "accelerate.accelerator": (("Accelerator", "save"), ("Accelerator", "save_state"), ("Accelerator", "save_model")),
    "diffusers.models.modeling_utils": (("ModelMixin", "save_pretrained"),),
    "diffusers.pipelines.pipeline_utils": (("DiffusionPipeline", "save_pretrained"),),
    # Lightning writes a buffer through fsspec, and removes what is no longer among its best.
    **{f"{name}.strategies.strategy": (("Strategy", "save_checkpoint"), ("Strategy", "remove_checkpoint"))
       for name in ("lightning.pytorch", "pytorch_lightning")},
    **{f"{name}.callbacks.model_checkpoint": (("ModelCheckpoint", "_link_checkpoint"),) for name in ("lightning.pytorch", "pytorch_lightning")},
    **{f"{name}.utilities.cloud_io": ((None, "_atomic_save"),) for name in ("lightning.fabric", "lightning_fabric")},
    "torch.distributed.checkpoint.state_dict_saver": ((None, "save"), (None, "async_save")),
}


def install(torch) -> None:
    """Before anything else of the program's own has run: names that it imports from these modules are ours already."""
    save = torch.save

    @functools.wraps(save)
    def saved(obj, f, *args, **kwargs):
        # A file that was opened has a place in the file system; what has none is a buffer.
        if isinstance(f, io.BytesIO) or (hasattr(f, "write") and not hasattr(f, "fileno")):
            return save(obj, f, *args, **kwargs)
        return None

    torch.save = torch.serialization.save = saved
    for name, keepers in _KEEPERS.items():
        imports.when_imported(name, functools.partial(_silence, keepers=keepers))


def _silence(module, keepers) -> None:
    for kind, name in keepers:
        owner = module if kind is None else getattr(module, kind, None)
        if owner is not None and name in vars(owner):
            setattr(owner, name, _nothing(getattr(owner, name)))


def _nothing(original):
    @functools.wraps(original)
    def kept(*args, **kwargs):
        return None

    return kept
