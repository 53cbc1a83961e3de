import type { Mode } from '../../proto/endpoints.ts'
import { isFields } from '../../router-svc/providers/json.ts'
import type { Recorded } from './recorded-answers.testkit.ts'
import type { Family } from './recorded-words.testkit.ts'

/** Whose adapter reads a recorded answer, and how the recording itself is read to hold the two against each other. */
export interface Reading {
  provider: string
  /** `responses`: a chat in OpenAI's other protocol. `carried`: an object of OpenAI's, sent on with our ids. */
  mode: Mode | 'responses' | 'carried'
  /** Of chats and texts. */
  family?: Family
  model: string
}

/** By where it was asked; the first that fits. */
const HOSTS: readonly (readonly [RegExp, string])[] = [
  [/^https:\/\/api\.openai\.com\//, 'openai'],
  [/^https:\/\/api\.anthropic\.com\//, 'anthropic'],
  [/^https:\/\/generativelanguage\.googleapis\.com\//, 'gemini'],
  [/aiplatform\.googleapis\.com\//, 'vertex_ai'],
  [/^https:\/\/bedrock-mantle\./, 'bedrock_mantle'],
  // Bedrock's own OpenAI endpoint.
  [/^https:\/\/bedrock-runtime\..*\/openai\//, 'bedrock_mantle'],
  [/^https:\/\/bedrock-runtime\./, 'bedrock'],
  [/\.services\.ai\.azure\.com\//, 'azure_ai'],
  [/\.openai\.azure\.com\//, 'azure'],
  [/^https:\/\/api\.cerebras\.ai\//, 'cerebras'],
  [/^https:\/\/api\.cohere\.com\/compatibility\//, 'openai_like'],
  [/^https:\/\/api\.cohere\.com\//, 'cohere'],
  [/^__databricks__/, 'databricks'],
  [/^https:\/\/api\.deepgram\.com\//, 'deepgram'],
  [/^https:\/\/api\.deepseek\.com\//, 'deepseek'],
  [/^https:\/\/(?:fal\.run|router\.huggingface\.co\/fal-ai)\//, 'fal_ai'],
  [/^https:\/\/api\.fireworks\.ai\//, 'fireworks_ai'],
  [/^https:\/\/api\.groq\.com\//, 'groq'],
  [/^https:\/\/api\.hyperbolic\.xyz\//, 'hyperbolic'],
  [/^https:\/\/api\.mistral\.ai\b/, 'mistral'],
  [/^https:\/\/api\.studio\.nebius\.ai\//, 'nebius'],
  [/^https:\/\/api\.novita\.ai\//, 'novita'],
  [/:11434\/api\//, 'ollama'],
  [/:11434\/v1\/messages$/, 'anthropic'],
  [/^<OLLAMA_API_BASE>|^https:\/\/ollama\.com\/v1/, 'openai_like'],
  [/^https:\/\/openrouter\.ai\//, 'openrouter'],
  [/^https:\/\/api\.perplexity\.ai\//, 'perplexity'],
  [/^https:\/\/api\.replicate\.com\//, 'replicate'],
  [/^https:\/\/api\.sambanova\.ai\//, 'sambanova'],
  [/^https:\/\/api\.together\.xyz\//, 'together_ai'],
  [/^http:\/\/localhost:8000\//, 'hosted_vllm'],
  // Chats are Hugging Face's; texts it has none of, whoever wants them names the server itself.
  [/^http:\/\/localhost:8080\/v1\/completions/, 'openai_like'],
  [/^http:\/\/localhost:8080\//, 'huggingface'],
  [/^https:\/\/api\.voyageai\.com\//, 'voyage'],
  [/^https:\/\/us-south\.ml\.cloud\.ibm\.com\/ml\/v1\//, 'watsonx'],
  [/^https:\/\/us-south\.ml\.cloud\.ibm\.com\/ml\/v1-beta\/generation/, 'watsonx_text'],
  [/^https:\/\/api\.writer\.com/, 'openai_like'],
  [/^https:\/\/api\.x\.ai\//, 'xai'],
  [/^https:\/\/api\.z\.ai\//, 'zai'],
  // The hosts behind the router answer in their own words, the router passes them on.
  [/^https:\/\/router\.huggingface\.co\/cerebras\//, 'cerebras'],
  [/^https:\/\/router\.huggingface\.co\/hyperbolic\//, 'hyperbolic'],
  [/^https:\/\/router\.huggingface\.co\/nebius\//, 'nebius'],
  [/^https:\/\/router\.huggingface\.co\/novita\//, 'novita'],
  [/^https:\/\/router\.huggingface\.co\/sambanova\//, 'sambanova'],
  [/^https:\/\/router\.huggingface\.co\/together\//, 'together_ai'],
  // Hugging Face's own text generation, which its server speaks to this day, on SageMaker too.
  [/\/hf-inference\/models\/(?!.*\/v1\/)|\/models\/gpt2$|endpoints\.huggingface\.cloud\/$/, 'sagemaker'],
  [/huggingface\.co\//, 'huggingface'],
]

type Told = readonly [mode: Reading['mode'], family?: Family | undefined]

/** By what was asked there; the first that fits. */
const PATHS: readonly (readonly [RegExp, ...Told])[] = [
  [/^POST .*\/chat\/completions$/, 'chat', 'openai'],
  [/^POST .*\/api\.writer\.com(?::443)?\/v1\/chat$/, 'chat', 'openai'],
  [/^POST .*\/v1\/completions$/, 'completion', 'openai'],
  [/^POST .*(?<!\/api)\/embeddings$/, 'embedding'],
  [/^POST .*\/v1\/messages$/, 'chat', 'anthropic'],
  [/^POST .*\/messages\/count_tokens$/, 'count_tokens'],
  [/^POST .*\/responses$/, 'responses', 'responses'],
  [/^POST .*:(?:streamG|g)enerateContent$/, 'chat', 'gemini'],
  [/^POST .*:countTokens$/, 'count_tokens'],
  [/^POST .*:(?:batchEmbedContents|embedContent)$/, 'embedding'],
  [/^POST .*\/text-embedding-\d+:predict$/, 'embedding'],
  [/^POST .*\/converse(?:-stream)?$/, 'chat', 'converse'],
  [/^POST .*\/anthropic\.[^/]*\/invoke$|^POST .*\.anthropic\.[^/]*\/invoke$/, 'chat', 'anthropic'],
  [/^POST .*titan-embed[^/]*\/invoke$/, 'embedding'],
  [/^POST .*nova[^/]*\/invoke-with-response-stream$/, 'chat', 'converse'],
  [/^POST .*titan-text[^/]*\/invoke(?:-with-response-stream)?$/, 'chat', 'text'],
  [/^POST .*\/hf-inference\/models\/|^POST .*\/models\/gpt2$|endpoints\.huggingface\.cloud\/$/, 'chat', 'text'],
  [/^POST .*\/v2\/chat$/, 'chat', 'cohere'],
  [/^POST .*\/v2\/embed$/, 'embedding'],
  [/^POST .*\/(?:v2\/|v1\/)rerank$/, 'rerank'],
  [/^POST .*\/api\/chat$/, 'chat', 'ollama'],
  [/^POST .*\/api\/generate$/, 'completion', 'ollama'],
  [/^POST .*\/api\/embeddings$/, 'embedding'],
  [/^POST .*\/generation\/text(?:_stream)?$/, 'chat', 'text'],
  [/^POST .*\/images(?:\/generations)?$/, 'image'],
  [/^POST .*\/flux\/schnell$|^POST .*\/fal-ai\/lora$|api\.replicate\.com\/v1\/predictions$/, 'image'],
  [/^POST .*\/messages\/batches$|^GET .*\/messages\/batches\/\w+$/, 'carried'],
  [/api\.mistral\.ai\/v1\/files$/, 'carried'],
  [/^POST https:\/\/api\.mistral\.ai$/, 'chat', 'openai'],
  [/^POST .*\/pipeline\/question-answering\//, 'chat', 'text'],
  [/^POST .*\/audio\/transcriptions$|^POST .*\/(?:listen|stt|wizper|whisper)$/, 'transcription'],
  [/^POST .*\/audio\/speech$|^POST .*\/(?:speak|tts)$/, 'speech'],
  [/^POST .*\/moderations$/, 'moderation'],
  [/api\.openai\.com\/v1\/(?:files|batches|threads|assistants|vector_stores)(?:\/|$)/, 'carried'],
]

/** By name, where the address was not kept: captures through an SDK, and bare bodies. */
const FILES: readonly (readonly [RegExp, string, ...Told])[] = [
  [/^translation\/.*_to_vertex-anthropic\./, 'vertex_ai', 'chat', 'anthropic'],
  [/^translation\/.*_to_anthropic\./, 'anthropic', 'chat', 'anthropic'],
  [/^translation\/.*_to_bedrock\./, 'bedrock', 'chat', 'converse'],
  [/^translation\/.*_to_google\./, 'gemini', 'chat', 'gemini'],
  [/^translation\/.*_to_responses\./, 'openai', 'responses', 'responses'],
  [/^translation\/.*_to_chat-completions\./, 'openai', 'chat', 'openai'],
  [/^alibaba\//, 'dashscope', 'chat', 'openai'],
  [/^anthropic\//, 'anthropic', 'chat', 'anthropic'],
  [/^azure\/stream-text__vercel-ai__azure-model-router/, 'azure', 'chat', 'openai'],
  [/^azure\//, 'azure', 'responses', 'responses'],
  [/^bedrock\/rerank__/, 'bedrock', 'rerank'],
  [/^bedrock\/.*bedrock-anthropic\.json$/, 'bedrock', 'chat', 'anthropic'],
  [/^bedrock\//, 'bedrock', 'chat', 'converse'],
  [/^cerebras\//, 'cerebras', 'chat', 'openai'],
  [/^cohere\/embeddings__/, 'cohere', 'embedding'],
  [/^cohere\/rerank__/, 'cohere', 'rerank'],
  [/^cohere\//, 'cohere', 'chat', 'cohere'],
  [/^deepgram\/stt__/, 'deepgram', 'transcription'],
  [/^deepseek\//, 'deepseek', 'chat', 'openai'],
  [/^elevenlabs\/stt__/, 'elevenlabs', 'transcription'],
  [/^fal\/stt__/, 'fal_ai', 'transcription'],
  [/^gemini\/(?!.*interactions__)/, 'gemini', 'chat', 'gemini'],
  [/^groq\/stt__/, 'groq', 'transcription'],
  [/^groq\//, 'groq', 'chat', 'openai'],
  [/^lmstudio\//, 'lm_studio', 'responses', 'responses'],
  [/^mistral\/stt__/, 'mistral', 'transcription'],
  [/^mistral\//, 'mistral', 'chat', 'openai'],
  [/^moonshot\//, 'moonshot', 'chat', 'openai'],
  [/^openai\/images__/, 'openai', 'image'],
  [/^openai\/stream-completions__/, 'openai', 'completion', 'openai'],
  [/^openai\//, 'openai', 'chat', 'openai'],
  [/^openai-responses\//, 'openai', 'responses', 'responses'],
  [/^perplexity\//, 'perplexity', 'chat', 'openai'],
  [/^together\/rerank__/, 'together_ai', 'rerank'],
  [/^vertex\/embeddings__/, 'vertex_ai', 'embedding'],
  [/^vertex\/.*vertex-anthropic\.json$/, 'vertex_ai', 'chat', 'anthropic'],
  [/^voyage\//, 'voyage', 'embedding'],
  [/^xai\/stream-thinking__vercel-ai__xai-text/, 'xai', 'chat', 'openai'],
  [/^xai\//, 'xai', 'responses', 'responses'],
]

/** What no adapter reads, and why. By `folder/file METHOD address`. */
export const LEFT: readonly (readonly [RegExp, string])[] = [
  [
    / GET .*\/(?:models|available-models|foundation_model_specs)$| POST .*\/v1\/models$/,
    'a list of models: the gateway has its own',
  ],
  [/ POST .*\/(?:oidc\/token|traces\/ingest)$| GET .*\/ml\/v4\/instances\//, 'of the recorder: credentials, traces'],
  [/^gemini\/.*interactions__/, 'Interactions, which no client of a gateway speaks: carried unread by the pass-through'],
  [
    / \S+ https:\/\/generativelanguage\.googleapis\.com\/(?:upload\/)?v1beta\/(?:files|fileSearchStores|cachedContents|batches)\b/,
    'carried unread by the pass-through',
  ],
  [/:batchGenerateContent$/, 'carried unread by the pass-through'],
  [
    /^gemini\/text__js-genai__Client_Tests_generateContentStream_ML_Dev_should_return_the_heade/,
    'of the answer only the headers were kept',
  ],
  [/:computeTokens$/, 'ids of tokens, which no endpoint of ours tells'],
  [/\/tokenize$/, 'ids of tokens, which no endpoint of ours tells'],
  [/^bedrock\/.*\/count-tokens$|^vertex\/.*:countTokens$/, 'counted by the gateway itself: the adapter asks nobody'],
  [
    / POST .*\/responses\/(?:compact|input_tokens)$| GET .*\/v1\/responses\/\w+$/,
    'carried to whoever made the response, in its own words',
  ],
  [/ POST .*\/v1\/realtime\/calls$/, 'carried unread: an SDP answer'],
  [/\/messages\/batches\/\w+\/results$/, 'carried unread, in lines'],
  [/ \S+ https:\/\/api\.anthropic\.com\/v1\/(?:files|complete)\b/, 'carried unread by the pass-through'],
  [/ \S+ https:\/\/api\.mistral\.ai\/v1\/(?:batch\/jobs|ocr)\b/, 'carried unread by the pass-through'],
  [/ POST https:\/\/api\.cohere\.com\/v1\/generate$/, 'a retired API of Cohere: carried unread by the pass-through'],
  [
    / \S+ https:\/\/api\.x\.ai\/v1\/(?:files|batches|videos)\b/,
    'of xAI’s own form, for which there is no endpoint: a configured pass-through carries it',
  ],
  [/ai21\.j2-mid-v1\/invoke$/, 'a retired model with a protocol of its own'],
  [/endpoint-quick-start-idr7y\/invoke$/, 'an endpoint of SageMaker behind Bedrock: its name does not tell what it speaks'],
  [/ GET https:\/\/(?:delivery-us1\.bfl\.ai|replicate\.delivery)\//, 'of a made file only the address was kept'],
  [/ GET https:\/\/api\.replicate\.com\/v1\/models\//, 'what a model is: the adapter does not ask'],
  [
    /^replicate\/(?:stream-text|text)__.*(?:predictions|\/streams\/\w+)$/,
    'jobs that are asked for again: read by replicate.test.ts, in their order',
  ],
  [/^replicate\/builtin-tools__.* 2 /, 'a job that had only begun'],
  [/^writer\/stream-completions__/, 'Writer’s own stream of texts, which no adapter speaks'],
  [/^huggingface\/models__huggingface\.js__tape-d04d133cd31d\.json/, 'a model that fills in masks'],
]

/** Answers that must not be taken for whole or good, and as what they are known. */
export const FAILING: readonly (readonly [RegExp, string, string])[] = [
  [
    /^bedrock\/.*__vercel-ai__amazon-bedrock-json.*\.chunks\.txt/,
    'provider_truncated',
    'written by hand upstream, without the end a stream has',
  ],
]

/** Whose words an answer is in; null = it is in neither table. */
export function readingOf(recorded: Recorded): Reading | null {
  const { folder, file, url, method } = recorded
  if (url === '') {
    const row = FILES.find(([pattern]) => pattern.test(`${folder}/${file}`))
    return row === undefined ? null : readingFrom(row[1], [row[2], row[3]], recorded)
  }
  const host = HOSTS.find(([pattern]) => pattern.test(url))?.[1]
  // What SageMaker says of a refusal it says in its own words.
  const provider = host === 'sagemaker' && recorded.status >= 400 ? 'huggingface' : host
  const row = PATHS.find(([pattern]) => pattern.test(`${method} ${url}`))
  return provider === undefined || row === undefined ? null : readingFrom(provider, [row[1], row[2]], recorded)
}

function readingFrom(provider: string, [mode, family]: Told, recorded: Recorded): Reading {
  const named = modelOf(provider, family, recorded)
  // So a deployment says that its model is asked through that API.
  const reading = { provider, mode, model: mode === 'responses' ? `responses/${named}` : named }
  return family === undefined ? reading : { ...reading, family }
}

/** The name the deployment would have: the one asked for, in the body or the address. */
function modelOf(provider: string, family: Family | undefined, { url, request }: Recorded): string {
  const path = /\/(?:models?|deployments)\/(?!chat\/)([^/:]+(?::\d[^/]*)?)(?:[:/]|$)/.exec(url)?.[1]
  const invoked = /\/invoke(?:-with-response-stream)?$/.test(url) ? 'invoke/' : ''
  if (path !== undefined && provider === 'bedrock') return invoked + decodeURIComponent(path)
  if (path !== undefined && provider !== 'huggingface') return decodeURIComponent(path)
  if (isFields(request) && typeof request['model'] === 'string') return request['model']
  if (family === 'anthropic') return provider === 'bedrock' ? 'invoke/anthropic.claude-sonnet-4-5' : 'claude-sonnet-4-5'
  return provider === 'bedrock' ? 'us.anthropic.claude-sonnet-4-5' : 'model'
}
