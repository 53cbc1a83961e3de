/** A piece of what was said, seconds. */
export interface Spoken {
  start: number
  end: number
  text: string
}

/** SubRip or WebVTT (https://www.w3.org/TR/webvtt1/) as OpenAI writes them: blank line behind every piece. */
export function writeSubtitles(format: 'srt' | 'vtt', pieces: readonly Spoken[]): string {
  const point = format === 'srt' ? ',' : '.'
  const written = pieces.map(({ start, end, text }, index) => {
    const number = format === 'srt' ? `${index + 1}\n` : ''
    // An arrow would be read as another line of times, a blank line as the end.
    const line = text
      .trim()
      .replaceAll('-->', '->')
      .replace(/\n{2,}/g, '\n')
    return `${number}${time(start, point)} --> ${time(end, point)}\n${line}\n\n`
  })
  return (format === 'vtt' ? 'WEBVTT\n\n' : '') + written.join('')
}

function time(seconds: number, point: string): string {
  const all = Math.max(0, Math.round(seconds * 1000))
  const parts = [Math.floor(all / 3_600_000), Math.floor(all / 60_000) % 60, Math.floor(all / 1000) % 60]
  return `${parts.map((part) => String(part).padStart(2, '0')).join(':')}${point}${String(all % 1000).padStart(3, '0')}`
}
