/**
 * How many inputs one embeddings request may hold, by provider, as their references say; absent = nobody says, or its adapter knows better (by
 * the model: bedrock, vertex_ai). Longer lists are split (router-svc/providers/batched-embeddings.ts).
 */
export const EMBEDDING_LIMITS: Readonly<Record<string, number>> = {
  openai: 2048,
  azure: 2048,
  azure_ai: 2048,
  gemini: 100,
  cohere: 96,
  cohere_chat: 96,
  oci: 96,
  voyage: 1000,
  jina_ai: 2048,
  watsonx: 1000,
  databricks: 150,
  cloudflare: 100,
  zai: 64,
  dashscope: 10,
}
