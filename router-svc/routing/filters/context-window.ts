import { GatewayError } from '../../../shared/errors.ts'
import { estimate } from '../../admission/estimate.ts'
import type { Call } from '../../call.ts'
import type { Filter } from './filter.ts'

/** Deployments whose model takes the input, as far as both are known (`enable_pre_call_checks`). Counts the input once per call. */
export const contextWindow: Filter = {
  name: 'context window',
  applies: (call) => call.routing.preCallChecks && Array.isArray(call.request['messages']),
  keep(routes, call) {
    const tokens = inputTokensOf(call)
    return routes.some((route) => (route.deployment.maxInputTokens ?? tokens) < tokens)
      ? routes.filter((route) => (route.deployment.maxInputTokens ?? tokens) >= tokens)
      : routes
  },
  refusal(call, { routes }) {
    const largest = routes.reduce((most, { deployment }) => Math.max(most, deployment.maxInputTokens ?? 0), 0)
    return new GatewayError(
      'context_window_exceeded',
      `litellm.ContextWindowExceededError: the input has about ${inputTokensOf(call)} tokens, and no deployment of ` +
        `model=${call.modelGroup} takes more than ${largest}.`,
      { param: 'messages' },
    )
  },
}

/** Input tokens of a call, about; admission may have counted them before. */
export function inputTokensOf(call: Call): number {
  call.inputTokens ??= estimate(call.request, call.endpoint.mode, { output: 0, modelOutput: null }).inputTokens
  return call.inputTokens
}
