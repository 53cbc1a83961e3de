import { CHAT_AND_COMPLETION, EXTRAS, LEGACY, LOGPROBS, PENALTIES } from './provider-lists.ts'
import type { ProviderRow } from './providers.ts'

/** An agent's models, and what they are asked with, are its own: what of a request is for a model is refused. */
const FOR_MODELS = [
  'tools',
  'tool_choice',
  ...LEGACY,
  ...EXTRAS,
  ...LOGPROBS,
  ...PENALTIES,
  'seed',
  'stop',
  'logit_bias',
  'reasoning_effort',
  'n>1',
] as const
const FOR_ONE_MODEL = [...FOR_MODELS, 'response_format', 'max_tokens', 'max_completion_tokens', 'temperature', 'top_p'] as const
const ASIDES = ['parallel_tool_calls', 'service_tier', 'n'] as const

/** Agents somebody deployed, called like models (router-svc/providers/agents). LiteLLM's names for most begin with their platform's. */
export const AGENTS = {
  // No provider but a choice among groups (router-svc/routing/auto).
  auto_router: { protocol: 'auto-router', base: null, keys: [], keyless: true, modes: CHAT_AND_COMPLETION },
  // Also vertex_ai/agent_engine/<id>. Who asks is told: its sessions belong to users.
  vertex_ai_agent_engine: {
    protocol: 'agent-engine',
    base: null,
    keys: [],
    keyless: true,
    modes: CHAT_AND_COMPLETION,
    drop: ASIDES,
    unsupported: FOR_ONE_MODEL,
  },
  // Also azure_ai/agents/<id>.
  azure_ai_foundry_agents: {
    protocol: 'foundry-agents',
    base: null,
    keys: [],
    bases: ['AZURE_AI_API_BASE'],
    keyless: true,
    modes: CHAT_AND_COMPLETION,
    drop: [...ASIDES, 'user'],
    unsupported: FOR_MODELS,
  },
  // Also bedrock/agentcore/<ARN>.
  bedrock_agentcore: {
    protocol: 'agentcore',
    base: null,
    keys: [],
    keyless: true,
    modes: CHAT_AND_COMPLETION,
    drop: [...ASIDES, 'user'],
    unsupported: FOR_ONE_MODEL,
  },
  pydantic_ai_agents: {
    protocol: 'a2a',
    base: null,
    keys: [],
    keyless: true,
    modes: CHAT_AND_COMPLETION,
    drop: [...ASIDES, 'user'],
    unsupported: FOR_ONE_MODEL,
  },
} as const satisfies Readonly<Record<string, ProviderRow>>
