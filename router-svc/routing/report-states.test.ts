import { expect, it } from 'vitest'
import type { DeploymentReport, RoutingNews } from '../../proto/routing.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import { createMemoryHub } from '../../shared/bus/memory.ts'
import { systemClock } from '../../shared/clock.ts'
import { silentLog } from '../../shared/log.ts'
import { reportStates } from './report-states.ts'

const report = (id: number): DeploymentReport => ({
  id: `d${id}`,
  inFlight: 0,
  cooldownSeconds: 0,
  ejectedSeconds: 0,
  share: 1,
  unhealthy: false,
  error: null,
  latency: null,
  firstToken: null,
  throughput: null,
  requests: 0,
  tokens: 0,
  successes: 0,
  failures: 0,
})

it.each([0, 1, 2_000, 4_001])(
  'answers whoever asks with all of %i deployments, however many messages it takes',
  async (count) => {
    const hub = createMemoryHub({ clock: systemClock, log: silentLog, strict: true })
    const [router, accounting] = [hub.join('router'), hub.join('accounting')]
    const reports = reportStates({ bus: router, view: () => Array.from({ length: count }, (_, index) => report(index)) })
    const heard: RoutingNews[] = []
    const whole = new Promise<void>((resolve) => {
      accounting.onChange('routing', (payload) => {
        const news = payload as RoutingNews
        if (news.reports === undefined) return
        heard.push(news)
        if (news.last === true) resolve()
      })
    })
    accounting.announce('routing', { v: WIRE_VERSION, routerId: accounting.id, ask: 'a1' })
    await whole
    expect(heard.flatMap((news) => news.reports?.map(({ id }) => id))).toEqual(
      Array.from({ length: count }, (_, index) => `d${index}`),
    )
    expect(heard.every(({ routerId, ask }) => routerId === router.id && ask === 'a1')).toBe(true)
    // Its own answer is no question, and what routers tell each other is none either.
    router.announce('routing', { v: WIRE_VERSION, routerId: 'another', loads: {} })
    await reports.stop()
    await hub.close()
  },
)
