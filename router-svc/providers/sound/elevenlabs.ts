import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import { isUploadedFile } from '../../canonical/uploaded-file.ts'
import { type Fields, fieldsIn, isFields, text } from '../json.ts'
import { formParts, multipart } from '../multipart.ts'
import { decodeError as decodeOpenai } from '../openai/error.ts'
import { reclassified } from '../openai-variant.ts'
import { soundFormat, voiceOf } from '../own-fields.ts'
import { NO_STREAM, type OwnHearing, ownHearing, queryOf, wordsOf } from '../own-hearing.ts'
import { charactersOf, numberIn, type OwnSpeech, ownSpeech } from '../own-speech.ts'
import type { DecodeContext, Headers, Provider, Target } from '../provider.ts'
import { soundLength } from '../sound-length.ts'

/** ElevenLabs: voices by id, and Scribe (https://elevenlabs.io/docs/api-reference). */
export function elevenlabs(name: string, row: ProviderRow): Provider {
  const readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body)
  return {
    name,
    auth: { type: 'header', name: 'xi-api-key' },
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    transcription: ownHearing(HEARING, readError),
    speech: ownSpeech(SPEECH, readError),
    decodeError: readError,
  }
}

/** Premade voices for who asks for one of OpenAI's, the same that LiteLLM gives. Any other name is an id. */
const VOICES: Readonly<Record<string, string>> = {
  alloy: '21m00Tcm4TlvDq8ikWAM',
  amber: '5Q0t7uMcjvnagumLfvZi',
  ash: 'AZnzlk1XvdvUeBnXmlld',
  august: 'D38z5RcWu1voky8WS1ja',
  blue: '2EiwWnXFnvU5JabPnv8n',
  coral: '9BWtsMINqrJLrRacOk9x',
  lily: 'EXAVITQu4vr4xnSDxMaL',
  onyx: '29vD33N1CtxCmqQRPOHJ',
  sage: 'CwhRBWXzGAHq8TQ4Fs17',
  verse: 'CYw3kZ02Hs0563khs1Fj',
}

/** OpenAI's raw samples are 24,000 a second. */
const FORMATS: Readonly<Record<string, string>> = {
  mp3: 'mp3_44100_128',
  opus: 'opus_48000_128',
  pcm: 'pcm_24000',
  wav: 'wav_24000',
}
/** What belongs into the address beside the format. */
const IN_ADDRESS = ['enable_logging', 'optimize_streaming_latency']

const SPEECH: OwnSpeech = {
  rules: { unsupported: ['instructions', 'stream_format'] },
  encode({ input, rest }, request, target) {
    const voice = voiceOf(request, VOICES) ?? voiceOf({ voice: rest['voice_id'] }, VOICES)
    if (voice === null)
      throw new GatewayError('bad_request', 'litellm.BadRequestError: voice must name a voice of ElevenLabs.', { param: 'voice' })
    const { speed, output_format: named, voice_id: _, voice_settings: settings, ...fields } = rest
    const placed = Object.fromEntries(IN_ADDRESS.map((name) => [name, fields[name]]))
    for (const name of IN_ADDRESS) delete fields[name]
    const format = named ?? soundFormat(FORMATS, request, target, (own) => own) ?? FORMATS['mp3']
    const manner = { ...(speed === undefined ? {} : { speed }), ...(isFields(settings) ? settings : {}) }
    return {
      method: 'POST',
      url: `${rootOf(target)}/v1/text-to-speech/${encodeURIComponent(voice)}?${queryOf({ output_format: format, ...placed })}`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        text: input,
        model_id: target.model,
        ...fields,
        ...(Object.keys(manner).length > 0 ? { voice_settings: manner } : {}),
      }),
    }
  },
  // What a call took of the account's credits is told beside what was read.
  units(headers, context) {
    const told = numberIn(headers['x-character-count'])
    const credits = numberIn(headers['character-cost'])
    return {
      ...(told === null ? charactersOf(context) : { character_in: told }),
      ...(credits === null ? {} : { credit: credits }),
    }
  },
}

const HEARING: OwnHearing = {
  rules: { unsupported: [...NO_STREAM, 'prompt'], rename: { language: 'language_code' } },
  encode({ file, speakers, rest }, target) {
    const fields = { model_id: target.model, ...(speakers ? { diarize: true } : {}), ...rest, file }
    const { contentType, body } = multipart(formParts(fields))
    return { method: 'POST', url: `${rootOf(target)}/v1/speech-to-text`, headers: { 'content-type': contentType }, body }
  },
  read(
    { text: said, words, language_code: language, language_probability: certainty, transcription_id: id, ...answer },
    context,
  ) {
    if (typeof said !== 'string') return null
    const spoken = wordsOf(words, (word) => (word['type'] === undefined || word['type'] === 'word' ? word['text'] : undefined))
    const duration = durationOf(answer['audio_duration_secs'], spoken.at(-1)?.end, context)
    return {
      text: said,
      ...(typeof language === 'string' ? { language } : {}),
      ...(certainty === undefined ? {} : { language_probability: certainty }),
      ...(id === undefined ? {} : { transcription_id: id }),
      ...(duration === undefined ? {} : { duration }),
      words: spoken,
    }
  },
}

/** Seconds: as told, else of the file where it says itself, else to the end of the last word. */
function durationOf(told: unknown, last: number | undefined, { request: { file } }: DecodeContext): number | undefined {
  if (typeof told === 'number') return told
  const length = isUploadedFile(file) ? soundLength(file.bytes) : null
  return length?.exact === true ? length.milliseconds / 1000 : last
}

function rootOf({ base }: Target): string {
  return base.replace(/\/v1(?:\/(?:text-to-speech|speech-to-text))?$/, '')
}

/** `{detail: {status, message}}`, or a list of what is wrong with the request. */
function decodeError(provider: string, status: number, headers: Headers, body: string): GatewayError {
  const detail = detailIn(body)
  if (detail === null) return decodeOpenai(provider, status, headers, body)
  const error = decodeOpenai(provider, status, headers, JSON.stringify({ error: detail }))
  // 401 as well: the account's credits are used up.
  return detail['code'] === 'quota_exceeded' ? reclassified(error, provider, 'provider_quota') : error
}

function detailIn(body: string): Fields | null {
  const detail = fieldsIn(body)?.['detail']
  if (typeof detail === 'string') return { message: detail }
  if (isFields(detail)) return { message: text(detail['message']), code: text(detail['status']) || text(detail['code']) }
  if (!Array.isArray(detail)) return null
  const said = (detail as unknown[])
    .filter(isFields)
    .map(({ loc, msg }) => `${Array.isArray(loc) ? loc.join('.') : ''}: ${text(msg)}`)
  return { message: said.join('; ') }
}
