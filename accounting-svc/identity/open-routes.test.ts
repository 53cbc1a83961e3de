import { describe, expect, it } from 'vitest'
import { unlessPublic } from './open-routes.ts'

describe('unlessPublic', () => {
  const settings = (allowedRoutes: string[], publicRoutes: string[]) => ({ allowedRoutes, publicRoutes })

  it('asks for a key where the operator says nothing', () => {
    expect(unlessPublic(settings([], []), '/model/info')).toBeNull()
  })

  it('lets anybody look at a public route, as a viewer who owns nothing', () => {
    expect(unlessPublic(settings([], ['/model/info']), '/model/info')).toMatchObject({
      role: 'internal_user_viewer',
      keyHash: '',
      userId: null,
    })
    expect(unlessPublic(settings([], ['/model/info']), '/key/list')).toBeNull()
  })

  it('refuses what is not among the allowed routes, public or not, and knows groups', () => {
    expect(() => unlessPublic(settings(['/chat/completions'], ['/model/info']), '/model/info')).toThrow('allowed_routes')
    expect(unlessPublic(settings(['info_routes'], []), '/model/info')).toBeNull()
    expect(() => unlessPublic(settings(['info_routes'], []), '/key/generate')).toThrow('allowed_routes')
  })
})
