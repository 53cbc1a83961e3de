import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { TokenUsage } from '../../../proto/usage.ts'
import type { UploadedFile } from '../../canonical/uploaded-file.ts'
import { readForm } from '../../form.ts'
import { providerOf } from '../index.ts'
import { PLAIN_TARGET } from '../plain-target.ts'
import { cuts } from '../provider.suite.ts'
import type { Adapter, DecodeContext, Provider, Target, UpstreamRequest } from '../provider.ts'
import { haveRecordings } from './recordings.suite.ts'

type AnyAdapter = Adapter<Record<string, unknown>, Record<string, unknown> & { billing: TokenUsage }, never>
type MediaMode = 'image' | 'image_edit' | 'speech' | 'transcription' | 'moderation' | 'rerank'

interface Exchange {
  request: { url: string; body: unknown; body_encoding: string }
  response: { status: number; headers: Record<string, string[]>; body: string; body_encoding: string }
}

interface Case {
  provider: string
  file: string
  mode: MediaMode
  /** As a client asks. */
  request: Record<string, unknown>
  /** What the answer says and costs. */
  says: Record<string, unknown>
  billing: Partial<TokenUsage>
  /** Of the recording's own way to say the same. */
  sent?: Record<string, unknown>
}

const FOLDER = new URL('../../../../shared/fixtures/', import.meta.url)
const RUBY = 'Ruby is a programming language designed for developer happiness.'
const SOUND: UploadedFile = { name: 'ruby.wav', type: 'audio/wav', bytes: Buffer.from('RIFF') }
const CAT = { model: 'stability-ai/sdxl', prompt: 'An astronaut riding a horse on the moon.' }

const CASES: readonly Case[] = [
  {
    provider: 'nebius',
    file: 'nebius/images__huggingface_hub__TestInferenceClient.test_text_to_image_default_nebius_text-to-image-8bae.json',
    mode: 'image',
    request: { ...CAT, size: '512x512', response_format: 'b64_json' },
    says: { data: [{ b64_json: expect.stringMatching(/^UklGR/) }] },
    billing: { units: { 'image_out:512x512:standard': 1, pixel_out: 262_144 } },
  },
  {
    provider: 'together_ai',
    file: 'together/images__huggingface_hub__TestInferenceClient.test_text_to_image_default_together_text-to-image-1fe9.json',
    mode: 'image',
    request: { ...CAT, model: 'stabilityai/stable-diffusion-xl-base-1.0', response_format: 'b64_json' },
    says: { data: [{ b64_json: expect.stringMatching(/^\/9j\//) }], created: 7 },
    billing: { units: { 'image_out:1024x1024:standard': 1 } },
  },
  {
    provider: 'hyperbolic',
    file: 'hyperbolic/images__huggingface.js__tape-5940db1cee26.json',
    mode: 'image',
    request: { model: 'SD2', prompt: 'award winning high resolution photo of a giant tortoise', size: '128x128' },
    says: { data: [{ b64_json: expect.stringMatching(/^iVBOR/) }] },
    billing: { units: { 'image_out:128x128:standard': 1, pixel_out: 16_384 } },
  },
  {
    provider: 'xai',
    file: 'xai/images__ruby_llm__image_basic_functionality_xai_grok-imagine-image_can_paint_images.json',
    mode: 'image',
    request: { model: 'grok-imagine-image', prompt: 'a siamese cat' },
    says: { data: [{ url: expect.stringMatching(/^https:\/\/imgen/) }] },
    billing: { reportedCost: 20_000_000 },
  },
  {
    provider: 'openrouter',
    file: 'openrouter/images__ruby_llm__image_edit_functionality_with_openrouter_reference_images_openrou-31b736.json',
    mode: 'image_edit',
    request: { model: 'google/gemini-3.1-flash-lite-image', prompt: 'turn the logo to green', image: [SOUND] },
    sent: { input_references: [{ type: 'image_url', image_url: { url: 'data:audio/wav;base64,UklGRg==' } }] },
    says: { created: 7, data: [{ b64_json: expect.stringMatching(/^\/9j\//) }] },
    billing: { input: 1125, output: 1120, imageOutput: 1120, reportedCost: 33_881_250 },
  },
  {
    provider: 'openai',
    file: 'openai/images__vercel-ai__openai-image.json',
    mode: 'image',
    request: { model: 'dall-e-3', prompt: 'a sea otter', quality: 'hd', size: '1024x1024' },
    says: { created: 1_770_935_200, data: [{ revised_prompt: expect.any(String) }, {}] },
    billing: { units: { 'image_out:1024x1024:hd': 2, pixel_out: 2_097_152 } },
  },
  {
    provider: 'openai',
    file: 'openai/error-400__openllmetry__test_openai_metrics.test_image_gen_metrics.json',
    mode: 'image',
    request: { model: 'dall-e-2', prompt: 'a white siamese cat', n: 1, quality: 'standard', size: '256x256' },
    says: { created: 1_709_033_847, data: [{ url: expect.any(String) }] },
    billing: { units: { 'image_out:256x256:standard': 1, pixel_out: 65_536 } },
  },
  {
    provider: 'openai',
    file: 'openai/tts__ruby_llm__speech_basic_functionality_openai_gpt-4o-mini-tts_can_speak.json',
    mode: 'speech',
    request: { model: 'gpt-4o-mini-tts', input: RUBY, voice: 'alloy' },
    says: { type: 'audio/mpeg' },
    billing: { units: { character_in: 64 }, estimated: true },
  },
  {
    provider: 'openrouter',
    file: 'openrouter/tts__ruby_llm__speech_basic_functionality_openrouter_hexgrad_kokoro-82m_can_speak.json',
    mode: 'speech',
    request: { model: 'hexgrad/kokoro-82m', input: RUBY, voice: 'af_bella', response_format: 'mp3' },
    says: { type: 'audio/mpeg' },
    billing: { units: { character_in: 64 }, estimated: false },
  },
  {
    provider: 'xai',
    file: 'xai/tts__ruby_llm__speech_basic_functionality_xai_grok-tts_can_speak.json',
    mode: 'speech',
    request: { model: 'grok-tts', input: RUBY },
    says: { type: 'audio/mpeg' },
    billing: { units: { character_in: 64 } },
  },
  {
    provider: 'mistral',
    file: 'mistral/tts__ruby_llm__speech_basic_functionality_mistral_voxtral-mini-tts-latest_can_speak.json',
    mode: 'speech',
    request: { model: 'voxtral-mini-tts-latest', input: RUBY, voice: 'en_paul_neutral' },
    says: { contentType: 'audio/mpeg', audio: expect.any(Uint8Array) },
    billing: { units: { character_in: 64 } },
  },
  {
    provider: 'openai',
    file: 'openai/stt__ruby_llm__transcription_basic_functionality_openai_whisper-1_can_transcribe-e658f7.json',
    mode: 'transcription',
    request: { model: 'whisper-1', file: SOUND, language: 'en' },
    says: { text: RUBY, usage: { type: 'duration', seconds: 4 } },
    billing: { units: { audio_ms_in: 4000 }, estimated: false },
  },
  {
    provider: 'openai',
    file: 'openai/stt__ruby_llm__transcription_basic_functionality_openai_gpt-4o-transcribe-diariz-cb4bec.json',
    mode: 'transcription',
    request: { model: 'gpt-4o-transcribe-diarize', file: SOUND, chunking_strategy: 'auto', response_format: 'diarized_json' },
    says: { text: RUBY, segments: [{ speaker: 'A' }] },
    billing: { input: 37, audioInput: 37, output: 144, units: { audio_ms_in: 3700 } },
  },
  {
    provider: 'openai',
    file: 'openai/stream-stt__ruby_llm__transcription_basic_functionality_openai_gpt-4o-transcribe-diariz-cb02e6.json',
    mode: 'transcription',
    request: {
      model: 'gpt-4o-transcribe-diarize',
      file: SOUND,
      chunking_strategy: 'auto',
      response_format: 'diarized_json',
      stream: true,
    },
    says: { type: 'text/event-stream; charset=utf-8' },
    billing: { input: 37, audioInput: 37, output: 145 },
  },
  {
    provider: 'openai',
    file: 'openai/stt__envoy-ai-gateway__audio-transcription-basic.json',
    mode: 'transcription',
    request: { model: 'whisper-1', file: SOUND },
    says: { text: expect.stringMatching(/^The sun rises/) },
    billing: { units: { audio_ms_in: 7000 } },
  },
  {
    provider: 'openrouter',
    file: 'openrouter/stt__ruby_llm__transcription_basic_functionality_openrouter_openai_gpt-4o-mini-t-7eed05.json',
    mode: 'transcription',
    request: { model: 'openai/gpt-4o-mini-transcribe', file: SOUND, language: 'en' },
    says: { text: RUBY },
    billing: { input: 37, output: 12, reportedCost: 106_250 },
  },
  {
    provider: 'xai',
    file: 'xai/stt__ruby_llm__transcription_basic_functionality_xai_grok-stt_can_transcribe_wit-21c29c.json',
    mode: 'transcription',
    request: { model: 'grok-stt', file: SOUND, language: 'en' },
    says: { text: RUBY, words: expect.arrayContaining([{ word: 'Ruby', start: 0.121, end: 0.442 }]) },
    billing: { units: { audio_ms_in: 3700 } },
  },
  {
    provider: 'mistral',
    file: 'mistral/stt__ruby_llm__transcription_basic_functionality_mistral_voxtral-mini-latest_can-df0a3e.json',
    mode: 'transcription',
    request: { model: 'voxtral-mini-latest', file: SOUND, language: 'en' },
    says: { text: RUBY, duration: 3 },
    billing: { units: { audio_ms_in: 3000 } },
  },
  {
    provider: 'mistral',
    file: 'mistral/stt__vercel-ai__mistral-transcription.json',
    mode: 'transcription',
    request: { model: 'voxtral-mini-latest', file: SOUND, response_format: 'srt' },
    says: {
      raw: expect.stringMatching(/^1\n00:00:00,100 --> 00:00:08,200\nGalileo was .*\n\n2\n00:00:09,100 --> 00:00:17,300\n/),
    },
    billing: { units: { audio_ms_in: 36_000 } },
  },
  {
    provider: 'openai',
    file: 'openai/moderation__ruby_llm__moderation_moderate_with_openai_provider_can_be_called_directly_o-1e2dae.json',
    mode: 'moderation',
    request: { model: 'omni-moderation-latest', input: 'This is a safe message' },
    says: { id: 'modr-7028', results: [{ flagged: false }] },
    billing: { estimated: true },
  },
  {
    provider: 'openai',
    file: 'openai/moderation__ruby_llm__moderation_moderate_with_openai_provider_moderates_an_image_attac-2588c5.json',
    mode: 'moderation',
    request: {
      model: 'omni-moderation-latest',
      input: [
        { type: 'image_url', image_url: { url: 'https://upload.wikimedia.org/wikipedia/en/7/7d/Lenna_%28test_image%29.png' } },
      ],
    },
    says: { id: 'modr-1152', results: [{ categories: expect.objectContaining({ violence: false }) }] },
    billing: { estimated: true },
  },
  {
    provider: 'openai',
    file: 'openai/moderation__ruby_llm__moderation_moderate_with_openai_provider_provides_convenience_met-94e250.json',
    mode: 'moderation',
    request: { model: 'omni-moderation-latest', input: 'This is a safe message' },
    says: { results: [{ flagged: false }] },
    billing: { estimated: true },
  },
  {
    provider: 'openrouter',
    file: 'openrouter/rerank__ruby_llm__rerank_reranking_with_openrouter_voyageai_rerank-2_5-lite_orders_-a17230.json',
    mode: 'rerank',
    request: {
      model: 'voyageai/rerank-2.5-lite',
      query: 'what is ruby',
      documents: ['Paris is the capital of France', 'Ruby is a programming language created by Matz'],
    },
    says: { results: [{ index: 1, relevance_score: 0.828125 }, { index: 0 }] },
    billing: { input: 17, reportedCost: 340 },
  },
  {
    provider: 'together_ai',
    file: 'together/rerank__vercel-ai__togetherai-reranking.1.json',
    mode: 'rerank',
    request: { model: 'Salesforce/Llama-Rank-v1', query: 'q', documents: ['a', 'b', 'c', 'd', 'e', 'f'], top_n: 2 },
    says: { id: 'oGs6Zt9-62bZhn-99529372487b1b0a', results: [{ index: 0 }, { index: 5 }] },
    billing: { input: 2966 },
  },
]

function targetOf(provider: Provider, name: string, model: string): Target {
  return {
    ...PLAIN_TARGET,
    provider: name,
    model,
    base: provider.base as string,
  }
}

async function fieldsOf({ body, headers }: UpstreamRequest): Promise<Record<string, unknown>> {
  const form = await readForm(body as Uint8Array, headers['content-type'])
  return form ?? (JSON.parse(String(body)) as Record<string, unknown>)
}

/** The recording of a form is a list of its parts, without the bytes of files. */
function recorded({ body, body_encoding: encoding }: Exchange['request']): Record<string, unknown> {
  if (encoding !== 'multipart-parts') return body as Record<string, unknown>
  const parts = body as { name: string; value?: string; filename?: string }[]
  // The reader of forms knows this one flag.
  return Object.fromEntries(
    parts.map(({ name, value, filename }) => [name, name === 'stream' ? value === 'true' : (value ?? filename)]),
  )
}

describe.skipIf(!haveRecordings())('recorded images, sounds, verdicts and rankings', () => {
  it.each(CASES.map((one) => [one.file, one] as const))(
    '%s',
    async (_file, { provider: name, file, mode, request, says, billing, sent = {} }) => {
      const provider = providerOf(name) as Provider
      const adapter = provider[mode] as unknown as AnyAdapter
      const data = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')) as { exchanges?: Exchange[] }
      const [exchange] = data.exchanges ?? []
      const target = targetOf(provider, name, request['model'] as string)
      const upstream = adapter.encodeRequest(request, target)
      if (exchange !== undefined && (exchange.request.body as unknown[]).length !== 0) {
        const fields = await fieldsOf(upstream)
        const shown = Object.fromEntries(
          Object.entries(fields).map(([key, value]) => [key, key === 'file' ? (value as UploadedFile).name : value]),
        )
        expect(shown).toEqual({ ...recorded(exchange.request), ...sent })
        const path = new URL(exchange.request.url).pathname.replace(/^\/(?:nebius|together)/, '')
        if (name !== 'hyperbolic') expect(new URL(upstream.url).pathname).toBe(path)
      }
      const headers = Object.fromEntries(
        Object.entries(exchange?.response.headers ?? {}).map(([header, values]) => [header, values.join(', ')]),
      )
      const text = exchange?.response.body ?? JSON.stringify(data)
      const body = Buffer.from(text, exchange?.response.body_encoding === 'base64' ? 'base64' : 'utf8')
      const context: DecodeContext = { id: 'chatcmpl-1', created: 7, model: request['model'] as string, request }
      for (const pieces of cuts(body, 7)) {
        const forwarded = adapter.forward?.(headers, context) ?? null
        if (forwarded === null) {
          const answer = adapter.decodeResponse(body, headers, context)
          expect(answer).toMatchObject(says)
          expect(answer.billing).toMatchObject(billing)
          return
        }
        expect({ type: forwarded.contentType }).toEqual(says)
        for (const piece of pieces) forwarded.see?.(piece)
        forwarded.end?.()
        expect(forwarded.usage()).toMatchObject(billing)
      }
    },
  )

  it('the refusals of the same file are refusals', () => {
    const file = 'openai/error-400__openllmetry__test_openai_metrics.test_image_gen_metrics.json'
    const { exchanges } = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')) as { exchanges: Exchange[] }
    for (const { response } of exchanges.filter(({ response: { status } }) => status >= 400)) {
      const error = providerOf('openai')?.decodeError(response.status, {}, response.body)
      expect(error).toMatchObject({ code: 'provider_bad_request', message: expect.stringContaining('OpenAIException') })
    }
  })

  it('text that a provider wrote itself goes out as it is', () => {
    const { body } = JSON.parse(readFileSync(new URL('groq/stt__vercel-ai__groq-transcription-text.json', FOLDER), 'utf8'))
    const adapter = providerOf('groq')?.transcription as unknown as AnyAdapter
    const request = { model: 'whisper-large-v3', file: SOUND, response_format: 'text' }
    const answer = adapter.decodeResponse(Buffer.from(body as string), {}, { id: 'i', created: 1, model: 'm', request })
    expect(answer).toMatchObject({ raw: ' Hello from the Versal AISDK.', billing: { estimated: true } })
  })
})
