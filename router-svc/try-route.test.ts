import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { UsageEvent } from '../proto/usage.ts'
import { systemClock } from '../shared/clock.ts'
import { createHttpClient } from '../shared/http/client.ts'
import { silentLog } from '../shared/log.ts'
import { openSpool } from './spool.ts'
import { withWord } from './try-route.ts'

it('has what the spool was told in its file when a provider hears of a request, though no turn of the loop is over', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'word-'))
  const spool = openSpool<UsageEvent>({
    directory,
    encode: (event) => JSON.stringify(event),
    decode: (text) => JSON.parse(text) as UsageEvent,
    idOf: ({ callId }) => callId,
    deliver: async () => undefined,
    clock: systemClock,
    log: silentLog,
    // The turn never ends: whoever writes, it is not the end of a turn.
    soon: () => undefined,
  })
  const inFile: boolean[] = []
  const provider = createServer((request, response) => {
    const text = readdirSync(directory).map((name) => readFileSync(join(directory, name), 'latin1'))
    inFile.push(text.some((one) => one.includes(String(request.headers['x-call']))))
    response.end('{}')
  })
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/`
  const http = withWord(createHttpClient(), spool)
  const post = (callId: string): Promise<void> =>
    new Promise((resolve, reject) => {
      spool.intend({ callId } as UsageEvent)
      http.send(
        { method: 'POST', url, headers: { 'x-call': callId }, body: '{}', headersTimeout: 0, bodyTimeout: 0 },
        { head() {}, data() {}, end: resolve, failed: reject },
      )
    })
  try {
    await post('first-call')
    await Promise.all(Array.from({ length: 20 }, (_, index) => post(`call-${index}-of-many`)))
    expect(inFile).toEqual(Array.from({ length: 21 }, () => true))
  } finally {
    await http.close()
    spool.close()
    await new Promise((resolve) => provider.close(resolve))
    rmSync(directory, { recursive: true })
  }
})
