import { expect, it } from 'vitest'
import type { Bus } from '../../shared/bus/bus.ts'
import { announceKeys } from './announce-keys.ts'

it('keys that changed are named in messages small enough for the bus, each once', () => {
  const sent: { keyHashes: string[] }[] = []
  const bus = { announce: (_kind, payload) => void sent.push(payload as { keyHashes: string[] }) } as Pick<Bus, 'announce'> as Bus
  const hashes = Array.from({ length: 1_001 }, (_, index) => String(index).padStart(64, '0'))
  announceKeys(bus, new Set(hashes))
  expect(sent.map(({ keyHashes }) => keyHashes.length)).toEqual([500, 500, 1])
  expect(sent.flatMap(({ keyHashes }) => keyHashes)).toEqual(hashes)
  announceKeys(bus, [])
  expect(sent).toHaveLength(3)
})
