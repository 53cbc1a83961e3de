import { describe, expect, it } from 'vitest'
import { adminIdentity, MASTER_KEY_ALIAS } from '../../proto/identity.ts'
import { dollars } from '../dollars.ts'
import { auditEntry, withoutSecrets } from './audit.ts'

const admin = adminIdentity(MASTER_KEY_ALIAS)

describe('an audit entry', () => {
  it('names the person of the header, else the caller', () => {
    expect(auditEntry(admin, 'ann', 'created', 'keys', 'k', null, {}).changedBy).toBe('ann')
    expect(auditEntry(admin, undefined, 'created', 'keys', 'k', null, {}).changedBy).toBe('default_user_id')
    expect(auditEntry(admin, '', 'created', 'keys', 'k', null, {}).changedBy).toBe('default_user_id')
  })

  it('cuts a name that is none', () => {
    expect(auditEntry(admin, 'x'.repeat(5000), 'created', 'keys', 'k', null, {}).changedBy).toHaveLength(256)
  })

  it('carries the hash of the key used', () => {
    expect(auditEntry({ ...admin, keyHash: 'abc' }, undefined, 'deleted', 'keys', 'k', {}, null)).toMatchObject({
      changedByKey: 'abc',
      action: 'deleted',
      table: 'keys',
      objectId: 'k',
      before: {},
      after: null,
    })
  })

  it.each([
    'key',
    'token',
    'password',
    'api_key',
    'langfuse_secret_key',
    'aws_session_token',
    'credential_values',
    'Authorization',
  ])('never holds the value of %s, however deep', (name) => {
    const hidden = JSON.stringify(withoutSecrets({ metadata: { logging: [{ [name]: 'hunter2' }] } }))
    expect(hidden).not.toContain('hunter2')
    expect(hidden).toContain('***')
  })

  it('hides a key under any name, and keeps the name that may be shown', () => {
    expect(withoutSecrets({ note: 'sk-1234567890', key_name: 'sk-...abcd' })).toEqual({ note: '***', key_name: 'sk-...abcd' })
  })

  it('leaves dates, dollars, prices, limits and absent secrets as they are', () => {
    const row = {
      created_at: new Date(0),
      spend: dollars(1_500_000_000),
      input_cost_per_token: 0.00001,
      max_tokens: 5,
      password: null,
      list: ['a'],
    }
    expect(JSON.stringify(withoutSecrets(row))).toBe(JSON.stringify(row))
  })
})
