import { EXTRAS, LEGACY, LOGPROBS, PENALTIES } from '../../../shared/catalog/provider-lists.ts'
import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { FinishReason } from '../../canonical/chat.ts'
import { jsonValue } from '../json.ts'
import type { Adapter, Provider, Target } from '../provider.ts'
import { type Said, textProvider, usageFrom } from '../text-protocol.ts'
import { InvokeStream, invokeRequest, isForService } from './invoke.ts'
import { thinkingApart } from './thinking-text.ts'
import { type Fields, isFields, text } from './wire.ts'

/** Models behind InvokeModel that only continue a text, each maker's with names of its own. */
interface Maker {
  /** Our parameters in its words. */
  rename?: Readonly<Record<string, string>>
  unsupported?: readonly string[]
  /** How it wants a conversation written, in the settings an operator would write (prompt-text.ts). */
  template?: Fields
  /** Its text begins with its thinking. */
  thinks?: true
  body?(prompt: string, given: Fields): Fields
}

const framed = (name: string, begin: string, end: string): Fields => ({ [name]: { pre_message: begin, post_message: end } })
const header = (role: string): string => `<|start_header_id|>${role}<|end_header_id|>\n\n`
const marked = (role: string): string => `<|im_start|>${role}\n`

const CHAT_MARKS: Fields = {
  roles: {
    ...framed('system', marked('system'), '<|im_end|>\n'),
    ...framed('user', marked('user'), '<|im_end|>\n'),
    ...framed('assistant', marked('assistant'), '<|im_end|>\n'),
  },
  final_prompt_value: marked('assistant'),
}

const MAKERS = {
  llama: {
    rename: { max_tokens: 'max_gen_len' },
    unsupported: ['stop', 'seed', 'top_k'],
    template: {
      initial_prompt_value: '<|begin_of_text|>',
      roles: {
        ...framed('system', header('system'), '<|eot_id|>'),
        ...framed('user', header('user'), '<|eot_id|>'),
        ...framed('assistant', header('assistant'), '<|eot_id|>'),
      },
      final_prompt_value: header('assistant'),
    },
  },
  qwen: { rename: { max_tokens: 'max_gen_len' }, template: CHAT_MARKS },
  deepseek: {
    template: {
      initial_prompt_value: '<｜begin▁of▁sentence｜>',
      roles: {
        ...framed('user', '<｜User｜>', ''),
        ...framed('assistant', '<｜Assistant｜>', '<｜end▁of▁sentence｜>'),
      },
      final_prompt_value: '<｜Assistant｜><think>\n',
    },
    thinks: true,
  },
  mistral: {
    unsupported: ['seed'],
    template: {
      initial_prompt_value: '<s>',
      roles: {
        ...framed('system', '[INST] ', ' [/INST]'),
        ...framed('user', '[INST] ', ' [/INST]'),
        ...framed('assistant', '', '</s>'),
      },
    },
  },
  titan: {
    rename: { max_tokens: 'maxTokenCount', top_p: 'topP', stop: 'stopSequences' },
    unsupported: ['seed', 'top_k'],
    body: (prompt, given) => ({
      inputText: prompt,
      ...(Object.keys(given).length === 0 ? {} : { textGenerationConfig: given }),
    }),
  },
  other: {},
} as const satisfies Record<string, Maker>

export type MakerName = keyof typeof MAKERS

const REFUSED = [
  ...LEGACY,
  ...EXTRAS,
  ...LOGPROBS,
  ...PENALTIES,
  'n',
  'logit_bias',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'response_format',
  'reasoning_effort',
  'thinking',
]

/** Chats and text completions of such a model. */
export function invokedText(name: string, makerName: MakerName): Pick<Provider, 'chat' | 'completion'> {
  const maker: Maker = MAKERS[makerName]
  const row: ProviderRow = {
    protocol: 'openai',
    base: null,
    keys: [],
    unsupported: [...REFUSED, ...(maker.unsupported ?? [])],
    drop: ['user', 'store', 'safety_identifier', 'prompt_cache_key', 'prompt_cache_retention'],
    ...(maker.rename === undefined ? {} : { rename: maker.rename }),
  }
  const { chat, completion } = textProvider(name, row, {
    request({ prompt, stream }, given, target) {
      const own: Fields = {}
      for (const field in given) if (!isForService(field)) own[field] = given[field]
      return invokeRequest(maker.body?.(prompt, own) ?? { prompt, ...own }, { ...given, stream }, target)
    },
    answer: (answer) => (isFields(answer) ? saidBy(answer) : []),
    stream: { framing: 'lines', read: readEvent },
  })
  const written = (target: Target): Target => ({ ...target, settings: { ...maker.template, ...target.settings } })
  return {
    ...(chat === undefined
      ? {}
      : { chat: maker.thinks === true ? thinkingApart(inFrames(chat, written)) : inFrames(chat, written) }),
    // A completion's prompt is the model's whole prompt already.
    ...(completion === undefined ? {} : { completion: inFrames(completion, (target) => target) }),
  }
}

function inFrames<Request, Response, Chunk>(
  adapter: Adapter<Request, Response, Chunk>,
  written: (target: Target) => Target,
): Adapter<Request, Response, Chunk> {
  const { decodeStream } = adapter
  return {
    ...adapter,
    framing: 'aws',
    encodeRequest: (request, target) => adapter.encodeRequest(request, written(target)),
    ...(decodeStream === undefined ? {} : { decodeStream: (context) => new InvokeStream(decodeStream(context)) }),
  }
}

/** One piece; the service's own count comes with the last. */
function readEvent(data: string): Said | null {
  const event = jsonValue(data, 'An event of the stream')
  if (!isFields(event)) return null
  const [said = { text: '' }] = saidBy(event)
  const metrics = event['amazon-bedrock-invocationMetrics']
  if (!isFields(metrics)) return { ...said, usage: null }
  const usage = usageFrom(metrics['inputTokenCount'], metrics['outputTokenCount'])
  return { ...said, finish: said.finish ?? 'stop', usage, ends: true }
}

/** What any of the makers calls its text, how it ended and what it counted. Empty = it says nothing. */
function saidBy(answer: Fields): Said[] {
  const results = [answer['results'], answer['outputs'], answer['choices'], answer['completions']].find(Array.isArray)
  const all: Fields[] = results === undefined ? [answer] : (results as unknown[]).filter(isFields)
  const said: Said[] = []
  for (const one of all) {
    const held = isFields(one['data']) ? one['data'] : one
    const words = [held['generation'], held['outputText'], held['text'], held['completion']].find(
      (value) => typeof value === 'string',
    )
    const reason = one['finishReason']
    const ended = [
      one['stop_reason'],
      one['finish_reason'],
      one['completionReason'],
      isFields(reason) ? reason['reason'] : reason,
    ]
    if (words === undefined && ended.every((value) => typeof value !== 'string')) continue
    said.push({ text: text(words), finish: finishOf(ended), usage: said.length === 0 ? (usageOf(answer, one) ?? null) : null })
  }
  return said
}

function finishOf(reasons: readonly unknown[]): FinishReason | null {
  const reason = text(reasons.find((value) => typeof value === 'string' && value !== ''))
  if (reason === '') return null
  if (/length|max_/i.test(reason)) return 'length'
  return /filter/i.test(reason) ? 'content_filter' : 'stop'
}

function usageOf(answer: Fields, one: Fields): Said['usage'] {
  if (isFields(answer['usage'])) return usageFrom(answer['usage']['prompt_tokens'], answer['usage']['completion_tokens'])
  const input = answer['prompt_token_count'] ?? answer['inputTextTokenCount']
  const output = answer['generation_token_count'] ?? one['tokenCount']
  // Half a count would stand in the way of the estimate.
  return typeof input === 'number' && typeof output === 'number' ? usageFrom(input, output) : null
}
