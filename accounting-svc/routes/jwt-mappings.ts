import type { JwtMappings } from '../identity/jwt-mappings.ts'
import { writerOf } from '../identity/writer.ts'
import { type Route, route, z } from './route.ts'

const text = () => z.string().min(1)
const shown = z.object({
  id: z.string(),
  jwt_claim_name: z.string(),
  jwt_claim_value: z.string(),
  description: z.string().nullable(),
  is_active: z.boolean(),
  created_at: z.iso.datetime(),
  created_by: z.string().nullable(),
  updated_at: z.iso.datetime(),
  updated_by: z.string().nullable(),
})

/** /jwt/key/mapping/…: claims of tokens that stand for virtual keys. */
export function jwtMappingRoutes(mappings: JwtMappings): Route[] {
  const tag = 'JWT key mapping'
  return [
    route({
      method: 'POST',
      path: '/jwt/key/mapping/new',
      tag,
      summary: 'Let a claim of a token stand for a virtual key',
      access: 'admin',
      input: z.object({
        jwt_claim_name: text(),
        jwt_claim_value: text(),
        key: text().describe('The key or its SHA-256'),
        description: z.string().nullish(),
        is_active: z.boolean().nullish(),
      }),
      output: shown,
      handle: (call) => mappings.make(call.input, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/jwt/key/mapping/update',
      tag,
      summary: 'Change a mapping; what is not named stays',
      access: 'admin',
      input: z.object({
        id: text(),
        jwt_claim_name: text().nullish(),
        jwt_claim_value: text().nullish(),
        key: text().nullish().describe('The key or its SHA-256'),
        description: z.string().nullish(),
        is_active: z.boolean().nullish(),
      }),
      output: shown,
      handle: (call) => mappings.change(call.input.id, call.input, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/jwt/key/mapping/delete',
      tag,
      summary: 'Delete a mapping; the key stays',
      access: 'admin',
      input: z.object({ id: text() }),
      output: z.object({ status: z.string(), id: z.string() }),
      handle: (call) => mappings.remove(call.input.id, writerOf(call)),
    }),
    route({
      method: 'GET',
      path: '/jwt/key/mapping/info',
      tag,
      summary: 'One mapping',
      access: 'admin',
      input: z.object({ id: text() }),
      output: shown,
      handle: ({ input }) => mappings.info(input.id),
    }),
    route({
      method: 'GET',
      path: '/jwt/key/mapping/list',
      tag,
      summary: 'Mappings, a page at a time',
      access: 'admin',
      input: z.object({
        page: z.coerce.number().int().min(1).default(1),
        size: z.coerce.number().int().min(1).max(100).default(50),
      }),
      output: z.object({
        mappings: z.array(shown),
        total_count: z.number(),
        current_page: z.number(),
        total_pages: z.number(),
      }),
      handle: ({ input }) => mappings.list(input.page, input.size),
    }),
  ]
}
