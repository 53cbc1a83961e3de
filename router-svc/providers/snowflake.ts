import type { Mode } from '../../proto/endpoints.ts'
import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import { type Fields, fieldsIn, isFields, jsonObject, sourceOf } from './json.ts'
import { decodeError } from './openai/error.ts'
import { vectorAs } from './openai/response.ts'
import { readUsage } from './openai/usage.ts'
import { chatVariant, embeddingVariant, madeProvider, reclassified } from './openai-variant.ts'
import type { Adapter, Provider, Target } from './provider.ts'

/** Tokens that are not valid (any more), under whatever status. */
const TOKEN_CODES: ReadonlySet<string> = new Set(['390303', '390318', '390144', '394304'])

/** Snowflake Cortex: chats by its surface in OpenAI's form, embeddings by its own. */
export function snowflake(name: string, row: ProviderRow): Provider {
  const readError: Provider['decodeError'] = (status, headers, body) => {
    const error = decodeError(name, status, headers, body)
    const code = error.providerCode ?? ownCode(body)
    return code !== undefined && TOKEN_CODES.has(code) ? reclassified(error, name, 'provider_authentication') : error
  }
  const errorIn = (source: string) => (isErrorText(source) ? readError(200, {}, source) : null)
  return {
    ...madeProvider(name, row, 'snowflake', readError),
    chat: chatVariant({ row, readError, errorIn, url: addressOf, refine: thinkOfClaude }),
    embedding: embeddingAdapter(row, readError),
  }
}

/** Claude knows no effort by OpenAI's name, and thinks at a temperature of 1 alone, which is not what stands there unasked. */
function thinkOfClaude(body: Fields, { model, baseModel }: Target): void {
  const effort = body['reasoning_effort']
  if (typeof effort !== 'string' || !(baseModel ?? model).includes('claude')) return
  delete body['reasoning_effort']
  if (effort === 'none') return
  body['reasoning'] ??= { effort }
  body['temperature'] ??= 1
}

/** `{message, code, request_id}`, where an answer or an event would be. */
function isErrorText(source: string): boolean {
  if (source.includes('"choices"') || !source.includes('"message"')) return false
  return typeof fieldsIn(source)?.['message'] === 'string'
}

/** Under `error_code` where `code` says something else. */
function ownCode(body: string): string | undefined {
  return /"error_code"\s*:\s*"?(\d+)/.exec(body)?.[1]
}

/** Operators give the account's host, LiteLLM's `/api/v2`, either surface, or the whole address of one endpoint. */
function addressOf({ base }: Target, mode: Mode): string {
  const root = base.replace(/\/(?:inference:(?:complete|embed)|v1\/chat\/completions|v1)$/, '')
  const cortex = root.endsWith('/cortex') ? root : root.endsWith('/api/v2') ? `${root}/cortex` : `${root}/api/v2/cortex`
  return mode === 'embedding' ? `${cortex}/inference:embed` : `${cortex}/v1/chat/completions`
}

function embeddingAdapter(
  row: ProviderRow,
  readError: Provider['decodeError'],
): Adapter<EmbeddingRequest, EmbeddingResponse, never> {
  const plain = embeddingVariant({
    row: { ...row, drop: [...(row.drop ?? []), 'encoding_format'], unsupported: ['dimensions'] },
    readError,
    url: addressOf,
    refine(body, _target, _mode, request) {
      body['text'] = textsOf(request['input'])
      delete body['input']
    },
  })
  return {
    ...plain,
    decodeResponse(bytes, headers, context) {
      const source = sourceOf(bytes)
      const { data, usage, ...rest } = jsonObject(source, 'The answer')
      if (!Array.isArray(data)) throw readError(200, headers, source)
      const base64 = context.request['encoding_format'] === 'base64'
      const counted = readUsage(usage) ?? { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }
      return {
        ...rest,
        object: 'list',
        data: (data as unknown[]).map((item, position) => vectorOf(isFields(item) ? item : {}, position, base64)),
        model: typeof rest['model'] === 'string' ? rest['model'] : context.model,
        usage: counted,
      }
    },
  }
}

/** A vector comes inside a list of one. */
function vectorOf(item: Fields, position: number, base64: boolean): EmbeddingResponse['data'][number] {
  const { embedding, index } = item
  const vector = Array.isArray(embedding) && Array.isArray(embedding[0]) ? embedding[0] : embedding
  return {
    object: 'embedding',
    index: typeof index === 'number' ? index : position,
    embedding: vectorAs(vector, base64),
  }
}

function textsOf(input: unknown): string[] {
  const texts: unknown[] = Array.isArray(input) ? input : [input]
  if (texts.every((entry) => typeof entry === 'string')) return texts as string[]
  throw new GatewayError(
    'bad_request',
    'litellm.BadRequestError: input must be a string or a list of strings: Snowflake takes no tokens.',
    { param: 'input' },
  )
}
