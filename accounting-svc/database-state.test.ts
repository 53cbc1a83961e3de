import { expect, it } from 'vitest'
import { createMemoryHub } from '../shared/bus/memory.ts'
import { systemClock, testClock } from '../shared/clock.ts'
import { silentLog } from '../shared/log.ts'
import { tellDatabaseState } from './database-state.ts'

it('says in beats whether the database answers, refuses, hangs and answers again', async () => {
  const hub = createMemoryHub({ clock: systemClock, log: silentLog })
  const [accounting, edge] = [hub.join('accounting'), hub.join('edge')]
  const heard = () => edge.fleet().find((member) => member.role === 'accounting')?.fields['db']
  const clock = testClock()
  let answer: () => Promise<void> = () => Promise.resolve()
  const service = tellDatabaseState({ bus: accounting, db: { ping: () => answer() }, clock })
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve))
  await settled()
  expect(heard()).toBe('connected')

  answer = () => Promise.reject(new Error('away'))
  clock.advance(2_000)
  await settled()
  expect(heard()).toBe('disconnected')

  answer = () => Promise.resolve()
  clock.advance(2_000)
  await settled()
  expect(heard()).toBe('connected')

  let wake = () => {}
  answer = () =>
    new Promise((resolve) => {
      wake = resolve
    })
  clock.advance(2_000)
  await settled()
  expect(heard()).toBe('connected')
  clock.advance(2_000)
  await settled()
  expect(heard()).toBe('disconnected')
  wake()
  await settled()
  expect(heard()).toBe('connected')

  await service.stop()
  await hub.close()
})
