import { describe, expect, it } from 'vitest'
import { changedMetadata, plainColumns } from './field-columns.ts'

describe('columns of fields', () => {
  it('are those that are sent, null being the default', () => {
    expect(plainColumns({ models: null, alias: 'a', other: 1 }, { models: [], alias: null, blocked: false })).toEqual({
      models: [],
      alias: 'a',
    })
  })
})

describe('metadata after a change', () => {
  const present = { a: 1, tags: ['x'] }

  it('is not touched by a change that says nothing of it', () => {
    expect(changedMetadata(undefined, { other: 1 }, ['tags'], present)).toBeNull()
  })

  it('keeps what is there beside the fields put inside, and loses those that are null', () => {
    expect(changedMetadata(undefined, { tags: ['y'], guardrails: null }, ['tags', 'guardrails'], present)).toEqual({
      a: 1,
      tags: ['y'],
    })
    expect(changedMetadata(undefined, { tags: null }, ['tags'], present)).toEqual({ a: 1 })
    expect(present).toEqual({ a: 1, tags: ['x'] })
  })

  it('is replaced by one that is sent, and emptied by null', () => {
    expect(changedMetadata({ b: 2 }, { tags: ['y'] }, ['tags'], present)).toEqual({ b: 2, tags: ['y'] })
    expect(changedMetadata(null, {}, ['tags'], present)).toEqual({})
  })
})
