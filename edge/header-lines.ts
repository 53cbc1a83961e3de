type Headers = Readonly<Record<string, string>>

/** Headers as lines, the last without its line break, after those in `before`. */
export type HeaderLines = (headers: Headers, before: string) => string

/** Describe the connection or the framing, which are the server's business. */
const OWN_HEADERS = new Set(['content-length', 'transfer-encoding', 'connection', 'keep-alive', 'date', 'upgrade', 'trailer'])
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** RFC 9110 §5.5: no control characters in a value; a line break in one would start another header. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const UNSAFE_VALUE = /[\x00-\x08\x0a-\x1f\x7f]/
/** Names remembered as fit to send. Some are made of model names, so there may be many. */
const REMEMBERED_MAX = 1_000

/** A writer of header lines. Framing headers and names that are none are left out; control characters in values become spaces. */
export function createHeaderLines(): HeaderLines {
  const remembered = new Set<string>()

  function fit(name: string): boolean {
    if (OWN_HEADERS.has(name) || !NAME.test(name)) return false
    if (remembered.size < REMEMBERED_MAX) remembered.add(name)
    return true
  }

  return (headers, before) => {
    let lines = before
    for (const name in headers) {
      if (!remembered.has(name) && !fit(name)) continue
      let value = headers[name] as string
      if (UNSAFE_VALUE.test(value)) value = value.replace(new RegExp(UNSAFE_VALUE, 'g'), ' ')
      lines += lines === '' ? `${name}: ${value}` : `\r\n${name}: ${value}`
    }
    return lines
  }
}
