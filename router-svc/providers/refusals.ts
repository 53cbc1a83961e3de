import { GatewayError } from '../../shared/errors.ts'
import type { ChatRequest } from '../canonical/chat.ts'
import { isGatewayField } from '../canonical/gateway-fields.ts'
import { isFields } from './json.ts'
import { isAllowed, mayDrop } from './openai/parameters.ts'
import type { Target } from './provider.ts'

/** What protocols that are not OpenAI's do alike with OpenAI's parameters. */

/** Whether a value of a parameter asks for nothing, so that a protocol without a counterpart loses nothing by leaving it out. */
type AsksNothing = (value: unknown) => boolean

const ASKS_NOTHING = {
  n: (value) => value === 1,
  logprobs: (value) => value === false,
  top_logprobs: (value) => value === 0,
  seed: never,
  frequency_penalty: (value) => value === 0,
  presence_penalty: (value) => value === 0,
  logit_bias: (value) => isFields(value) && Object.keys(value).length === 0,
  parallel_tool_calls: (value) => value === true,
  modalities: (value) => Array.isArray(value) && value.every((mode) => mode === 'text'),
  audio: never,
  prediction: never,
  verbosity: (value) => value === 'medium',
  web_search_options: never,
  functions: (value) => Array.isArray(value) && value.length === 0,
  function_call: (value) => value === 'auto' || value === 'none',
} satisfies Record<string, AsksNothing>

/** OpenAI's parameters of these names, for a protocol that has no counterpart to them. */
export function withoutCounterpart(...names: (keyof typeof ASKS_NOTHING)[]): Readonly<Record<string, AsksNothing>> {
  return Object.fromEntries(names.map((name) => [name, ASKS_NOTHING[name]]))
}

/** Kinds of gateway fields that are known by how they begin. */
const GATEWAY_PREFIXES = ['litellm_', '_litellm', 'mock_']

/** Whether a field speaks to the gateway, or is one of `hints`: to other vendors' machinery, without which an answer is the same. */
export function isForGateway(name: string, value: unknown, hints: ReadonlySet<string>): boolean {
  return hints.has(name) || isGatewayField(name, value) || GATEWAY_PREFIXES.some((prefix) => name.startsWith(prefix))
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

function never(): boolean {
  return false
}
