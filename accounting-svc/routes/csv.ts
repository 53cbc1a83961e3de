/** Characters collected before a piece of a long file goes out. */
const PIECE = 32 * 1024

/** Name of a column and what stands in it. */
export type Columns<Item> = Readonly<Record<string, (item: Item) => unknown>>

/** Whether a CSV file is asked for. */
export function wantsCsv(call: {
  input: { format?: 'json' | 'csv' | undefined }
  header(name: string): string | undefined
}): boolean {
  return call.input.format === 'csv' || (call.input.format === undefined && /\btext\/csv\b/i.test(call.header('accept') ?? ''))
}

/**
 * A CSV file (RFC 4180: CRLF, quotes doubled, one header line) that is written as its items come. The first item is awaited before
 * there is a response: what goes wrong until then is still an error with its own status.
 */
export async function csvStream<Item>(
  items: AsyncIterable<Item> | Iterable<Item>,
  columns: Columns<Item>,
  name: string,
): Promise<Response> {
  const iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]()
  const shows = Object.values(columns)
  const encoder = new TextEncoder()
  let next = await iterator.next()
  let text = line(Object.keys(columns))
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      while (next.done !== true && text.length < PIECE) {
        const { value } = next
        text += line(shows.map((show) => show(value)))
        next = await iterator.next()
      }
      controller.enqueue(encoder.encode(text))
      text = ''
      if (next.done === true) controller.close()
    },
    async cancel() {
      await iterator.return?.(undefined)
    },
  })
  return new Response(body, {
    headers: { 'content-type': 'text/csv; charset=utf-8', 'content-disposition': `attachment; filename="${name}.csv"` },
  })
}

function line(values: readonly unknown[]): string {
  return `${values.map(csvField).join(',')}\r\n`
}

/** One field. Text that a spreadsheet would run as a formula gets an apostrophe in front (OWASP "CSV Injection"); numbers stay numbers. */
export function csvField(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (value instanceof Date) return value.toISOString()
  const text = typeof value === 'string' ? (/^[=+\-@\t\r\n]/.test(value) ? `'${value}` : value) : (JSON.stringify(value) ?? '')
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
