import { readFileSync, writeFileSync } from 'node:fs'
import { type HeldStreams, holdStreams, openLoop } from './client.ts'
import { callBytes, once } from './connection.ts'
import { bodiesOf, connectionsOf, edited, HELD, MIX, type Part } from './soak-mix.ts'
import type { LoadOptions, LoadResult } from './tally.ts'
import type { Gateway } from './topologies.ts'

/** Who calls what: a key for each part of the mix, in two teams, so that what must be exact is summed by the gateway itself. */
export interface Target {
  gateway: Gateway
  keys: Map<string, string>
  teams: { exact: string; estimated: string }
}

const CHAT = '/v1/chat/completions'
/** Milliseconds in which every edge has heard of a change; half a second more than the second that is promised. */
const HEARD = 1_500

/** A management call. Throws when it is not answered with 200. */
export async function manage(gateway: Gateway, path: string, body?: Record<string, unknown>): Promise<Record<string, unknown>> {
  const reply = await once({
    origin: gateway.origin,
    path,
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${gateway.masterKey}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  if (reply.status !== 200) throw new Error(`${path} answered ${reply.status}: ${reply.body.toString().slice(0, 300)}`)
  return JSON.parse(reply.body.toString()) as Record<string, unknown>
}

/** Makes teams and keys, with every kind of limit on them and none that refuses. */
export async function openTarget(gateway: Gateway): Promise<Target> {
  const team = async (alias: string): Promise<string> =>
    String((await manage(gateway, '/team/new', { team_alias: alias, max_budget: 1e6 }))['team_id'])
  const teams = { exact: await team('soak-exact'), estimated: await team('soak-estimated') }
  const keys = new Map<string, string>()
  for (const part of [...MIX, HELD, { ...HELD, name: 'changing', exact: true }]) {
    const made = await manage(gateway, '/key/generate', {
      key_alias: `soak-${part.name}`,
      team_id: part.exact ? teams.exact : teams.estimated,
      ...{ max_budget: 1e6, rpm_limit: 1e7, tpm_limit: 1e10, max_parallel_requests: 100_000 },
    })
    keys.set(part.name, String(made['key']))
  }
  return { gateway, keys, teams }
}

/** One call with the key of a part. Resolves with its status. */
export async function callOnce(target: Target, key: string, fields: Record<string, unknown> = {}): Promise<number> {
  const body = JSON.stringify({ model: 'soak', max_tokens: 16, messages: [{ role: 'user', content: 'hello' }], ...fields })
  const headers = { authorization: `Bearer ${key}` }
  return (await once({ origin: target.gateway.origin, path: CHAT, headers, body })).status
}

/** `rate` calls per second of the whole mix for `duration` milliseconds. */
export async function runMix(target: Target, rate: number, duration: number): Promise<Map<Part, LoadResult>> {
  const running = MIX.map(async (part): Promise<[Part, LoadResult]> => {
    const options = Object.assign(optionsOf(target, part, duration), {
      rate: rate * part.share,
      connections: connectionsOf(part, rate),
    })
    return [part, await openLoop(options)]
  })
  return new Map(await Promise.all(running))
}

/** Opens `count` streams that live until they are released. */
export function hold(target: Target, count: number): Promise<HeldStreams> {
  const { origin } = target.gateway
  const [body = ''] = bodiesOf(HELD)
  const call = callBytes({ origin, path: CHAT, headers: headersOf(target, HELD), body })
  return holdStreams({ origin, call, count, rate: 200, limit: 30_000 })
}

function headersOf(target: Target, part: Part): Record<string, string> {
  return { authorization: `Bearer ${target.keys.get(part.name) ?? ''}` }
}

function optionsOf(target: Target, part: Part, duration: number): LoadOptions {
  const { origin } = target.gateway
  const calls = bodiesOf(part).map((body) => callBytes({ origin, path: CHAT, headers: headersOf(target, part), body }))
  let turn = 0
  return {
    origin,
    get call() {
      turn += 1
      return calls[turn % calls.length] as Buffer
    },
    duration,
    ...(part.stream ? { stream: part.abortAfter > 0 ? { abortAfter: part.abortAfter } : {} } : {}),
  }
}

/** Of its keys at once: made, used and deleted. */
const LIVES = 8

/**
 * So many keys through their lives with one call each, before anything is measured: metrics keep a set of numbers for each key up to a limit, and
 * growth towards it is no leak. Resolves with the calls, all of them billed to the exact team. Throws when one is not answered.
 */
export async function fillMetrics(target: Target, keys: number): Promise<number> {
  let begun = 0
  const live = async (): Promise<void> => {
    while (begun < keys) {
      begun += 1
      const made = await manage(target.gateway, '/key/generate', {
        key_alias: `soak-first-${begun}`,
        team_id: target.teams.exact,
      })
      const key = String(made['key'])
      const status = await callOnce(target, key)
      if (status !== 200) throw new Error(`a key just made was answered ${status}`)
      await manage(target.gateway, '/key/delete', { keys: [key] })
    }
  }
  await Promise.all(Array.from({ length: LIVES }, live))
  return keys
}

export interface Changes {
  /** Keys made, used, changed, used, deleted and refused. */
  keys: number
  /** Calls of these that were answered, all of them billed to the exact team. */
  calls: number
  /** The configuration file written anew. */
  reloads: number
  problems: string[]
}

/** What operators do meanwhile: a key every second through its whole life, the configuration edited every `reloadEvery` ms. */
export function changeThings(target: Target, reloadEvery: number): { done: Changes; stop(): Promise<void> } {
  const done: Changes = { keys: 0, calls: 0, reloads: 0, problems: [] }
  let stopped = false
  const pause = (milliseconds: number): Promise<void> => new Promise((wake) => setTimeout(wake, milliseconds))
  const guarded = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      if (done.problems.length < 20) done.problems.push((error as Error).message)
    }
  }
  const expect = async (key: string, wanted: number, when: string): Promise<void> => {
    const status = await callOnce(target, key)
    if (status === 200) done.calls += 1
    if (status !== wanted) throw new Error(`a key ${when} was answered ${status} instead of ${wanted}`)
  }
  const lives = (async () => {
    for (let turn = 0; !stopped; await pause(1_000)) {
      turn += 1
      await guarded(async () => {
        const made = await manage(target.gateway, '/key/generate', {
          ...{ key_alias: `soak-life-${turn}`, team_id: target.teams.exact, max_budget: 1, rpm_limit: 100 },
        })
        const key = String(made['key'])
        await expect(key, 200, 'just made')
        await manage(target.gateway, '/key/update', { key, max_budget: 2, metadata: { turn } })
        await expect(key, 200, 'just changed')
        await manage(target.gateway, '/key/delete', { keys: [key] })
        await pause(HEARD)
        await expect(key, 401, 'deleted')
        done.keys += 1
      })
    }
  })()
  const { configFile } = target.gateway
  const config = readFileSync(configFile, 'utf8')
  const timer = setInterval(() => {
    done.reloads += 1
    writeFileSync(configFile, edited(config, done.reloads))
  }, reloadEvery)
  return {
    done,
    stop: async () => {
      stopped = true
      clearInterval(timer)
      await lives
    },
  }
}
