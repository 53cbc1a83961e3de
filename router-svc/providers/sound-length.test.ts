import { describe, expect, it } from 'vitest'
import { pcmLength, soundLength } from './sound-length.ts'
import { writeSubtitles } from './subtitles.ts'

function bytes(size: number, ...pieces: readonly (readonly [at: number, content: string | readonly number[]])[]): Buffer {
  const made = Buffer.alloc(size)
  for (const [at, content] of pieces) made.set(Buffer.from(content as string), at)
  return made
}

const u32 = (value: number) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]
const little = (value: number) => u32(value).reverse()

describe('soundLength', () => {
  const wav = (data: number, between: readonly (readonly [number, string | readonly number[]])[] = [], at = 36) =>
    bytes(
      at + 8 + 32_000,
      [0, 'RIFF'],
      [8, 'WAVEfmt '],
      [16, little(16)],
      [28, little(16_000)],
      ...between,
      [at, 'data'],
      [at + 4, little(data)],
    )

  it('reads WAV, over other chunks, and believes no more than there is', () => {
    expect(soundLength(wav(32_000))).toEqual({ milliseconds: 2000, exact: true })
    const list: [number, string | number[]][] = [
      [36, 'LIST'],
      [40, little(5)],
    ]
    expect(soundLength(wav(32_000, list, 50))).toEqual({ milliseconds: 2000, exact: true })
    expect(soundLength(wav(0xffffffff))).toEqual({ milliseconds: 2000, exact: true })
    expect(soundLength(wav(0xffffffff).subarray(0, 60), 44 + 64_000)).toEqual({ milliseconds: 4000, exact: true })
  })

  it('reads FLAC', () => {
    // 44,100 samples a second in 20 bits, two channels of 16 bits, 88,200 samples.
    const info = [0x0a, 0xc4, 0x42, 0xf0, ...u32(88_200)]
    expect(soundLength(bytes(42, [0, 'fLaC'], [18, info]))).toEqual({ milliseconds: 2000, exact: true })
  })

  it('reads Opus and Vorbis in Ogg by their last page', () => {
    const page = (at: number, samples: number) =>
      [
        [at, 'OggS'],
        [at + 6, little(samples)],
      ] as const
    expect(soundLength(bytes(200, ...page(0, 0), [28, 'OpusHead'], ...page(100, 96_000)))).toEqual({
      milliseconds: 2000,
      exact: true,
    })
    const vorbis = bytes(200, ...page(0, 0), [29, 'vorbis'], [40, little(22_050)], ...page(100, 22_050))
    expect(soundLength(vorbis)).toEqual({ milliseconds: 1000, exact: true })
  })

  it('reads MP4 by its movie header', () => {
    const made = bytes(120, [4, 'ftypM4A '], [40, 'mvhd'], [56, u32(1000)], [60, u32(7250)])
    expect(soundLength(made)).toEqual({ milliseconds: 7250, exact: true })
  })

  it('estimates MP3 by its bitrate, behind a tag or not, and everything else by a usual one', () => {
    const frame = [0xff, 0xfb, 0x90, 0]
    expect(soundLength(bytes(16_000, [0, frame]))).toEqual({ milliseconds: 1000, exact: false })
    expect(soundLength(bytes(16_000, [0, 'ID3'], [9, [10]], [20, frame]))).toEqual({ milliseconds: 1000, exact: false })
    expect(soundLength(bytes(8000))).toEqual({ milliseconds: 1000, exact: false })
    expect(soundLength(new Uint8Array(0))).toEqual({ milliseconds: 0, exact: false })
  })

  it('of raw samples is two bytes 24,000 times a second', () => {
    expect(pcmLength(48_000)).toBe(1000)
  })
})

describe('writeSubtitles', () => {
  const pieces = [
    { start: 0, end: 3661.5, text: ' one ' },
    { start: 3661.5, end: 3662.0004, text: 'a --> b\n\nc' },
  ]

  it('numbers SubRip and heads WebVTT', () => {
    expect(writeSubtitles('srt', pieces)).toBe(
      '1\n00:00:00,000 --> 01:01:01,500\none\n\n2\n01:01:01,500 --> 01:01:02,000\na -> b\nc\n\n',
    )
    expect(writeSubtitles('vtt', pieces.slice(0, 1))).toBe('WEBVTT\n\n00:00:00.000 --> 01:01:01.500\none\n\n')
    expect(writeSubtitles('srt', [])).toBe('')
  })
})
