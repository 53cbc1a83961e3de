import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { decodeError } from '../openai/error.ts'
import { soundFormat, voiceOf } from '../own-fields.ts'
import { type OwnSpeech, ownSpeech } from '../own-speech.ts'
import type { Provider, Target } from '../provider.ts'

const PATH = '/cognitiveservices/v1'
/** The region's host of all of Azure's AI services, beside which the one of speech stands. */
const REGION = /^https:\/\/([a-z\d]+)\.api\.cognitive\.microsoft\.com$/

/** Azure AI Speech, which operators write as `azure/speech/…`: a key of its own kind, and markup for a body. */
export function azureSpeech(name: string, row: ProviderRow): Provider {
  const readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body)
  return {
    name,
    auth: { type: 'header', name: 'ocp-apim-subscription-key' },
    base: null,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    speech: ownSpeech(SPEECH, readError),
    decodeError: readError,
  }
}

/** Voices for who asks for one of OpenAI's, the same that LiteLLM gives. */
const VOICES: Readonly<Record<string, string>> = {
  alloy: 'en-US-JennyNeural',
  echo: 'en-US-GuyNeural',
  fable: 'en-GB-RyanNeural',
  onyx: 'en-US-DavisNeural',
  nova: 'en-US-AmberNeural',
  shimmer: 'en-US-AriaNeural',
}
/** https://learn.microsoft.com/azure/ai-services/speech-service/rest-text-to-speech#audio-outputs */
const FORMATS: Readonly<Record<string, string>> = {
  mp3: 'audio-24khz-48kbitrate-mono-mp3',
  opus: 'ogg-48khz-16bit-mono-opus',
  wav: 'riff-24khz-16bit-mono-pcm',
  pcm: 'raw-24khz-16bit-mono-pcm',
}

const SPEECH: OwnSpeech = {
  encode({ input, rest }, request, target) {
    const format = soundFormat(FORMATS, request, target, (own) => own) ?? FORMATS['mp3']
    const voice = voiceOf(request, VOICES) ?? 'en-US-AriaNeural'
    return {
      method: 'POST',
      url: addressOf(target),
      // The service answers nobody without an agent's name.
      headers: { 'content-type': 'application/ssml+xml', 'x-microsoft-outputformat': format as string, 'user-agent': 'turnpike' },
      body: /<speak[\s>]/.test(input) ? input : markup(input, voice, rest),
    }
  },
}

function addressOf({ base }: Target): string {
  const region = REGION.exec(base)?.[1]
  if (region !== undefined) return `https://${region}.tts.speech.microsoft.com${PATH}`
  return base.endsWith(PATH) ? base : base + PATH
}

/** https://learn.microsoft.com/azure/ai-services/speech-service/speech-synthesis-markup-structure */
function markup(input: string, voice: string, { speed, style, styledegree, role, lang }: Record<string, unknown>): string {
  const attributes = (given: Record<string, unknown>) =>
    Object.entries(given)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => ` ${name}="${escaped(String(value))}"`)
      .join('')
  let said = escaped(input)
  if (typeof speed === 'number') said = `<prosody rate="${percent(speed)}">${said}</prosody>`
  if ([style, styledegree, role].some((value) => value !== undefined)) {
    said = `<mstts:express-as${attributes({ style, styledegree, role })}>${said}</mstts:express-as>`
  }
  const language = typeof lang === 'string' ? lang : (/^([a-z]{2,3}-[A-Z]{2})-/.exec(voice)?.[1] ?? 'en-US')
  const spaces = 'xmlns="http://www.w3.org/2001/10/synthesis" xmlns:mstts="https://www.w3.org/2001/mstts"'
  return `<speak version="1.0" ${spaces} xml:lang="${escaped(language)}"><voice name="${escaped(voice)}">${said}</voice></speak>`
}

/** OpenAI's 1.25 is a quarter more than usual. */
function percent(speed: number): string {
  const change = Math.round((speed - 1) * 100)
  return `${change < 0 ? '' : '+'}${change}%`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
