import type { Invitations } from '../identity/invitations.ts'
import { writerOf } from '../identity/writer.ts'
import { type Route, route, z } from './route.ts'

const id = () => z.string().min(1)
const shown = z.object({
  id: z.string().describe('Lets its holder set the password of the user, once'),
  user_id: z.string(),
  is_accepted: z.boolean(),
  accepted_at: z.iso.datetime().nullable(),
  expires_at: z.iso.datetime(),
  created_at: z.iso.datetime(),
  created_by: z.string().nullable(),
  updated_at: z.iso.datetime(),
  updated_by: z.string().nullable(),
})
const invited = z.object({ user_id: z.string(), user_email: z.string().nullable(), expires_at: z.iso.datetime() })

/** /invitation/… for admins, /onboarding/… for whoever was invited. */
export function invitationRoutes(invitations: Invitations): Route[] {
  const tag = 'invitations'
  return [
    route({
      method: 'POST',
      path: '/invitation/new',
      tag,
      summary: 'Invite a user to set a password, within seven days',
      access: 'admin',
      input: z.object({ user_id: id() }),
      output: shown,
      handle: (call) => invitations.create(call.input.user_id, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/invitation/update',
      tag,
      summary: 'Mark an invitation accepted: it opens nothing any more',
      access: 'admin',
      input: z.object({
        invitation_id: id(),
        is_accepted: z.literal(true, 'expected true: an invitation opens once, make a new one'),
      }),
      output: shown,
      handle: (call) => invitations.accept(call.input.invitation_id, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/invitation/delete',
      tag,
      summary: 'Take an invitation back',
      access: 'admin',
      input: z.object({ invitation_id: id() }),
      output: shown,
      handle: (call) => invitations.remove(call.input.invitation_id, writerOf(call)),
    }),
    route({
      method: 'GET',
      path: '/invitation/info',
      tag,
      summary: 'An invitation',
      access: 'admin',
      input: z.object({ invitation_id: id() }),
      output: shown,
      handle: ({ input }) => invitations.info(input.invitation_id),
    }),
    route({
      method: 'GET',
      path: '/onboarding/get_token',
      tag,
      summary: 'Who an open invitation is for',
      access: 'public',
      input: z.object({ invite_link: id() }),
      output: invited,
      handle: ({ input }) => invitations.open(input.invite_link),
    }),
    route({
      method: 'POST',
      path: '/onboarding/claim_token',
      tag,
      summary: 'Accept an invitation: set the password of its user, once',
      access: 'public',
      input: z.object({
        invitation_link: id(),
        user_id: id(),
        password: z.string().min(8, 'expected at least 8 characters').max(1024),
      }),
      output: invited,
      handle: ({ input }) => invitations.claim(input.invitation_link, input.user_id, input.password),
    }),
  ]
}
