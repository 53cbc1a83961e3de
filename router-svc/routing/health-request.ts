import type { Deployment } from '../../proto/deployment.ts'
import type { EndpointName, Mode } from '../../proto/endpoints.ts'
import { CHECK_TIMEOUT } from '../../proto/health.ts'
import type { Route } from '../runtime.ts'

/** The smallest request that shows whether a deployment serves. */
export interface MinimalRequest {
  endpoint: EndpointName
  body: Record<string, unknown>
  /** Milliseconds. */
  timeout: number
}

/** Tokens an answer may have (LiteLLM's newest number): enough for models that think before they say anything. */
const MAX_TOKENS = 16
const PROMPT = 'This is a health check of a gateway. Answer with the word "ok".'

const ENDPOINT_OF: Readonly<Record<Mode, EndpointName>> = {
  chat: 'acompletion',
  completion: 'atext_completion',
  embedding: 'aembedding',
}

/** By the mode of the deployment, else by what its provider offers; `model_info` says the rest (surface reference §4.2). Pure. */
export function minimalRequest({ deployment, provider }: Route): MinimalRequest {
  const { info, modelGroup: model } = deployment
  const mode = deployment.mode ?? (provider.chat === undefined && provider.embedding !== undefined ? 'embedding' : 'chat')
  const max_tokens = number(info['health_check_max_tokens']) ?? MAX_TOKENS
  const effort = info['health_check_reasoning_effort']
  const seconds = number(info['health_check_timeout'])
  const bodies: Record<Mode, Record<string, unknown>> = {
    chat: {
      messages: [{ role: 'user', content: PROMPT }],
      max_tokens,
      ...(typeof effort === 'string' ? { reasoning_effort: effort } : {}),
    },
    completion: { prompt: PROMPT, max_tokens },
    embedding: { input: [PROMPT] },
  }
  return {
    endpoint: ENDPOINT_OF[mode],
    body: { model, ...bodies[mode] },
    timeout: seconds === null ? CHECK_TIMEOUT : seconds * 1000,
  }
}

/**
 * The deployment as it is checked: a wildcard as the model its `health_check_model` names, with or without the provider. Null = nobody says
 * which model to check. Pure.
 */
export function checkable(deployment: Deployment): Deployment | null {
  if (!deployment.model.includes('*') && !deployment.modelGroup.includes('*')) return deployment
  const named = deployment.info['health_check_model']
  if (typeof named !== 'string' || named === '') return null
  const prefix = `${deployment.provider}/`
  const model = named.startsWith(prefix) ? named.slice(prefix.length) : named
  return { ...deployment, model, modelGroup: named }
}

function number(value: unknown): number | null {
  return typeof value === 'number' && value > 0 ? value : null
}
