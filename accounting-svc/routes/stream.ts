/** Characters collected before a piece of a long answer goes out. */
const PIECE = 32 * 1024

/**
 * A JSON list that is written as its items come, so that a long one is never held whole. The first item is awaited before there is
 * a response: what goes wrong until then is still an error with its own status.
 */
export async function jsonStream<Item>(items: AsyncGenerator<Item>, show: (item: Item) => unknown): Promise<Response> {
  const first = await items.next()
  const encoder = new TextEncoder()
  let next: IteratorResult<Item> = first
  let opened = false
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      let text = opened ? '' : '['
      while (next.done !== true && text.length < PIECE) {
        text += `${opened ? ',' : ''}${JSON.stringify(show(next.value))}`
        opened = true
        next = await items.next()
      }
      opened = true
      if (next.done === true) text += ']'
      controller.enqueue(encoder.encode(text))
      if (next.done === true) controller.close()
    },
    async cancel() {
      await items.return(undefined)
    },
  })
  return new Response(body, { headers: { 'content-type': 'application/json' } })
}
