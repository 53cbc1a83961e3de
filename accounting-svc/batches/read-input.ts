import { isObject } from '../../shared/json-object.ts'
import type { BatchError, NewLine } from '../sql/own-batches.ts'

/** Lines of one batch, as OpenAI allows. */
export const LINES_MAX = 50_000
/** Problems told of one input: enough to mend it. */
const ERRORS_MAX = 100
/** Bytes of one line. */
const LINE_MAX = 32 * 1024 * 1024
const CUSTOM_ID_MAX = 512

/** Reads the input of a batch as its bytes come: requests, or what is wrong with which line. */
export interface InputReader {
  /** Requests of the lines that are complete now. None once there is a problem: the batch will not run. */
  push(bytes: Uint8Array): NewLine[]
  /** The last line, where no newline ends it. */
  end(): NewLine[]
  readonly errors: readonly BatchError[]
  readonly total: number
}

/** `endpoint`: the one path all lines must call. */
export function createInputReader(endpoint: string): InputReader {
  const errors: BatchError[] = []
  const seen = new Map<string, number>()
  let rest: Uint8Array[] = []
  let restBytes = 0
  let number = 0
  let total = 0

  const wrong = (line: number | null, code: string, message: string, param: string | null = null): null => {
    if (errors.length < ERRORS_MAX) errors.push({ code, message, param, line })
    return null
  }

  function lineOf(bytes: Buffer): NewLine | null {
    number += 1
    const text = decoded(bytes)
    if (text === null) return wrong(number, 'invalid_json_line', `Line ${number} is not valid UTF-8.`)
    // Some editors begin a file with a byte order mark.
    const json = (number === 1 ? text.replace(/^\uFEFF/, '') : text).trim()
    if (json === '') return null
    total += 1
    if (total === LINES_MAX + 1)
      return wrong(null, 'too_many_tasks', `The input file has more than ${LINES_MAX} requests, the most a batch may have.`)
    if (total > LINES_MAX) return null
    return requestIn(json)
  }

  function requestIn(json: string): NewLine | null {
    const value = parsed(json)
    if (value === null) return wrong(number, 'invalid_json_line', `Line ${number} is not a JSON object.`)
    const { custom_id: customId, method, url, body } = value
    if (typeof customId !== 'string' || customId === '' || customId.length > CUSTOM_ID_MAX || customId.includes('\0')) {
      const text = `Line ${number}: custom_id must be a text of 1 to ${CUSTOM_ID_MAX} characters.`
      return wrong(number, 'missing_required_parameter', text, 'custom_id')
    }
    const first = seen.get(customId)
    if (first !== undefined) {
      const text = `Line ${number}: the custom_id "${customId}" is that of line ${first} already.`
      return wrong(number, 'duplicate_custom_id', text, 'custom_id')
    }
    seen.set(customId, number)
    if (method !== 'POST') return wrong(number, 'invalid_method', `Line ${number}: method must be POST.`, 'method')
    if (url !== endpoint) {
      const text = `Line ${number}: url must be ${endpoint}, the endpoint of the batch.`
      return wrong(number, 'invalid_url', text, 'url')
    }
    if (!isObject(body)) return wrong(number, 'invalid_request', `Line ${number}: body must be an object.`, 'body')
    if (typeof body['model'] !== 'string' || body['model'] === '')
      return wrong(number, 'missing_required_parameter', `Line ${number}: body.model must name a model.`, 'body.model')
    if (body['stream'] === true) {
      const text = `Line ${number}: answers of a batch are not streamed; leave out body.stream.`
      return wrong(number, 'invalid_request', text, 'body.stream')
    }
    return { line: number, customId, request: JSON.stringify(body) }
  }

  const kept = (line: NewLine | null): NewLine[] => (line === null || errors.length > 0 ? [] : [line])

  return {
    push(bytes) {
      const lines: NewLine[] = []
      let at = 0
      for (let newline = bytes.indexOf(10, at); newline >= 0; newline = bytes.indexOf(10, at)) {
        lines.push(...kept(lineOf(Buffer.concat([...rest, bytes.subarray(at, newline)]))))
        rest = []
        restBytes = 0
        at = newline + 1
      }
      if (at < bytes.length && restBytes <= LINE_MAX) {
        rest.push(bytes.subarray(at))
        restBytes += bytes.length - at
        if (restBytes > LINE_MAX) {
          wrong(number + 1, 'invalid_json_line', `Line ${number + 1} has more than ${LINE_MAX} bytes.`)
          rest = []
        }
      }
      return errors.length > 0 ? [] : lines
    },
    end() {
      const last = restBytes === 0 ? null : lineOf(Buffer.concat(rest))
      rest = []
      restBytes = 0
      if (total === 0 && errors.length === 0) wrong(null, 'empty_file', 'The input file has no requests.')
      return kept(last)
    },
    errors,
    get total() {
      return total
    },
  }
}

function decoded(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}

function parsed(json: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(json)
    return isObject(value) ? value : null
  } catch {
    return null
  }
}
