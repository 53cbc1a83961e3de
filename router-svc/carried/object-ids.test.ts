import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { adminIdentity } from '../../proto/identity.ts'
import { createSealer } from '../../shared/config/secrets.ts'
import { carriedIds } from './ids.ts'
import { idWriter, partsOf, unifiedName, withOurIds, withReferences } from './object-ids.ts'

const sealer = createSealer('a secret')
const owner = { ...adminIdentity('k'), role: 'internal_user' as const, userId: 'u' }
const ids = carriedIds(owner, sealer)
const strangers = carriedIds({ ...owner, userId: 'other', keyHash: 'other' }, sealer)
const write = idWriter('dep', ids, new Map([['file-sent', 'as-sent']]))
const isOurs = (raw: string) => {
  const id = ids.encode(/^[a-z]+[-_]/.exec(raw)?.[0] ?? '', { deploymentId: 'dep', id: raw })
  return { id, decoded: ids.decode(id) }
}

describe('ids in answers', () => {
  it('are ours for objects and for what they refer to, however deep', () => {
    const answer = {
      object: 'batch',
      id: 'batch_1',
      input_file_id: 'file-1',
      output_file_id: null,
      error_file_id: '',
      tool_resources: { file_search: { vector_store_ids: ['vs_1', 'vs_2'] } },
    }
    expect(withOurIds(answer, write)).toEqual({
      ...answer,
      id: isOurs('batch_1').id,
      input_file_id: isOurs('file-1').id,
      tool_resources: { file_search: { vector_store_ids: [isOurs('vs_1').id, isOurs('vs_2').id] } },
    })
  })

  it('leave alone what clients wrote and what is reached through another object', () => {
    const message = {
      object: 'thread.message',
      id: 'msg_1',
      run_id: 'run_1',
      metadata: { file_id: 'x', object: 'file', id: 'y' },
    }
    expect(withOurIds(message, write)).toEqual(message)
  })

  it('begin and end a list as its objects do', () => {
    const listed = { object: 'list', data: [{ object: 'file', id: 'file-1' }], first_id: 'file-1', last_id: 'file-1' }
    expect(withOurIds(listed, write)).toMatchObject({ first_id: isOurs('file-1').id, last_id: isOurs('file-1').id })
    const messages = { object: 'list', data: [{ object: 'thread.message', id: 'msg_1' }], first_id: 'msg_1', last_id: 'msg_1' }
    expect(withOurIds(messages, write)).toEqual(messages)
  })

  it('stay as the client sent them', () => {
    expect(withOurIds({ object: 'file', id: 'file-sent' }, write)).toEqual({ object: 'file', id: 'as-sent' })
  })

  it('come back as the provider’s in requests, whatever they are', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[!-~]{1,60}$/), (raw) => {
        const { id, decoded } = isOurs(raw)
        expect(decoded).toEqual({ deploymentId: 'dep', id: raw })
        const change = (one: string) => ids.decode(one)?.id ?? one
        expect(withReferences({ file_ids: [id], metadata: { file_id: id } }, change)).toEqual({
          file_ids: [raw],
          metadata: { file_id: id },
        })
      }),
    )
  })

  it('are found in the video that a request is about, too', () => {
    const { id } = isOurs('video_1')
    const change = (one: string) => ids.decode(one)?.id ?? one
    expect(withReferences({ video: { id }, prompt: 'video' }, change)).toEqual({ video: { id: 'video_1' }, prompt: 'video' })
    expect(() =>
      withReferences({ video: { id: strangers.encode('video_', { deploymentId: 'dep', id: 'video_1' }) } }, change),
    ).toThrow(/No such object/)
  })

  it('are nobody’s when they are made up, whatever stands in them', () => {
    const made = (text: string) => `file-${Buffer.from(text).toString('base64url')}`
    expect(() => ids.decode(made('turnpike:1:proof:dep:file-1'))).toThrow(/No such object/)
    for (const text of ['turnpike:1:', 'turnpike:1:proof', 'turnpike:1::dep:file-1'])
      expect(() => ids.decode(made(text))).toThrow(/No such/)
    expect(ids.decode(made('turnpike:1:proof:%:file-1'))).toBeNull()
  })
})

describe('an id for several files', () => {
  it('names each with its model and deployment', () => {
    const parts = [
      { model: 'gpt:a', deploymentId: 'one', id: 'file-1' },
      { model: 'az,b', deploymentId: 'two', id: 'file-2' },
    ]
    const decoded = ids.decode(ids.encode('file-', unifiedName(parts)))
    expect(decoded === null ? null : partsOf(decoded)).toEqual(parts)
    expect(partsOf({ deploymentId: 'one', id: 'file-1' })).toBeNull()
  })
})
