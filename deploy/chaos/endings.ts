/** How one call ended for its client, in words: what verdicts count and faults allow. */
export type Ending = string

export const WHOLE = 'whole'
/** Refused because the budget of its key is used up. */
export const SPENT = 'refused, budget used up'
export const FOREIGN = 'bytes that are not its own'
export const HUNG = 'no end'

/** What a client got of one answer. */
export interface Got {
  stream: boolean
  /** 0: no answer came. */
  status: number
  body: string
  /** Why the connection ended before the answer did; null: the message ended as HTTP says. */
  broken: string | null
}

/** Judges an answer against the text that belongs to it. */
export function endingOf(got: Got, text: string): Ending {
  if (got.status === 0) return `connection ${got.broken ?? 'closed'}`
  if (got.status !== 200) return refusal(got)
  return got.stream ? streamEnding(got, text) : wholeEnding(got, text)
}

function refusal({ status, body }: Got): Ending {
  const error = errorOf(body)
  if (error?.type === 'budget_exceeded') return SPENT
  return `${status} ${error?.code ?? 'without an error'}`
}

function wholeEnding({ body, broken }: Got, text: string): Ending {
  if (broken !== null) return `connection ${broken}`
  const content = contentOf(body)
  if (content === null) return 'no JSON'
  return content === text ? WHOLE : FOREIGN
}

function streamEnding({ body, broken }: Got, text: string): Ending {
  let said = ''
  let error = false
  let done = false
  for (const event of body.split('\n\n')) {
    const data = event
      .split('\n')
      .find((line) => line.startsWith('data: '))
      ?.slice(6)
    if (data === undefined) continue
    if (data === '[DONE]') {
      done = true
      continue
    }
    const chunk = parsed(data)
    // The last event may have been cut in the middle.
    if (chunk === null) continue
    if (chunk.error !== undefined) error = true
    said += chunk.choices?.[0]?.delta?.content ?? ''
  }
  if (!text.startsWith(said)) return FOREIGN
  if (error) return 'stream ended by an error event'
  if (done) return said === text ? WHOLE : 'stream that claims to be whole and is not'
  return broken === null ? 'stream that ends without a word' : 'stream cut by the connection'
}

interface Chunk {
  error?: { code?: string | null; type?: string | null; message?: string }
  choices?: { delta?: { content?: string | null }; message?: { content?: string | null } }[]
}

function parsed(text: string): Chunk | null {
  try {
    return JSON.parse(text) as Chunk
  } catch {
    return null
  }
}

function contentOf(body: string): string | null {
  return parsed(body)?.choices?.[0]?.message?.content ?? null
}

function errorOf(body: string): { code: string; type: string } | null {
  const error = parsed(body)?.error
  return error === undefined ? null : { code: String(error.type ?? error.code), type: String(error.type) }
}
