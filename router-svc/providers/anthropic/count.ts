import { NO_TOKENS } from '../../../proto/usage.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import type { CountResponse } from '../../canonical/count.ts'
import { jsonObject, sourceOf } from '../json.ts'
import type { Adapter } from '../provider.ts'
import { encodeMessage, wrapped } from './request.ts'
import type { Fields } from './wire.ts'

/** What of a message is counted; the endpoint refuses the rest. */
const COUNTED = [
  'model',
  'system',
  'messages',
  'tools',
  'tool_choice',
  'thinking',
  'output_config',
  'output_format',
  'context_management',
  'mcp_servers',
  'cache_control',
]

/** `POST /v1/messages/count_tokens`. */
export const COUNT: Adapter<ChatRequest, CountResponse, never> = {
  mode: 'count_tokens',
  takesAnthropic: true,
  encodeRequest(request, target) {
    const { body, betas, version } = encodeMessage(request, target)
    const counted: Fields = {}
    for (const name of COUNTED) if (body[name] !== undefined) counted[name] = body[name]
    const upstream = wrapped(JSON.stringify(counted), version, betas, target)
    return { ...upstream, url: `${upstream.url}/count_tokens` }
  },
  decodeResponse(body) {
    const tokens = jsonObject(sourceOf(body), 'The provider sent what')['input_tokens']
    if (typeof tokens !== 'number') throw new GatewayError('provider_malformed', 'The answer holds no count.')
    return { tokens, billing: NO_TOKENS }
  },
}
