import { describe, expect, it } from 'vitest'
import { NOBODY } from '../identity/open-routes.ts'
import { createRequestRouter, type Route, route, z } from './route.ts'

const echo = (method: Route['method'], path: string, input: z.ZodType, aliases: string[] = []): Route =>
  route({
    method,
    path,
    aliases,
    tag: 't',
    summary: path,
    access: 'public',
    input,
    output: z.any(),
    handle: (call) => ({ path, got: call.input }),
  })

const team = z.object({ team_id: z.string().min(3), name: z.string().optional(), page: z.coerce.number().optional() })
const router = createRequestRouter({
  routes: [
    echo('GET', '/team/{team_id}', team),
    echo('PATCH', '/team/{team_id}', team),
    echo('DELETE', '/team/{team_id}/callback/{callback_name}', z.object({ team_id: z.string(), callback_name: z.string() })),
    echo('PUT', '/budget', z.object({ id: z.string() })),
    echo('DELETE', '/budget', z.object({ ids: z.array(z.string()) }), ['/v2/budget/{name}']),
    echo('GET', '/team/list', z.object({})),
  ],
  authenticate: async () => NOBODY,
  authorize: () => undefined,
  onError: () => undefined,
  bodyLimit: 1000,
  nobody: NOBODY,
})

async function ask(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown; headers: Headers }> {
  const init: RequestInit = body === undefined ? { method } : { method, body: JSON.stringify(body) }
  const response = await router.fetch(new Request(`http://accounting${path}`, init))
  return { status: response.status, body: await response.json(), headers: response.headers }
}

describe('a name in the path', () => {
  it('is a field of the input, decoded, beside the query', async () => {
    expect((await ask('GET', '/team/a%2Fb%20c?page=2')).body).toEqual({
      path: '/team/{team_id}',
      got: { team_id: 'a/b c', page: 2 },
    })
  })

  it('is a field of the input beside the body, and wins over one of the same name', async () => {
    const { body } = await ask('PATCH', '/team/one', { team_id: 'two', name: 'n' })
    expect(body).toEqual({ path: '/team/{team_id}', got: { team_id: 'one', name: 'n' } })
  })

  it('may be one of several, and needs no body', async () => {
    const { body } = await ask('DELETE', '/team/one/callback/langfuse')
    expect(body).toMatchObject({ got: { team_id: 'one', callback_name: 'langfuse' } })
  })

  it('gives way to a route of exactly that path, wherever it stands in the list', async () => {
    expect((await ask('GET', '/team/list')).body).toEqual({ path: '/team/list', got: {} })
  })

  it('is where a value that does not fit is said to be', async () => {
    const { status, body } = await ask('PATCH', '/team/x', { name: 1 })
    expect(status).toBe(422)
    expect(body).toMatchObject({ detail: [{ loc: ['path', 'team_id'] }, { loc: ['body', 'name'], type: 'string_type' }] })
  })

  it('does not make an object of a body that is none', async () => {
    expect((await ask('PATCH', '/team/one', ['x'])).status).toBe(422)
  })

  it('is in the document as a parameter of the path, and not in the body as well', () => {
    const { paths } = router.document() as {
      paths: Record<string, Record<string, { parameters: unknown[]; requestBody: unknown }>>
    }
    const page = paths['/team/{team_id}']?.['patch']
    expect(page?.parameters).toMatchObject([{ name: 'team_id', in: 'path', required: true }])
    expect(JSON.stringify(page?.requestBody)).not.toContain('team_id')
    expect(JSON.stringify(page?.requestBody)).toContain('name')
  })
})

describe('methods', () => {
  it('may share a path, each with a body', async () => {
    expect((await ask('PUT', '/budget', { id: 'b' })).body).toMatchObject({ got: { id: 'b' } })
    expect((await ask('DELETE', '/budget', { ids: ['b'] })).body).toMatchObject({ got: { ids: ['b'] } })
    expect((await ask('DELETE', '/v2/budget/x', { ids: ['b'] })).status).toBe(200)
  })

  it('that a path does not take are refused with those it takes, also where the path holds a name', async () => {
    const { status, headers } = await ask('PUT', '/team/one')
    expect(status).toBe(405)
    expect(headers.get('allow')).toBe('GET, PATCH')
    expect((await ask('PUT', '/team/')).status).toBe(404)
    expect((await ask('PUT', '/team/one/two')).status).toBe(404)
  })
})

describe('a body', () => {
  it('that is nested too deep is a client’s mistake', async () => {
    const request = new Request('http://accounting/budget', { method: 'PUT', body: `{"a":${'['.repeat(400)}${']'.repeat(400)}}` })
    const response = await router.fetch(request)
    expect(response.status).toBe(400)
    expect(await response.text()).toContain('inside one another')
  })

  it('and a path that hold what no database keeps are a client’s mistake, told by their place', async () => {
    expect(await ask('PUT', '/budget', { id: 'a', metadata: { note: 'a\0b' } })).toMatchObject({ status: 400 })
    const { body } = await ask('PUT', '/budget', { id: 'a', list: ['\ud800'] })
    expect(JSON.stringify(body)).toContain('body.list.0 holds a character that cannot be kept')
    expect(await ask('GET', '/team/a%00b')).toMatchObject({ status: 400 })
  })
})
