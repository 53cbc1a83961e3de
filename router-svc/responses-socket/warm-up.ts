import { GatewayError } from '../../shared/errors.ts'
import type { ResponseObject, ResponsesRequest } from '../canonical/responses.ts'
import { envelope } from '../dialects/openai-responses/response.ts'
import type { Fields } from '../providers/json.ts'

const NO_TOKENS = {
  input_tokens: 0,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: 0,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 0,
}

/** The answer to `generate: false`: a response that says nothing. `now`: Unix milliseconds. Throws GatewayError `bad_request`. */
export function warmedUp(id: string, body: Fields, now: number): { events: Fields[]; response: ResponseObject } {
  const { model } = body
  if (typeof model !== 'string' || model === '')
    throw new GatewayError('bad_request', 'model is required: it names the model of the response.', { param: 'model' })
  const created = Math.floor(now / 1000)
  const begun = envelope({ id, model, created, body: body as unknown as ResponsesRequest })
  const response: ResponseObject = { ...begun, status: 'completed', completed_at: created, usage: NO_TOKENS }
  return {
    events: [
      { type: 'response.created', sequence_number: 0, response: begun },
      { type: 'response.completed', sequence_number: 1, response },
    ],
    response,
  }
}
