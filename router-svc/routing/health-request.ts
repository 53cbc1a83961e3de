import type { Deployment } from '../../proto/deployment.ts'
import { type EndpointName, endpoint, type Mode } from '../../proto/endpoints.ts'
import { CHECK_TIMEOUT } from '../../proto/health.ts'
import type { UploadedFile } from '../canonical/uploaded-file.ts'
import type { Route } from '../runtime.ts'

/** The smallest request that shows whether a deployment serves. */
export interface MinimalRequest {
  endpoint: EndpointName
  body: Record<string, unknown>
  /** Fields and files, where the endpoint takes a form. */
  form: Record<string, unknown> | null
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
  rerank: 'arerank',
  moderation: 'amoderation',
  image: 'aimage_generation',
  image_edit: 'aimage_edit',
  image_variation: 'aimage_variation',
  speech: 'aspeech',
  transcription: 'atranscription',
  translation: 'atranslation',
  count_tokens: 'anthropic_count_tokens',
}

/** One white pixel. */
const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mP8/x8AAwMCAO+ip1sAAAAASUVORK5CYII='

function pixel(): UploadedFile {
  return { name: 'pixel.png', type: 'image/png', bytes: Buffer.from(PIXEL, 'base64') }
}

/** Half a second of nothing, 16 bit, 8 kHz, mono (http://soundfile.sapp.org/doc/WaveFormat/). */
function silence(): UploadedFile {
  const samples = 4_000
  const bytes = Buffer.alloc(44 + samples * 2)
  bytes.write('RIFF', 0, 'latin1')
  bytes.writeUInt32LE(bytes.length - 8, 4)
  bytes.write('WAVEfmt ', 8, 'latin1')
  bytes.writeUInt32LE(16, 16)
  bytes.writeUInt16LE(1, 20)
  bytes.writeUInt16LE(1, 22)
  bytes.writeUInt32LE(8_000, 24)
  bytes.writeUInt32LE(16_000, 28)
  bytes.writeUInt16LE(2, 32)
  bytes.writeUInt16LE(16, 34)
  bytes.write('data', 36, 'latin1')
  bytes.writeUInt32LE(samples * 2, 40)
  return { name: 'silence.wav', type: 'audio/wav', bytes }
}

const MODES = Object.keys(ENDPOINT_OF) as Mode[]

/** By the mode of the deployment, else by what its provider offers; `model_info` says the rest (surface reference §4.2). Pure. */
export function minimalRequest({ deployment, provider }: Route): MinimalRequest {
  const { info, modelGroup: model } = deployment
  const mode = deployment.mode ?? MODES.find((one) => provider[one] !== undefined) ?? 'chat'
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
    rerank: { query: PROMPT, documents: [PROMPT] },
    moderation: { input: PROMPT },
    image: { prompt: PROMPT },
    image_edit: { prompt: PROMPT, image: pixel() },
    image_variation: { image: pixel() },
    speech: { input: 'ok', voice: typeof info['health_check_voice'] === 'string' ? info['health_check_voice'] : 'alloy' },
    transcription: { file: silence() },
    translation: { file: silence() },
    count_tokens: { messages: [{ role: 'user', content: PROMPT }] },
  }
  const row = endpoint(ENDPOINT_OF[mode])
  const body = { model, ...bodies[mode] }
  return {
    endpoint: ENDPOINT_OF[mode],
    body,
    form: row?.body === 'form' ? body : null,
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
