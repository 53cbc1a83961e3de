import { describe, expect, it } from 'vitest'
import { parseScript, ScriptError, scriptText } from './script.ts'

const never = (): number => {
  throw new Error('not asked')
}

describe('the script grammar', () => {
  it('reads numbers, sizes, words, faults and percent-encoded text', () => {
    const script = parseScript('latency=50, chunks=64,size=2k,bytes=1m,fault=cut+deaf,message=too%20long%2C sorry,id=a1', never)
    expect(script).toMatchObject({ latency: 50, size: 2048, chunks: 512, message: 'too long, sorry', id: 'a1' })
    expect([...script.faults]).toEqual(['cut', 'deaf'])
  })

  it('lets the body win over the model and the header over both', () => {
    const text = scriptText('script:chunks=1,size=1,latency=1', 'hi [[upstream chunks=2,size=2]]', 'chunks=3', '')
    expect(parseScript(text, never)).toMatchObject({ chunks: 3, size: 2, latency: 1 })
  })

  it('gives a marker for one site to that site only', () => {
    const body = '[[upstream@west fail=500]] [[upstream id=a]]'
    expect(parseScript(scriptText('m', body, undefined, 'west'), never)).toMatchObject({ fail: 500, id: 'a' })
    expect(parseScript(scriptText('m', body, undefined, 'east'), never)).toMatchObject({ fail: 0, id: 'a' })
  })

  it('limits a failure to the first calls, or to one of them', () => {
    const fails = (text: string): number[] => [1, 2, 3, 4].map((count) => parseScript(text, () => count).fail)
    expect(fails('fail=503x2')).toEqual([503, 503, 0, 0])
    expect(fails('fail=503@3')).toEqual([0, 0, 503, 0])
    expect(fails('fail=503')).toEqual([503, 503, 503, 503])
    expect(fails('fail=503/2')).toEqual([503, 0, 503, 0])
    expect([1, 2].map((count) => parseScript('fault=resetx1', () => count).faults.size)).toEqual([1, 0])
  })

  it('counts calls by id, and once however many limits there are', () => {
    const keys: string[] = []
    parseScript('fail=503x1,id=k7,fault=cut@2', (key) => keys.push(key))
    expect(keys).toEqual(['k7'])
  })

  it('refuses unknown keys, faults and numbers', () => {
    for (const text of ['colour=red', 'fault=flood', 'chunks=many', 'fail=yes', 'faults=cut', 'message=%zz']) {
      expect(() => parseScript(text, never), text).toThrow(ScriptError)
    }
  })
})
