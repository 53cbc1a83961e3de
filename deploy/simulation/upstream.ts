import type { Timer } from '../../shared/clock.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { HttpClient, OutgoingRequest, ResponseSink } from '../../shared/http/client.ts'
import type { Random } from './random.ts'
import type { SimulatedProcess, World } from './world.ts'

/** How an upstream takes one request. */
export type Play = 'whole' | 'status' | 'refused' | 'closes' | 'breaks' | 'stalls' | 'error'

export interface UpstreamFaults {
  /** Share of requests that meet each. */
  plays: Readonly<Partial<Record<Play, number>>>
  /** Milliseconds to the head and between pieces, most. */
  wait: number
  pace: number
}

/** One request as the upstream and the wire saw it. */
export interface Served {
  /** Number of this request among all. */
  index: number
  /** Of the client's call. */
  tag: string
  deployment: string
  process: string
  stream: boolean
  /** When it left the router, virtual Unix milliseconds as records have it. */
  sentAt: number
  /** It reached the upstream. */
  arrived: boolean
  play: Play
  status: number
  /** What it will say; what of it has left the upstream. */
  words: readonly string[]
  said: number
  /** How many of these reached the router. */
  heard: number
  /** The answer left whole, its usage told. */
  complete: boolean
  usage: { input: number; output: number }
  aborted: boolean
}

export interface SimulatedUpstream {
  connect(process: SimulatedProcess): HttpClient
  readonly served: readonly Served[]
  /** Answers under way. */
  readonly open: readonly Served[]
  faults: UpstreamFaults
  readonly counts: Record<Play, number>
}

const STREAM = { 'content-type': 'text/event-stream' }
const JSON_TYPE = { 'content-type': 'application/json' }
const LATENCY = 2
const STATUSES = [429, 500, 503, 529, 400, 401] as const

/** Providers that speak OpenAI's protocol: one per host name, its first label the deployment. */
export function createSimulatedUpstream(world: World, random: Random, faults: UpstreamFaults): SimulatedUpstream {
  const served: Served[] = []
  const counts: Record<Play, number> = { whole: 0, status: 0, refused: 0, closes: 0, breaks: 0, stalls: 0, error: 0 }
  const open = new Set<Served>()
  const upstream: SimulatedUpstream = {
    served,
    counts,
    faults,
    get open() {
      return [...open]
    },
    connect: (process) => ({
      send: (request, sink) => exchange(process, request, sink),
      async close() {},
    }),
  }

  function play(): Play {
    let drawn = random.next()
    for (const [name, share] of Object.entries(upstream.faults.plays) as [Play, number][]) {
      drawn -= share
      if (drawn < 0) return name
    }
    return 'whole'
  }

  function exchange(process: SimulatedProcess, request: OutgoingRequest, sink: ResponseSink) {
    const body = JSON.parse(Buffer.from(request.body ?? '{}').toString()) as {
      stream?: boolean
      max_tokens?: number
      messages?: { content: string }[]
    }
    const index = served.length
    const text = JSON.stringify(body.messages ?? [])
    const output = body.max_tokens ?? 10
    const entry: Served = {
      index,
      tag: /call-\d+/.exec(text)?.[0] ?? 'none',
      deployment: new URL(request.url).hostname.split('.')[0] ?? '',
      process: process.name,
      stream: body.stream === true,
      sentAt: world.clock.now(),
      arrived: false,
      play: play(),
      status: 200,
      words: Array.from({ length: random.between(1, 8) }, (_, n) => `<${index}.${n}>`),
      said: 0,
      heard: 0,
      complete: false,
      usage: { input: 5, output },
      aborted: false,
    }
    served.push(entry)
    open.add(entry)
    let over = false
    let paused = false
    let waiting: (() => void)[] = []
    let timer = watch(request.headersTimeout, 'did not start to answer in time')
    const steps = entry.stream ? streamSteps(entry) : wholeSteps(entry)

    function watch(limit: number, reason: string): Timer | null {
      if (limit === 0) return null
      return process.clock.after(limit, () => {
        // Who does not read is not waiting.
        if (paused) timer = watch(limit, reason)
        else fail('provider_timeout', `The upstream ${reason}.`)
      })
    }
    function rest(): void {
      if (over) return
      over = true
      open.delete(entry)
      timer?.cancel()
    }
    function fail(code: 'provider_timeout' | 'provider_truncated' | 'provider_connection', reason: string): void {
      if (over) return
      rest()
      sink.failed(new GatewayError(code, reason))
    }
    function next(): void {
      const step = steps.shift()
      if (step === undefined || over) return
      const delay = step.wait
      world.after(delay, null, `upstream ${index} step`, () => {
        if (over || paused) {
          if (!over) waiting.push(() => go())
          return
        }
        go()
      })
      function go(): void {
        if (over || step === undefined) return
        step.run()
        next()
      }
    }
    const heard = (): void => {
      timer?.cancel()
      timer = watch(request.bodyTimeout, 'fell silent in the middle of its answer')
    }

    function head(status: number, headers: Record<string, string>): void {
      entry.status = status
      // One stretch of wire: pieces stay in order.
      send('head', () => {
        heard()
        sink.head(status, headers)
      })
    }
    let last = 0
    function send(what: string, run: () => void): void {
      last = Math.max(last, world.now + LATENCY * random.next())
      world.after(last - world.now, process, `upstream ${index} ${what}`, () => {
        if (over) return
        if (paused || waiting.length > 0) waiting.push(run)
        else run()
      })
    }
    function data(text: string): void {
      const { said } = entry
      send('data', () => {
        heard()
        entry.heard = said
        sink.data(Buffer.from(text))
      })
    }
    function end(): void {
      send('end', () => {
        rest()
        sink.end()
      })
    }
    function lose(): void {
      send('lost', () => fail('provider_truncated', 'The upstream closed the connection before its answer was complete.'))
    }

    interface Step {
      wait: number
      run: () => void
    }

    function wholeSteps(of: Served): Step[] {
      const wait = random.next() * upstream.faults.wait
      if (of.play === 'status') return [{ wait, run: () => refuse(of) }]
      const answer = {
        id: `c${index}`,
        object: 'chat.completion',
        created: 1,
        model: 'up',
        choices: [{ index: 0, message: { role: 'assistant', content: of.words.join('') }, finish_reason: 'stop' }],
        usage: usageOf(of),
      }
      const bytes = JSON.stringify(answer)
      const half = Math.floor(bytes.length / 2)
      switch (of.play) {
        case 'stalls':
          return [
            {
              wait,
              run: () => {
                head(200, JSON_TYPE)
                data(bytes.slice(0, half))
              },
            },
          ]
        case 'breaks':
        case 'closes':
        case 'error':
          return [
            {
              wait,
              run: () => {
                head(200, JSON_TYPE)
                data(bytes.slice(0, half))
                lose()
              },
            },
          ]
        default:
          return [
            {
              wait,
              run: () => {
                head(200, JSON_TYPE)
                of.said = of.words.length
                of.complete = true
                data(bytes)
                end()
              },
            },
          ]
      }
    }

    function streamSteps(of: Served): Step[] {
      const pace = (): number => random.next() * upstream.faults.pace
      const wait = random.next() * upstream.faults.wait
      if (of.play === 'status') return [{ wait, run: () => refuse(of) }]
      const base = { id: `c${index}`, object: 'chat.completion.chunk', created: 1, model: 'up' }
      const line = (fields: object): string => `data: ${JSON.stringify({ ...base, ...fields })}\n\n`
      const chunk = (delta: object, reason: string | null = null): string =>
        line({ choices: [{ index: 0, delta, finish_reason: reason }] })
      const list: Step[] = [
        {
          wait,
          run: () => {
            head(200, STREAM)
            data(chunk({ role: 'assistant', content: '' }))
          },
        },
      ]
      const most = of.play === 'whole' ? of.words.length : random.between(0, of.words.length - 1)
      for (const [n, word] of of.words.slice(0, most).entries())
        list.push({
          wait: pace(),
          run: () => {
            of.said = n + 1
            data(chunk({ content: word }))
          },
        })
      switch (of.play) {
        case 'whole':
          list.push({
            wait: pace(),
            run: () => {
              of.complete = true
              data(`${chunk({}, 'stop')}${line({ choices: [], usage: usageOf(of) })}data: [DONE]\n\n`)
              end()
            },
          })
          break
        case 'closes':
          list.push({ wait: pace(), run: end })
          break
        case 'breaks':
          list.push({ wait: pace(), run: lose })
          break
        case 'error':
          list.push({
            wait: pace(),
            run: () => {
              data(`data: ${JSON.stringify({ error: { message: 'The server had an error', type: 'server_error' } })}\n\n`)
              end()
            },
          })
          break
        default:
      }
      return list
    }

    function refuse(of: Served): void {
      const status = random.pick(STATUSES)
      of.status = status
      head(status, JSON_TYPE)
      data(JSON.stringify({ error: { message: 'not now', type: 'server_error', code: null } }))
      end()
    }

    let left = false
    // A turn of the event loop later, as undici does.
    world.after(0, process, `upstream ${index} leaves`, () => {
      if (over) return
      left = true
      request.leaving?.()
      world.after(LATENCY * random.next(), null, `upstream ${index} arrives ${entry.tag} ${entry.play}`, () => {
        if (over || process.dead) return
        if (entry.play === 'refused') {
          counts.refused += 1
          world.after(LATENCY * random.next(), process, `upstream ${index} refused`, () =>
            fail('provider_connection', 'Could not reach the upstream: the connection was refused.'),
          )
          return
        }
        counts[entry.play] += 1
        entry.arrived = true
        next()
      })
    })
    process.onKill(() => {
      if (over) return
      over = true
      open.delete(entry)
      entry.aborted = true
    })

    return {
      pause() {
        paused = true
      },
      resume() {
        if (!paused) return
        paused = false
        const runs = waiting
        waiting = []
        for (const run of runs) {
          if (paused) waiting.push(run)
          else run()
        }
      },
      abort() {
        if (over) return
        entry.aborted = true
        rest()
      },
      get sent() {
        return left
      },
    }
  }

  return upstream
}

function usageOf({ usage: { input, output } }: Served): object {
  return { prompt_tokens: input, completion_tokens: output, total_tokens: input + output }
}
