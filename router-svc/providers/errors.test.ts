import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ERRORS, type ErrorCode } from '../../proto/errors.ts'
import { type GatewayError, openaiErrorBody } from '../../shared/errors.ts'
import { decodeError as decodeAnthropic } from './anthropic/errors.ts'
import { exceptionName } from './error-status.ts'
import { decodeError as decodeOpenAI } from './openai/error.ts'
import { haveRecordings } from './openai/recordings.suite.ts'

/** Errors that other projects recorded against the real services: every file of theirs named `error-…`. */
const FOLDER = new URL('../../../shared/fixtures/', import.meta.url)

type Headers = Record<string, string>

interface Recorded {
  status: number
  headers: Headers
  body: string
}

/**
 * What each recorded error is, decided by reading it (surface reference §6.1–6.3), as: file (a part of its name that no other has), the
 * class by which a client knows it, status, `type`, `param`, the provider's own code, and how its text begins. A folder without an
 * adapter of its own is read as an OpenAI-compatible provider of that name.
 */
type Row = [
  file: string,
  code: ErrorCode,
  status: number,
  type: string,
  param: string | null,
  own: string | undefined,
  text: string,
]

const INVALID = 'invalid_request_error'

const ROWS: readonly Row[] = [
  // OpenAI
  [
    'openai/error-400__pydantic-ai__test_multimodal',
    'provider_bad_request',
    400,
    INVALID,
    'messages[3]',
    'invalid_value',
    "Invalid 'messages[3]'.",
  ],
  [
    'openai/error-400__openllmetry__test_openai_metrics',
    'provider_bad_request',
    400,
    INVALID,
    'quality',
    'unknown_parameter',
    "Unknown parameter: 'quality'.",
  ],
  [
    'openai/error-400__envoy-ai-gateway__embeddings',
    'provider_bad_request',
    400,
    INVALID,
    null,
    undefined,
    '-1 is less than the minimum of 1',
  ],
  [
    'openai/error-400__envoy-ai-gateway__chat',
    'provider_bad_request',
    400,
    INVALID,
    'max_tokens',
    'unsupported_parameter',
    "Unsupported parameter: 'max_tokens'",
  ],
  [
    'openai/error-404__envoy-ai-gateway__completion',
    'provider_not_found',
    404,
    INVALID,
    null,
    'model_not_found',
    'The model `babbage-002-wrong`',
  ],
  ['openai/error-404__pydantic-ai', 'provider_not_found', 404, INVALID, null, 'model_not_found', 'The model `gpt-5.2-proo`'],
  [
    'openai/error-rec__vercel-ai__reasoning-model',
    'provider_bad_request',
    400,
    INVALID,
    'max_tokens',
    'unsupported_parameter',
    "Unsupported parameter: 'max_tokens'",
  ],
  // The Responses API says 400 of a model it does not know; the code is plainer.
  [
    'openai-responses/error-400__pydantic-ai__test_model_name',
    'provider_not_found',
    404,
    INVALID,
    'model',
    'model_not_found',
    "The requested model 'gpt-5.2-proo'",
  ],
  [
    'openai-responses/error-400__pydantic-ai__test_openai_responses',
    'provider_bad_request',
    400,
    INVALID,
    'temperature',
    'decimal_below_min_value',
    "Invalid 'temperature'",
  ],
  [
    'openai-responses/error-401',
    'provider_authentication',
    401,
    INVALID,
    null,
    'invalid_api_key',
    'Incorrect API key provided: invalid-key.',
  ],
  // Compatible providers
  ['groq/error-400', 'provider_bad_request', 400, INVALID, null, 'tool_use_failed', 'Tool call validation failed'],
  ['groq/error-404', 'provider_not_found', 404, INVALID, null, 'model_not_found', 'The model `llama-3.3-70b-versatlie`'],
  ['deepseek/error-401', 'provider_authentication', 401, 'authentication_error', null, INVALID, 'Authentication Fails'],
  ['ollama/error-401', 'provider_authentication', 401, 'api_error', null, undefined, 'Unauthorized'],
  ['openrouter/error-401', 'provider_authentication', 401, 'authentication_error', null, '401', 'Missing Authentication header'],
  ['perplexity/error-401', 'provider_authentication', 401, 'invalid_api_key', null, '401', 'Invalid API key provided.'],
  ['together/error-400', 'provider_bad_request', 400, INVALID, 'model', undefined, 'Invalid request'],
  ['mistral/error-401', 'provider_authentication', 401, 'authentication_error', null, undefined, 'Invalid API Key'],
  ['mistral/error-404', 'provider_not_found', 404, 'not_found_error', null, undefined, 'no Route matched'],
  ['hyperbolic/error-400', 'provider_bad_request', 400, INVALID, null, '40301', 'Only Qwen/Qwen2.5-72B-Instruct'],
  ['vllm/error-rec', 'context_window_exceeded', 400, 'BadRequestError', 'input_text', '400', 'You passed 894 input characters'],
  [
    'watsonx/error-rec',
    'provider_bad_request',
    400,
    INVALID,
    null,
    'model_no_support_for_function',
    "Model 'meta-llama/llama-3-3-70b-instruct'",
  ],
  ['azure/error-rec', 'provider_bad_request', 400, INVALID, null, 'BadRequest', 'Invalid image (base64) data.'],
  [
    'azure/error-401',
    'provider_authentication',
    401,
    'authentication_error',
    null,
    '401',
    'Access denied due to invalid subscription key',
  ],
  // Anthropic repeats itself whole, as its clients know it.
  [
    'anthropic/error-401',
    'provider_authentication',
    401,
    'authentication_error',
    null,
    'authentication_error',
    '{"type":"error"',
  ],
  [
    'anthropic/error-404',
    'provider_not_found',
    404,
    'not_found_error',
    null,
    'not_found_error',
    '{"error":{"message":"model: claude',
  ],
  // Google
  ['vertex/error-400', 'context_window_exceeded', 400, INVALID, null, '400', 'The input token count (1250074) exceeds'],
  ['gemini/error-400', 'provider_authentication', 401, 'authentication_error', null, '400', 'API key not valid.'],
  ['gemini/error-404', 'provider_not_found', 404, 'not_found_error', null, '404', 'models/nonexistent-model is not found'],
  [
    'gemini/error-rec__vercel-ai__google-429',
    'provider_rate_limited',
    429,
    'rate_limit_error',
    null,
    '429',
    'You exceeded your current quota',
  ],
  // Others
  ['bedrock/error-403', 'provider_permission', 403, 'permission_error', null, undefined, 'The security token included'],
  [
    'bedrock/error-400__pydantic-ai__test_multimodal',
    'provider_bad_request',
    400,
    INVALID,
    null,
    undefined,
    'The model returned the following errors',
  ],
  [
    'bedrock/error-400__pydantic-ai__test_bedrock',
    'provider_bad_request',
    400,
    INVALID,
    null,
    undefined,
    'The provided model identifier is invalid.',
  ],
  [
    'bedrock/error-400__pydantic-ai__test_anthropic_bedrock',
    'provider_bad_request',
    400,
    INVALID,
    null,
    undefined,
    "tools.0: Input tag 'web_search_20250305'",
  ],
  ['bedrock/error-rec', 'provider_bad_request', 400, INVALID, null, 'validation_error', '{"error":{"code":"validation_error"'],
  ['cohere/error-401', 'provider_authentication', 401, 'authentication_error', null, undefined, 'Incorrect API key provided'],
  ['voyage/error-400', 'provider_bad_request', 400, INVALID, null, undefined, 'Model nonexistent is not supported.'],
  [
    'fal/error-422__huggingface.js__tape-5fef',
    'provider_unprocessable',
    422,
    INVALID,
    null,
    undefined,
    '[{"loc":["body","model_name"],"msg":"field required"',
  ],
  ['fal/error-422__huggingface.js__tape-ced2', 'provider_unprocessable', 422, INVALID, null, undefined, 'Pipeline <class'],
  ['fal/error-400', 'provider_bad_request', 400, INVALID, null, undefined, 'Unsupported data URL'],
  ['replicate/error-422', 'provider_unprocessable', 422, INVALID, null, undefined, '- Additional property provider'],
  [
    'huggingface/error-422__huggingface.js__tape-dc0a',
    'provider_unprocessable',
    422,
    INVALID,
    null,
    undefined,
    'Template error: template not found',
  ],
  [
    'huggingface/error-422__huggingface.js__tape-6599',
    'provider_unprocessable',
    422,
    INVALID,
    null,
    undefined,
    'Failed to deserialize the JSON body',
  ],
  [
    'huggingface/error-422__huggingface_hub',
    'context_window_exceeded',
    400,
    INVALID,
    null,
    undefined,
    'Input validation error: `inputs` tokens + `max_new_tokens`',
  ],
  [
    'huggingface/error-400__huggingface_hub__test_async',
    'provider_bad_request',
    400,
    INVALID,
    null,
    undefined,
    'The following `model_kwargs` are not used',
  ],
  [
    'huggingface/error-400__huggingface_hub__InferenceApi',
    'provider_bad_request',
    400,
    INVALID,
    null,
    undefined,
    '{"error":["Error in `inputs.context`: field required"]}',
  ],
  ['huggingface/error-404', 'provider_not_found', 404, 'not_found_error', null, undefined, 'Model this-model-does-not-exist-123'],
]

/** Saved by a client library as a line of text: nothing of the answer is left to read. */
const NOT_ANSWERS = ['openai/error-rec__lingua', 'openai-responses/error-rec__lingua']

describe.skipIf(!haveRecordings())('every recorded error', () => {
  const files = filesNamed('error-')

  it('is in the table', () => {
    const known = [...ROWS.map(([file]) => file), ...NOT_ANSWERS]
    for (const file of files)
      expect(
        known.filter((name) => file.startsWith(name)),
        file,
      ).toHaveLength(1)
    for (const name of known)
      expect(
        files.filter((file) => file.startsWith(name)),
        name,
      ).toHaveLength(1)
  })

  it.each(ROWS)('%s is %s', (name, code, status, type, param, own, text) => {
    const file = files.find((candidate) => candidate.startsWith(name)) as string
    const recorded = errorsIn(file)
    expect(recorded.length).toBeGreaterThan(0)
    for (const answer of recorded) {
      const provider = name.slice(0, name.indexOf('/'))
      const error = decode(provider, answer)
      const row = ERRORS[code]
      expect(error.code).toBe(code)
      const { message, ...wire } = openaiErrorBody(error).error
      expect(wire).toEqual({
        type,
        param,
        code: String(status),
        ...(own === undefined ? {} : { provider_specific_fields: { code: own } }),
      })
      const grammar = `litellm.${row.class}: ${provider === 'anthropic' || row.class === 'BadRequestError' ? '' : `${row.class}: `}${exceptionName(provider)} - `
      expect(String(message).slice(0, grammar.length + text.length)).toBe(grammar + text)
    }
  })

  it('that says when to come back is believed: Google’s in its details', () => {
    const [answer] = errorsIn(files.find((file) => file.includes('google-429')) as string)
    expect(decode('gemini', answer as Recorded)).toMatchObject({ retryAfter: 34_400, retryable: true })
  })
})

function decode(provider: string, { status, headers, body }: Recorded): GatewayError {
  return provider === 'anthropic' ? decodeAnthropic(status, headers, body) : decodeOpenAI(provider, status, headers, body)
}

function filesNamed(start: string): string[] {
  if (!existsSync(FOLDER)) return []
  const folders = readdirSync(FOLDER, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return folders.flatMap(({ name }) =>
    readdirSync(new URL(`${name}/`, FOLDER))
      .filter((file) => file.startsWith(start))
      .map((file) => `${name}/${file}`),
  )
}

/** The error answers of a file, in the forms its README describes. */
function errorsIn(file: string): Recorded[] {
  const data = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8'))
  if (data.format === 'http-exchanges/1') {
    const answers = data.exchanges.map(
      ({ response }: { response: { status: number; headers: Record<string, string[]>; body: unknown } }) => ({
        status: response.status,
        headers: Object.fromEntries(Object.entries(response.headers).map(([name, values]) => [name, values.join(', ')])),
        body: typeof response.body === 'string' ? response.body : JSON.stringify(response.body),
      }),
    )
    return answers.filter(({ status }: Recorded) => status >= 400)
  }
  if (data.format === 'sdk-parsed/1') {
    // Through a client library, which keeps the error object alone.
    const { status_code: status, body } = data.response.exception.exception_data
    return [{ status, headers: {}, body: JSON.stringify({ error: body }) }]
  }
  return [{ status: typeof data.error.code === 'number' ? data.error.code : 400, headers: {}, body: JSON.stringify(data) }]
}
