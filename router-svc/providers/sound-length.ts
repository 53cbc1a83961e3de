/** How long a sound is, read from its container; milliseconds. `exact`: the file says so; else it follows from its size. */
export interface SoundLength {
  milliseconds: number
  exact: boolean
}

/** Bits a second of what does not say: speech in mp3, m4a, ogg or webm. */
const USUAL_BITRATE = 64_000
/** And of the narrowest that anybody sends. */
const LEAST_BITRATE = 16_000
/** OpenAI's raw sound: 24,000 samples a second, 16 bits, one channel. */
const PCM_BYTES_PER_MILLISECOND = 48

/** `whole`: bytes of the file, of which `bytes` may be the beginning. */
export function soundLength(bytes: Uint8Array, whole = bytes.length): SoundLength {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const known = wav(view, whole) ?? flac(view) ?? ogg(view, whole) ?? mp4(bytes, view)
  if (known !== null && Number.isFinite(known)) return { milliseconds: Math.round(known), exact: true }
  return { milliseconds: Math.round((whole * 8000) / (mp3Bitrate(bytes) ?? USUAL_BITRATE)), exact: false }
}

/** Milliseconds it lasts at most, as far as the file tells: what says nothing may be narrow speech, and the first frame of an mp3 its loudest. */
export function soundLengthAtMost(bytes: Uint8Array): number {
  const { milliseconds, exact } = soundLength(bytes)
  if (exact) return milliseconds
  const bitrate = mp3Bitrate(bytes)
  return Math.ceil((bytes.length * 8000) / (bitrate === null ? LEAST_BITRATE : Math.min(bitrate, USUAL_BITRATE)))
}

/** The same of raw samples as OpenAI sends them. */
export function pcmLength(whole: number): number {
  return Math.round(whole / PCM_BYTES_PER_MILLISECOND)
}

function is(view: DataView, at: number, word: string): boolean {
  if (at + word.length > view.byteLength) return false
  for (let index = 0; index < word.length; index++) if (view.getUint8(at + index) !== word.charCodeAt(index)) return false
  return true
}

/** RIFF: the samples' bytes over bytes a second. A header written before the end was known claims more than there is. */
function wav(view: DataView, whole: number): number | null {
  if (!is(view, 0, 'RIFF') || !is(view, 8, 'WAVE')) return null
  let rate = 0
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const size = view.getUint32(at + 4, true)
    if (is(view, at, 'fmt ') && at + 20 <= view.byteLength) rate = view.getUint32(at + 16, true)
    if (is(view, at, 'data')) return rate === 0 ? null : (Math.min(size, whole - at - 8) * 1000) / rate
    at += 8 + size + (size % 2)
  }
  return null
}

/** STREAMINFO (RFC 9639 §8.2): 20 bits of samples a second, 36 of their number. */
function flac(view: DataView): number | null {
  if (!is(view, 0, 'fLaC') || view.byteLength < 26) return null
  const rate = view.getUint32(18) >>> 12
  const samples = (view.getUint8(21) & 15) * 2 ** 32 + view.getUint32(22)
  return rate === 0 || samples === 0 ? null : (samples * 1000) / rate
}

/** The last page tells the samples so far (RFC 3533 §6); Opus counts 48,000 a second, Vorbis says. */
function ogg(view: DataView, whole: number): number | null {
  if (!is(view, 0, 'OggS') || view.byteLength < whole || view.byteLength < 48) return null
  const rate = is(view, 28, 'OpusHead') ? 48_000 : is(view, 29, 'vorbis') ? view.getUint32(40, true) : 0
  if (rate === 0) return null
  for (let at = view.byteLength - 14; at >= 0; at--) {
    if (is(view, at, 'OggS')) return (Number(view.getBigUint64(at + 6, true)) * 1000) / rate
  }
  return null
}

/** The movie header (ISO 14496-12 §8.2.2): duration over timescale. */
function mp4(bytes: Uint8Array, view: DataView): number | null {
  if (!is(view, 4, 'ftyp')) return null
  const at = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).indexOf('mvhd')
  if (at < 0 || at + 36 > view.byteLength) return null
  const long = view.getUint8(at + 4) === 1
  const scale = view.getUint32(at + (long ? 24 : 16))
  const duration = long ? Number(view.getBigUint64(at + 28)) : view.getUint32(at + 20)
  return scale === 0 || duration === 0 ? null : (duration * 1000) / scale
}

const LAYER3 = [
  [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
] as const

/** Bits a second of the first frame of an MPEG layer III sound, behind its ID3 tag if there is one. */
function mp3Bitrate(bytes: Uint8Array): number | null {
  let at = 0
  if (bytes[0] === 0x49 && bytes[1] === 0x44 && bytes[2] === 0x33) {
    for (let index = 6; index < 10; index++) at = at * 128 + ((bytes[index] ?? 0) & 127)
    at += 10
  }
  const [sync = 0, kind = 0, rate = 0] = bytes.subarray(at, at + 3)
  if (sync !== 0xff || (kind & 0xe6) !== 0xe2) return null
  const kilobits = LAYER3[(kind & 0x18) === 0x18 ? 0 : 1][(rate >> 4) - 1]
  return kilobits === undefined ? null : kilobits * 1000
}
