import type { lookup } from 'node:dns'
import { describe, expect, it } from 'vitest'
import { createHttpClient } from './client.ts'
import { exchange } from './exchange.ts'
import { isPublicAddress, publicLookup } from './public-address.ts'

describe('an address', () => {
  it.each([
    '127.0.0.1',
    '10.1.2.3',
    '172.31.255.255',
    '192.168.0.1',
    '169.254.169.254',
    '100.100.100.200',
    '0.0.0.0',
    '255.255.255.255',
    '::1',
    '::',
    'fe80::1',
    'fd00:ec2::254',
    '::ffff:127.0.0.1',
    '::ffff:8.8.8.8',
    '64:ff9b::a9fe:a9fe',
    '2002:7f00:1::',
    '2001:db8::1',
    'localhost',
    '',
  ])('inside a network is not public: %s', (address) => {
    expect(isPublicAddress(address)).toBe(false)
  })

  it.each(['8.8.8.8', '1.1.1.1', '172.32.0.1', '2606:4700::1111', '2a00:1450:4001:800::200e'])(
    'of the internet is: %s',
    (address) => {
      expect(isPublicAddress(address)).toBe(true)
    },
  )
})

describe('a name', () => {
  const names: Record<string, string[]> = {
    good: ['8.8.8.8', '2606:4700::1111'],
    mixed: ['8.8.8.8', '169.254.169.254'],
    none: [],
  }
  const using = ((name: string, _: unknown, done: (error: Error | null, found: unknown) => void) =>
    done(
      null,
      (names[name] ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )) as unknown as typeof lookup
  const look = (name: string, all: boolean) =>
    new Promise((resolve) =>
      publicLookup(using)(name, { all }, (error, address, family) => resolve(error?.message ?? [address, family])),
    )

  it('leads to all its addresses when they are public, and nowhere when one is not', async () => {
    expect(await look('good', false)).toEqual(['8.8.8.8', 4])
    expect(await look('good', true)).toEqual([
      [
        { address: '8.8.8.8', family: 4 },
        { address: '2606:4700::1111', family: 6 },
      ],
      undefined,
    ])
    for (const name of ['mixed', 'none']) expect(await look(name, true)).toMatch(/not public/)
  })

  it('of this machine is not connected to by a request for the internet alone', async () => {
    const http = createHttpClient()
    const ask = (url: string) =>
      exchange(http, { method: 'GET', url, headers: {}, publicOnly: true }, { limit: 2_000, maxBytes: 10 })
    for (const host of ['localhost:9', '127.0.0.1:9', '[::1]:9'])
      await expect(ask(`http://${host}/`)).rejects.toThrow(/its name is not known|not public/)
    await http.close()
  })
})
