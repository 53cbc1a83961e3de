import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import { dropNamed, isAllowed, mayDrop } from '../openai/parameters.ts'
import type { Target } from '../provider.ts'
import { type Fields, isFields } from './wire.ts'

/** OpenAI parameters without a counterpart, and the values that ask for nothing. */
const UNSUPPORTED: Readonly<Record<string, (value: unknown) => boolean>> = {
  n: (value) => value === 1,
  logprobs: (value) => value === false,
  top_logprobs: (value) => value === 0,
  seed: never,
  frequency_penalty: (value) => value === 0,
  presence_penalty: (value) => value === 0,
  logit_bias: (value) => isFields(value) && Object.keys(value).length === 0,
  modalities: (value) => Array.isArray(value) && value.every((mode) => mode === 'text'),
  audio: never,
  prediction: never,
  verbosity: (value) => value === 'medium',
  functions: (value) => Array.isArray(value) && value.length === 0,
  function_call: (value) => value === 'auto' || value === 'none',
}

/** Translated by name in request.ts. */
const TRANSLATED = new Set([
  'model',
  'messages',
  'stream',
  'stream_options',
  'max_tokens',
  'max_completion_tokens',
  'temperature',
  'top_p',
  'top_k',
  'stop',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'response_format',
  'reasoning_effort',
  'thinking',
  'output_config',
  'user',
  'metadata',
  'service_tier',
  'web_search_options',
  'betas',
  'anthropic_beta',
  'anthropic_version',
  'cache_control_injection_points',
])

/** Of those, the ones that are this protocol's own. */
const OWN = new Set(['top_k', 'output_config', 'betas', 'anthropic_beta', 'anthropic_version'])

/** Hints to OpenAI's own machinery; an answer is the same without them. */
const HINTS = new Set([
  'store',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
  'prompt_cache_options',
  'moderation',
])

/** Kinds of gateway fields that are known by how they begin. */
const GATEWAY_PREFIXES = ['litellm_', '_litellm', 'mock_']

export interface Screened {
  /** The request without dropped parameters. */
  request: ChatRequest
  /** What goes into the body under its own name: Anthropic's parameters, new ones, and those the operator allowed. */
  rest: Fields
}

/** Parameters the provider cannot honour: left out where the operator said so, else named together in one error. */
export interface Refusals {
  /** True when the operator allowed the parameter all the same: it is to be sent. */
  refuse(name: string): boolean
  /** Throws `unsupported_parameter` when anything was refused. */
  check(): void
}

export function createRefusals(canonical: ChatRequest, target: Target): Refusals {
  const names: string[] = []
  const drop = mayDrop(canonical, target)
  return {
    refuse(name) {
      if (isAllowed(name, canonical, target)) return true
      if (!drop) names.push(name)
      return false
    },
    check() {
      const [first] = names
      if (first === undefined) return
      throw new GatewayError(
        'unsupported_parameter',
        `litellm.UnsupportedParamsError: ${target.provider} does not support parameters: [${names.map((name) => `'${name}'`).join(', ')}], ` +
          `for model=${target.model}. Set drop_params: true to leave them out, or name them in allowed_openai_params to send them.`,
        { param: first },
      )
    },
  }
}

/** Sorts the parameters. A null means absent. */
export function screen(canonical: ChatRequest, target: Target, refusals: Refusals): Screened {
  const given = ownWords(canonical)
  dropNamed(given, canonical, target)
  const request: ChatRequest = { model: canonical.model, messages: canonical.messages }
  const rest: Fields = {}
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined) continue
    const asksNothing = UNSUPPORTED[name]
    if (TRANSLATED.has(name)) request[name] = value
    else if (asksNothing !== undefined) {
      if (isAllowed(name, canonical, target)) rest[name] = value
      else if (!asksNothing(value)) refusals.refuse(name)
    } else if (!isForGateway(name, value) || target.allowedOpenaiParams.includes(name)) rest[name] = value
  }
  return { request, rest }
}

/**
 * What a client of this protocol said in its own words, in place of what the dialect made of it for other providers. Never in place of what
 * limits and guardrails have seen: messages, tools, the output limit.
 */
function ownWords({ anthropic, ...canonical }: ChatRequest): Fields {
  const given: Fields = { ...canonical }
  if (!isFields(anthropic)) return given
  const config = anthropic['output_config']
  if (isFields(given['thinking']) || isFields(config)) delete given['reasoning_effort']
  if (anthropic['output_format'] !== undefined || isFields(config)) delete given['response_format']
  for (const name in anthropic) if (!TRANSLATED.has(name) || OWN.has(name)) given[name] = anthropic[name]
  return given
}

function isForGateway(name: string, value: unknown): boolean {
  return HINTS.has(name) || isGatewayField(name, value) || GATEWAY_PREFIXES.some((prefix) => name.startsWith(prefix))
}

function never(): boolean {
  return false
}
