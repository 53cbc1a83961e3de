import { entryOf } from '../../../shared/entry.ts'
import type { SpeechRequest, SpeechResponse } from '../../canonical/speech.ts'
import { geminiSpeech } from '../gemini/speech.ts'
import { isFields, text } from '../json.ts'
import { billedUnits } from '../openai/media-usage.ts'
import { soundFormat, voiceOf } from '../own-fields.ts'
import { charactersOf, type OwnSpeech, ownSpeech } from '../own-speech.ts'
import type { Adapter, Provider, Target } from '../provider.ts'
import { createModels, GOOGLE, GOOGLE_VERSION, methodUrl } from './address.ts'

type Speech = Adapter<SpeechRequest, SpeechResponse, never>

const SERVICE = 'https://texttospeech.googleapis.com'
const GEMINI = /gemini/

/** Gemini's speech models as Gemini has them; every other name is Cloud Text-to-Speech, where the voice alone says how it sounds. */
export function googleSpeech(name: string, readError: Provider['decodeError']): Speech {
  const modelOf = createModels()
  const gemini = ownSpeech(
    geminiSpeech((target) => methodUrl(target, modelOf(target), GOOGLE_VERSION, 'generateContent')),
    readError,
  )
  const cloud = ownSpeech(CLOUD, readError)
  const speechOf = (model: string): Speech => (GEMINI.test(model) ? gemini : cloud)
  return {
    ...cloud,
    encodeRequest: (request, target) => speechOf(target.baseModel ?? target.model).encodeRequest(request, target),
    decodeResponse: (body, headers, context) =>
      speechOf(isSamples(body) ? 'gemini' : name).decodeResponse(body, headers, context),
  }
}

/** Candidates are Gemini's alone: the model's name may be an endpoint's number. */
function isSamples(body: Uint8Array): boolean {
  return !Buffer.from(body.buffer, body.byteOffset, Math.min(body.length, 200)).includes('"audioContent"')
}

/** Voices for who asks for one of OpenAI's, the same that LiteLLM gives. */
const VOICES: Readonly<Record<string, string>> = {
  alloy: 'en-US-Studio-O',
  echo: 'en-US-Studio-M',
  fable: 'en-GB-Studio-B',
  onyx: 'en-US-Wavenet-D',
  nova: 'en-US-Studio-O',
  shimmer: 'en-US-Wavenet-F',
}
const FORMATS: Readonly<Record<string, string>> = { mp3: 'MP3', opus: 'OGG_OPUS', wav: 'LINEAR16', pcm: 'PCM' }
const TYPES: Readonly<Record<string, string>> = {
  MP3: 'audio/mpeg',
  OGG_OPUS: 'audio/ogg',
  LINEAR16: 'audio/wav',
  PCM: 'audio/pcm',
}

/** https://cloud.google.com/text-to-speech/docs/reference/rest/v1/text/synthesize */
const CLOUD: OwnSpeech = {
  encode({ input, rest }, request, target) {
    const { speed, use_ssml: marked, audioConfig: given, ...fields } = rest
    const audioEncoding = soundFormat(FORMATS, request, target, (own) => own) ?? 'MP3'
    const ssml = marked === true || /<speak[\s>]/.test(input)
    const body = {
      input: ssml ? { ssml: input } : { text: input },
      voice: voiceFields(request),
      audioConfig: {
        audioEncoding,
        ...(audioEncoding === 'PCM' ? { sampleRateHertz: 24_000 } : {}),
        ...(speed === undefined ? {} : { speakingRate: speed }),
        ...(isFields(given) ? given : {}),
      },
      ...fields,
    }
    return {
      method: 'POST',
      url: synthesisUrl(target),
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }
  },
  read({ audioContent: base64 }, context) {
    if (typeof base64 !== 'string') return null
    const asked = text(context.request['response_format'], 'mp3')
    return {
      audio: Buffer.from(base64, 'base64'),
      contentType: entryOf(TYPES, entryOf(FORMATS, asked) ?? asked) ?? 'audio/mpeg',
      billing: billedUnits(charactersOf(context)),
    }
  },
}

/** A voice's name begins with its language: `en-US-Studio-O`. */
function voiceFields({ voice }: SpeechRequest): Record<string, unknown> {
  if (isFields(voice) && voice['languageCode'] !== undefined) return voice
  const name = voiceOf({ voice }, VOICES) ?? 'en-US-Studio-O'
  const language = /^([a-z]{2,3}-[A-Z]{2})-/.exec(name)?.[1] ?? 'en-US'
  return { languageCode: language, name }
}

function synthesisUrl({ base }: Target): string {
  if (base.endsWith('text:synthesize')) return base
  return `${GOOGLE.test(base) || base === '' ? SERVICE : new URL(base).origin}/v1/text:synthesize`
}
