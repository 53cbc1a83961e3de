import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { type Route, route, z } from './route.ts'

/** The files of the page, and their types. A closed list: nothing else of that package can be asked for. */
const FILES = {
  'swagger-ui.css': 'text/css',
  'swagger-ui-bundle.js': 'text/javascript',
  'favicon-32x32.png': 'image/png',
} as const

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Turnpike API</title>
<link rel="stylesheet" href="swagger/swagger-ui.css">
<link rel="icon" href="swagger/favicon-32x32.png">
</head>
<body>
<div id="page"></div>
<script src="swagger/swagger-ui-bundle.js"></script>
<script src="swagger/start.js"></script>
</body>
</html>
`
const START = `SwaggerUIBundle({ url: 'openapi.json', dom_id: '#page', deepLinking: true, persistAuthorization: false })\n`

/** The API page at `/`, what it is made of, /openapi.json and /routes. Everything comes from this process, nothing from a CDN. */
export function openapiRoutes(deps: { document: () => object; list: () => { path: string; methods: string[] }[] }): Route[] {
  const directory = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))
  const page = (path: string, type: string, read: () => string | Promise<Uint8Array<ArrayBuffer>>): Route =>
    route({
      method: 'GET',
      path,
      tag: 'pages',
      summary: path,
      access: 'public',
      hidden: true,
      input: z.object({}),
      output: z.string(),
      handle: async () =>
        new Response(await read(), {
          headers: { 'content-type': `${type}; charset=utf-8`, 'x-content-type-options': 'nosniff' },
        }),
    })
  return [
    page('/', 'text/html', () => PAGE),
    page('/swagger/start.js', 'text/javascript', () => START),
    ...Object.entries(FILES).map(([name, type]) =>
      page(`/swagger/${name}`, type, async () => Uint8Array.from(await readFile(join(directory, name)))),
    ),
    page('/openapi.json', 'application/json', () => JSON.stringify(deps.document())),
    route({
      method: 'GET',
      path: '/routes',
      tag: 'pages',
      summary: 'Every management route',
      access: 'public',
      input: z.object({}),
      output: z.object({ routes: z.array(z.object({ path: z.string(), methods: z.array(z.string()) })) }),
      handle: () => ({ routes: deps.list() }),
    }),
  ]
}
