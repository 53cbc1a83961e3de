import { AGENTS } from '../../shared/catalog/agent-providers.ts'
import { EMBEDDING_LIMITS } from '../../shared/catalog/embedding-limits.ts'
import { type ProviderRow, providerRow } from '../../shared/catalog/providers.ts'
import { entryOf } from '../../shared/entry.ts'
import { a2aAgents } from './agents/a2a.ts'
import { agentEngine } from './agents/agent-engine.ts'
import { agentcore } from './agents/agentcore.ts'
import { bedrockAgent } from './agents/bedrock-agent.ts'
import { foundryAgents } from './agents/foundry.ts'
import { routed } from './agents/routed.ts'
import { alephAlpha } from './aleph-alpha.ts'
import { anthropic } from './anthropic/index.ts'
import { autoRouter } from './auto-router.ts'
import { responsesUrl } from './azure/url.ts'
import { azure } from './azure.ts'
import { batchedEmbeddings } from './batched-embeddings.ts'
import { bedrock } from './bedrock/index.ts'
import { bytez } from './bytez.ts'
import { cloudflare } from './cloudflare.ts'
import { cohere } from './cohere/index.ts'
import { completionOverChat } from './completion-from-chat.ts'
import { databricks } from './databricks/index.ts'
import { fim } from './fim.ts'
import { gemini } from './gemini/index.ts'
import { gigachat } from './gigachat.ts'
import { githubCopilot } from './github-copilot.ts'
import { huggingface } from './huggingface.ts'
import { blackForestLabs } from './images/black-forest-labs.ts'
import { fal } from './images/fal.ts'
import { recraft } from './images/recraft.ts'
import { runwayml } from './images/runwayml.ts'
import { stability } from './images/stability.ts'
import { topaz } from './images/topaz.ts'
import { jina } from './jina.ts'
import { langgraph } from './langgraph.ts'
import { mock } from './mock.ts'
import { nlpCloud } from './nlp-cloud.ts'
import { oci } from './oci/index.ts'
import { ollama } from './ollama/index.ts'
import { azureRealtime, openaiRealtime } from './openai/realtime.ts'
import { openai } from './openai.ts'
import { petals } from './petals.ts'
import { predibase } from './predibase.ts'
import type { Provider } from './provider.ts'
import { replicate } from './replicate/index.ts'
import { withResponses } from './responses/index.ts'
import { sagemaker, sagemakerChat } from './sagemaker/index.ts'
import { sap } from './sap.ts'
import { siteOf } from './sites.ts'
import { snowflake } from './snowflake.ts'
import { assemblyai } from './sound/assemblyai.ts'
import { awsPolly } from './sound/aws-polly.ts'
import { deepgram } from './sound/deepgram.ts'
import { elevenlabs } from './sound/elevenlabs.ts'
import { triton } from './triton.ts'
import { vertex } from './vertex/index.ts'
import { voyage } from './voyage.ts'
import { watsonx, watsonxText } from './watsonx/index.ts'

/** One line a protocol; a provider is a row of the table that names one. */
const PROTOCOLS: Readonly<Record<ProviderRow['protocol'], (name: string, row: ProviderRow) => Provider>> = {
  openai: (name, row) => ({ ...withResponses(openai(name, row), row), ...(row.realtime ? { realtime: openaiRealtime } : {}) }),
  anthropic: (_name, row) => anthropic(row),
  gemini,
  azure: (name, row) => ({ ...withResponses(azure(name, row), row, responsesUrl), realtime: azureRealtime }),
  'azure-ai': (name, row) =>
    routed(
      { ...withResponses(azure(name, row), row, responsesUrl), realtime: azureRealtime },
      { 'agents/': foundryAgents(name, AGENTS.azure_ai_foundry_agents) },
    ),
  bedrock: (name, row) =>
    routed(bedrock(name, row), {
      'agentcore/': agentcore(name, AGENTS.bedrock_agentcore),
      'agent/': bedrockAgent(name, AGENTS.bedrock_agentcore),
    }),
  a2a: a2aAgents,
  'agent-engine': agentEngine,
  agentcore,
  'foundry-agents': foundryAgents,
  sagemaker,
  'sagemaker-chat': sagemakerChat,
  vertex: (name, row) => routed(vertex(name, row), { 'agent_engine/': agentEngine(name, AGENTS.vertex_ai_agent_engine) }),
  cohere,
  jina,
  voyage,
  mantle: (name, row) =>
    withResponses({ ...openai(name, { ...row, protocol: 'openai' }), auth: { type: 'made', kind: 'aws-mantle' } }, row),
  mock: () => mock,
  'auto-router': autoRouter,
  ollama,
  huggingface,
  fim,
  triton,
  predibase,
  sap,
  petals,
  'nlp-cloud': nlpCloud,
  oci,
  langgraph,
  'github-copilot': githubCopilot,
  gigachat,
  bytez,
  'aleph-alpha': alephAlpha,
  watsonx,
  'watsonx-text': watsonxText,
  databricks,
  snowflake,
  cloudflare,
  deepgram,
  elevenlabs,
  assemblyai,
  'aws-polly': awsPolly,
  'black-forest-labs': blackForestLabs,
  fal,
  recraft,
  replicate,
  runwayml,
  stability,
  topaz,
}

/** Every provider of the table, and of `own` rows that a configuration adds to it, each made when first asked for and kept. */
export function createProviders(own: Readonly<Record<string, ProviderRow>> = {}): {
  get(name: string): Provider | undefined
} {
  const made = new Map<string, Provider>()
  return {
    get(name) {
      let provider = made.get(name)
      if (provider !== undefined) return provider
      provider = providerOf(name, own) ?? siteOf(name)
      if (provider !== undefined) made.set(name, provider)
      return provider
    },
  }
}

/** The provider of a name in the table, or undefined. Text completions go through chat where there is no endpoint for them. */
export function providerOf(name: string, own: Readonly<Record<string, ProviderRow>> = {}): Provider | undefined {
  const row = providerRow(name) ?? entryOf(own, name)
  if (row === undefined) return undefined
  const provider = withLimits(name, PROTOCOLS[row.protocol](name, row))
  if (provider.completion !== undefined || provider.chat === undefined) return provider
  return { ...provider, completion: completionOverChat(provider.chat) }
}

/** Lists of texts longer than the provider takes are split. */
function withLimits(name: string, provider: Provider): Provider {
  const most = entryOf(EMBEDDING_LIMITS, name)
  if (most === undefined || provider.embedding === undefined) return provider
  return { ...provider, embedding: batchedEmbeddings(provider.embedding, most) }
}
