"""The one table between our parameter names and the published checkpoints'."""

from __future__ import annotations

import re

# Ours on the left, published on the right; every rule that matches is applied, from the top down.
_RULES = (
    # encoder
    (r"^encoder\.patch\.", "encoder.patch_embed.proj."),
    (r"^encoder\.class_token$", "encoder.cls_token"),
    (r"^encoder\.position$", "encoder.pos_embed"),
    (r"^encoder\.registers$", "encoder.register_tokens"),
    # the metric head's blocks, before the blocks that all others share
    (r"^heads\.metric\.(blocks\.\d+)\.attention_norm\.", r"metric_decoder.\1.norm2."),
    (r"^heads\.metric\.(blocks\.\d+)\.context_norm\.", r"metric_decoder.\1.norm_y."),
    (r"^heads\.metric\.(blocks\.\d+)\.mlp_norm\.", r"metric_decoder.\1.norm3."),
    (r"^heads\.metric\.(blocks\.\d+)\.attention\.", r"metric_decoder.\1.cross_attn."),
    (r"^heads\.metric\.blocks\.", "metric_decoder.blocks."),
    # inside a block
    (r"\.attention_norm\.", ".norm1."),
    (r"\.attention\.", ".attn."),
    (r"\.attention_scale\.", ".ls1."),
    (r"\.mlp_norm\.", ".norm2."),
    (r"\.mlp_scale\.", ".ls2."),
    # decoder
    (r"^decoder\.registers$", "register_token"),
    (r"^decoder\.roles\.", "pe_token_"),
    (r"^decoder\.blocks\.", "decoder."),
    # memory
    (r"^decoder\.memory\.ttt\.(\d+)\.gate\.", r"ttt_gate_projs.\1."),
    (r"^decoder\.memory\.ttt\.(\d+)\.to_rates\.", r"ttt_layers.\1.lr_fc."),
    (r"^decoder\.memory\.ttt\.(\d+)\.output_norm\.", r"ttt_layers.\1.o_norm."),
    (r"^decoder\.memory\.ttt\.(\d+)\.proj\.", r"ttt_layers.\1.c_proj."),
    (r"^decoder\.memory\.ttt\.", "ttt_layers."),
    (r"^decoder\.memory\.swa\.(\d+)\.gate\.", r"swa_gate_projs.\1."),
    (r"^decoder\.memory\.swa\.(\d+)\.block\.", r"swa_layers.\1."),
    # heads
    (r"^heads\.confidence_transformer\.", "conf_decoder."),
    (r"^heads\.(point|camera)_transformer\.", r"\1_decoder."),
    (r"^(point|conf|camera)_decoder\.input\.", r"\1_decoder.projects."),
    (r"^(point|conf|camera)_decoder\.output\.", r"\1_decoder.linear_out."),
    (r"^heads\.points\.stages\.", "point_head.upsample_blocks."),
    (r"^heads\.points\.outputs\.", "point_head.output_block."),
    (r"^heads\.points\.", "point_head."),
    (r"^heads\.confidence\.", "conf_head."),
    (r"^heads\.camera\.residuals\.(\d+)\.layers\.0\.", r"camera_head.res_conv.\1.res_conv1."),
    (r"^heads\.camera\.residuals\.(\d+)\.layers\.1\.", r"camera_head.res_conv.\1.res_conv2."),
    (r"^heads\.camera\.residuals\.(\d+)\.layers\.2\.", r"camera_head.res_conv.\1.res_conv3."),
    (r"^heads\.camera\.perceptron\.0\.", "camera_head.more_mlps.0."),
    (r"^heads\.camera\.perceptron\.1\.", "camera_head.more_mlps.2."),
    (r"^heads\.camera\.translation\.", "camera_head.fc_t."),
    (r"^heads\.camera\.rotation\.", "camera_head.fc_rot."),
    (r"^heads\.metric\.token$", "metric_token"),
    (r"^heads\.metric\.token_input\.", "metric_decoder.projects_x."),
    (r"^heads\.metric\.context_input\.", "metric_decoder.projects_y."),
    (r"^heads\.metric\.output\.", "metric_decoder.linear_out."),
    (r"^heads\.metric\.scale\.", "metric_head."),
)
_COMPILED = tuple((re.compile(pattern), replacement) for pattern, replacement in _RULES)

# In the published files, and used by nothing.
UNUSED = re.compile(r"^ttt_layers\.\d+\.to_qkv_stack\.")


def published_name(ours: str) -> str:
    """The published checkpoints' name of our parameter `ours`."""
    for pattern, replacement in _COMPILED:
        ours = pattern.sub(replacement, ours)
    return ours
