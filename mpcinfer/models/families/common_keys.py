"""Keys of a `config.json` that do not change the logits of any family."""

from __future__ import annotations

from typing import Any, cast

_KEYS = (
    # what a file is, and where it came from
    "model_type auto_map transformers_version transformers.js_config _name_or_path "
    "name_or_path _commit_hash _from_model_config unsloth_version unsloth_fixed "
    # how weights are stored, and how they are computed with
    "torch_dtype dtype use_bfloat16 torchscript tf_legacy_loss attn_implementation "
    "_attn_implementation _attn_implementation_autoset _flash_attn_2_enabled gradient_checkpointing "
    "chunk_size_feed_forward pretraining_tp use_cache return_dict use_return_dict output_attentions "
    "output_hidden_states is_decoder is_encoder_decoder is_llama_config rope_interleaved "
    # training, and other tasks
    "initializer_range attention_dropout hidden_dropout hidden_dropout_prob classifier_dropout "
    "embd_pdrop resid_pdrop attn_pdrop dropout embedding_dropout residual_dropout finetuning_task "
    "task_specific_params problem_type label2id "
    # tokens, and how answers are drawn
    "tokenizer_class prefix bos_token_id eos_token_id pad_token_id sep_token_id model_max_length "
    "decoder_start_token_id max_length min_length max_new_tokens min_new_tokens do_sample "
    "early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p typical_p "
    "repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size "
    "bad_words_ids num_return_sequences output_scores return_dict_in_generate forced_bos_token_id "
    "forced_eos_token_id remove_invalid_values exponential_decay_length_penalty suppress_tokens "
    "begin_suppress_tokens"
)
HONOURED = frozenset({"architectures", "id2label", "num_labels"})
"""A classifier's: `mpcinfer.models.families.label_keys`."""
MEANINGLESS = frozenset(_KEYS.split())
"""`pretraining_tp` cuts products into pieces; no family here reads `rope_interleaved`."""


def says_nothing(value: Any) -> bool:
    """Whether a value of an unknown key leaves all as it is: null, false, zero, nothing, or attention to all
    tokens before."""
    if isinstance(value, list) and value:
        return all(entry == "full_attention" for entry in cast("list[Any]", value))
    return value in (None, False, 0, "", [], {})
