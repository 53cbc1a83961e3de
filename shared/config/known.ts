/**
 * Names of LiteLLM's configuration, for telling what is not used yet from what is misspelt. Names that `config.ts` declares need
 * not stand here.
 */

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/))

export const KNOWN_SECTIONS = words(`
  include callback_settings guardrails policies policy_attachments mcp_servers mcp_tools agents prompts search_tools`)

/** OpenAI's request parameters (chat, completions, embeddings) and those LiteLLM treats like them: usable as defaults. */
export const OPENAI_PARAMS = words(`
  temperature top_p n stream stream_options stop max_tokens max_completion_tokens presence_penalty frequency_penalty logit_bias
  logprobs top_logprobs seed response_format tools tool_choice parallel_tool_calls functions function_call user reasoning_effort
  verbosity modalities audio prediction service_tier store metadata safety_identifier prompt_cache_key prompt_cache_retention
  web_search_options thinking suffix echo best_of dimensions encoding_format`)

/** Request parameters of single providers that resemble one of the names above. */
export const PROVIDER_PARAMS = words(`
  min_tokens max_new_tokens stop_sequences stop_token_ids prompt_logprobs repetition_penalty length_penalty typical_p
  thinking_config reasoning reasoning_format include_reasoning prompt_truncate safe_prompt random_seed truncate input_type
  user_id`)

/** Parameters of deployments that are for LiteLLM or for one provider's adapter, never for a request body. */
export const KNOWN_PARAMS = words(`
  azure_ad_token tenant_id client_id client_secret azure_scope vertex_project vertex_location vertex_credentials gcs_bucket_name
  vertex_ai_project vertex_ai_location vertex_ai_credentials
  aws_access_key_id aws_secret_access_key aws_session_token aws_region_name aws_session_name aws_profile_name aws_role_name
  aws_web_identity_token aws_sts_endpoint aws_bedrock_runtime_endpoint aws_bedrock_project_id aws_external_id
  model_id sagemaker_base_url s3_bucket_name s3_encryption_key_id watsonx_region_name project_id space_id keepalive_seconds
  allow_client_keepalive_override modify_params
  supports_system_message cache_control_injection_points merge_reasoning_content_in_choices use_chat_completions_api use_responses_api roles
  initial_prompt_value final_prompt_value bos_token eos_token hf_model_name input_type guardrails prompt_id ssl_verify
  max_file_size_mb configurable_clientside_auth_params use_in_pass_through auto_router_config auto_router_config_path
  auto_router_default_model auto_router_embedding_model complexity_router_config complexity_router_default_model
  adaptive_router_config adaptive_router_default_model quality_router_config quality_router_default_model vector_store_id
  milvus_text_field milvus_db_name milvus_partition_names model_info mock_tool_calls mock_timeout mock_delay
  token zen_api_key account_id oci_region oci_user oci_fingerprint oci_tenancy oci_key oci_key_file oci_compartment_id
  oci_serving_mode oci_endpoint_id return_raw_model_name`)

export const KNOWN_LITELLM_SETTINGS = words(`
  failure_callback input_callback service_callback service_callbacks audit_log_callbacks
  turn_off_message_logging redact_messages_in_exceptions langfuse_default_tags
  standard_logging_payload_excluded_fields json_logs set_verbose force_ipv4 modify_params add_function_to_prompt
  enable_redis_auth_cache disable_end_user_cost_tracking disable_end_user_cost_tracking_prometheus_only
  enable_end_user_cost_tracking_prometheus_only max_ui_session_budget include_cost_in_streaming_usage priority_reservation
  priority_reservation_settings public_model_groups public_mcp_servers public_agent_groups model_group_settings
  add_user_information_to_llm_headers mcp_aliases mcp_semantic_tool_filter responses_api
  use_chat_completions_url_for_anthropic_messages route_all_chat_openai_to_responses enable_preview_features
  enable_json_schema_validation skip_system_message_in_guardrail disable_hf_tokenizer_download
  disable_add_transform_inline_image_block disable_token_counter http2
  block_requests_for_models_without_pricing budget_exceeded_throttle_percentage enable_anthropic_prompt_caching
  anthropic_prompt_caching_ttl default_soft_budget disable_add_user_agent_to_request_tags
  return_response_headers log_raw_request_response custom_prometheus_metadata_labels custom_prometheus_tags
  prometheus_metrics_config prometheus_initialize_budget_metrics prometheus_emit_stream_label store_audit_logs ssl_verify
  ssl_certificate ssl_security_level s3_callback_params datadog_params aws_sqs_callback_params prompts global_prompt_directory
  guardrails banned_keywords_list llm_guard_mode presidio_ad_hoc_recognizers output_parse_pii telemetry model_alias_map`)

export const KNOWN_ROUTER_SETTINGS = words(`
  redis_db cache_responses cache_kwargs client_ttl polling_interval ignore_invalid_deployments assistants_config search_tools
  guardrail_list alerting_config router_general_settings debug_level set_verbose`)

export const KNOWN_GENERAL_SETTINGS = words(`
  database_connection_timeout database_connection_pool_timeout database_type disable_prisma_schema_update
  allow_requests_on_db_unavailable supported_db_objects litellm_license control_plane_url completion_model embedding_model
  image_generation_model moderation_model infer_model_from_keys max_response_size_mb max_in_flight_requests_per_worker
  max_queued_requests_per_worker admission_queue_timeout_seconds max_file_size_mb max_batch_file_size_mb allowed_file_extensions
  fail_closed_rate_limit_enforcement coordination_redis token_rate_limit_type disable_retry_on_max_parallel_request_limit_error
  custom_auth custom_auth_settings custom_auth_run_common_checks enable_jwt_auth litellm_jwtauth enable_oauth2_auth
  enable_oauth2_proxy_auth oauth2_config_mappings role_permissions enforce_rbac admin_only_routes allowed_ips
  invalid_virtual_key_cache_ttl custom_key_update allow_user_auth forward_client_headers_to_llm_api
  forward_openai_org_id forward_llm_provider_auth_headers disable_budget_reservation fail_closed_budget_enforcement
  disable_spend_logs disable_spend_updates disable_error_logs disable_reset_budget disable_adding_master_key_hash_to_db
  store_prompts_in_spend_logs maximum_spend_logs_retention_interval maximum_spend_logs_cleanup_cron
  proxy_budget_rescheduler_min_time proxy_budget_rescheduler_max_time proxy_batch_write_at
  use_redis_transaction_buffer spend_report_frequency health_check_details use_shared_health_check model_list_healthy_only
  allow_public_health_readiness_details enable_drain_endpoint health_check_skip_disabled_background_models alerting_threshold
  alert_types alert_type_config alert_to_webhook_url alerting_args ui_access_mode custom_sso custom_ui_sso_sign_in_handler
  auto_redirect_ui_login_to_sso disable_master_key_return proxy_base_url key_management_system key_management_settings
  use_google_kms use_azure_key_vault use_aws_kms mcp_internal_ip_ranges mcp_trusted_proxy_ranges mcp_required_fields
  mcp_client_side_auth_header_name require_key_mcp_access_defined enable_mcp_registry user_mcp_management_mode
  require_end_user_mcp_access_defined disable_responses_id_security enable_public_model_hub
  disable_vector_stores_for_internal_users store_model_in_db global_max_parallel_requests
  user_api_key_cache_ttl custom_key_generate`)

/** Known names that limit what callers may do: where one has no effect, its operator believes in a protection that is not there. */
export const RESTRICTIONS = words(`
  guardrails policies block_requests_for_models_without_pricing banned_keywords_list custom_auth enable_jwt_auth
  enable_oauth2_auth enable_oauth2_proxy_auth enforce_rbac role_permissions admin_only_routes allowed_ips custom_key_generate
  custom_key_update global_max_parallel_requests turn_off_message_logging`)

/** Providers LiteLLM names; the ones that the provider table lacks are left out with a warning instead of refused as misspelt. */
export const KNOWN_PROVIDERS = words(`
  abliteration ai21 ai21_chat aiml aleph_alpha amazon_nova anthropic anthropic_text anyscale assemblyai auto_router azure
  azure_ai azure_text baseten bedrock bedrock_converse bedrock_agentcore bedrock_mantle black_forest_labs bytez cerebras chutes
  clarifai cloudflare codestral cohere cohere_chat cometapi compactifai custom custom_openai dashscope databricks datarobot
  deepgram deepinfra deepseek docker_model_runner elevenlabs empower fal_ai featherless_ai fireworks_ai friendliai galadriel
  gemini gigachat github github_copilot gmi gradient_ai groq heroku helicone hosted_vllm huggingface hyperbolic infinity jina_ai
  lambda_ai langgraph lemonade litellm_proxy llamafile llamagate lm_studio manus maritalk meta_llama minimax mistral moonshot
  morph nano-gpt nebius nlp_cloud novita nscale nvidia_nim oci ollama ollama_chat oobabooga openai openai_like openrouter
  ovhcloud palm perplexity petals poe predibase publicai ragflow recraft replicate runwayml sagemaker sagemaker_chat sambanova
  sap sarvam scaleway snowflake stability synthetic text-completion-codestral text-completion-openai together_ai topaz triton v0
  vercel_ai_gateway veniceai vertex_ai vllm volcengine voyage wandb watsonx watsonx_text xai xiaomi_mimo xinference zai`)

/** Prices by name: too many variants to list, and none of them belongs into a request body. */
export function isPriceName(name: string): boolean {
  return /(_cost_per_|_token_cost|_cost_)|^tiered_pricing$|^regional_processing_uplift_multiplier_/.test(name)
}
