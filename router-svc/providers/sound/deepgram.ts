import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { GatewayError } from '../../../shared/errors.ts'
import { type Fields, fieldsIn, isFields, text } from '../json.ts'
import { decodeError as decodeOpenai } from '../openai/error.ts'
import { reclassified } from '../openai-variant.ts'
import { soundFormat } from '../own-fields.ts'
import { type Heard, NO_STREAM, type OwnHearing, ownHearing, queryOf, speakerOf, wordsOf } from '../own-hearing.ts'
import { charactersOf, numberIn, type OwnSpeech, ownSpeech } from '../own-speech.ts'
import type { Headers, Provider, Target } from '../provider.ts'

/** Deepgram: sound as the body, everything else in the address (https://developers.deepgram.com/reference). */
export function deepgram(name: string, row: ProviderRow): Provider {
  const readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body)
  return {
    name,
    auth: { type: 'header', name: 'authorization', prefix: 'Token ' },
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    transcription: ownHearing(HEARING, readError),
    speech: ownSpeech(SPEECH, readError),
    decodeError: readError,
  }
}

const HEARING: OwnHearing = {
  rules: { unsupported: [...NO_STREAM, 'prompt', 'temperature'] },
  encode({ file, timed, speakers, rest }, target) {
    const times = timed ? { utterances: true, punctuate: true } : {}
    const query = queryOf({ model: target.model, ...times, ...(speakers ? { diarize: true } : {}), ...rest })
    return {
      method: 'POST',
      url: `${rootOf(target)}/listen?${query}`,
      headers: { 'content-type': file.type },
      body: file.bytes,
    }
  },
  read({ results, metadata }): Heard | null {
    const channels =
      isFields(results) && Array.isArray(results['channels']) ? (results['channels'] as unknown[]).filter(isFields) : []
    const heard = channels
      .map((channel) => (Array.isArray(channel['alternatives']) ? channel['alternatives'][0] : null))
      .filter(isFields)
    if (heard.length === 0) return null
    // Channels are speakers of their own.
    const words = heard
      .flatMap(({ words: list }) => wordsOf(list, (word) => word['punctuated_word'] ?? word['word']))
      .sort((one, other) => one.start - other.start)
    const segments = utterancesOf(isFields(results) ? results['utterances'] : undefined)
    const duration = isFields(metadata) ? metadata['duration'] : undefined
    const language = channels[0]?.['detected_language']
    return {
      text: heard.map(({ transcript }) => text(transcript)).join('\n'),
      ...(typeof language === 'string' ? { language } : {}),
      ...(typeof duration === 'number' ? { duration } : {}),
      words,
      ...(segments.length === 0 ? {} : { segments }),
    }
  },
}

function utterancesOf(list: unknown): NonNullable<Heard['segments']> {
  if (!Array.isArray(list)) return []
  return (list as unknown[]).filter(isFields).flatMap(({ start, end, transcript, speaker }) => {
    if (typeof start !== 'number' || typeof end !== 'number') return []
    return [{ start, end, text: text(transcript), ...speakerOf(speaker) }]
  })
}

/** `encoding` and `container`; a container may only be named where the encoding leaves a choice. */
const FORMATS: Readonly<Record<string, Fields>> = {
  mp3: { encoding: 'mp3' },
  opus: { encoding: 'opus', container: 'ogg' },
  aac: { encoding: 'aac' },
  flac: { encoding: 'flac' },
  wav: { encoding: 'linear16', container: 'wav', sample_rate: 24_000 },
  pcm: { encoding: 'linear16', container: 'none', sample_rate: 24_000 },
}

/** The voice is the model: one of its own voices (`aura-2-thalia-en`) in the request stands for it, OpenAI's names do not. */
const SPEECH: OwnSpeech = {
  rules: { unsupported: ['instructions', 'stream_format', 'speed'] },
  encode({ input, rest }, request, target) {
    const format = soundFormat(FORMATS, request, target, (encoding) => ({ encoding }))
    const voice = typeof request.voice === 'string' && /^aura-/.test(request.voice) ? request.voice : target.model
    return {
      method: 'POST',
      url: `${rootOf(target)}/speak?${queryOf({ model: voice, ...format, ...rest })}`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ text: input }),
    }
  },
  units: (headers, context) => {
    const told = numberIn(headers['dg-char-count'])
    return told === null ? charactersOf(context) : { character_in: told }
  },
}

/** Operators give the host, with the version or without, or (as others take it) with an endpoint. */
function rootOf({ base }: Target): string {
  const root = base.replace(/\/(?:listen|speak)$/, '')
  return /\/v\d+$/.test(root) ? root : `${root}/v1`
}

/** `{err_code, err_msg}`, or `{category, message, details}`. */
function decodeError(provider: string, status: number, headers: Headers, body: string): GatewayError {
  const fields = fieldsIn(body) ?? {}
  const said = text(fields['err_msg']) || text(fields['message']) || text(fields['details'])
  const code = text(fields['err_code']) || text(fields['category'])
  if (said === '' && code === '') return decodeOpenai(provider, status, headers, body)
  const error = decodeOpenai(provider, status, headers, JSON.stringify({ error: { message: said || code, code } }))
  // 402: the project has no credit left.
  return status === 402 ? reclassified(error, provider, 'provider_quota') : error
}
