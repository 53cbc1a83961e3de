import { hash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { testClock } from '../../shared/clock.ts'
import { createHttpClient, type HttpClient } from '../../shared/http/client.ts'
import { answerOf, cacheSuite } from './cache.suite.ts'
import { CREDENTIALS, type FakeS3, REGION, startFakeS3 } from './fake-s3.testkit.ts'
import { createS3Cache } from './s3.ts'

const PREFIX = 'gate way/answers+1&/'

cacheSuite('S3', async (clock) => {
  const [s3, http] = [await startFakeS3('buck.et'), createHttpClient()]
  const open = () =>
    createS3Cache({
      http,
      clock,
      bucket: 'buck.et',
      prefix: PREFIX,
      region: REGION,
      endpoint: `${s3.endpoint}/`,
      credentials: CREDENTIALS,
    })
  return {
    cache: open(),
    other: open(),
    corrupt: async (key) => void s3.objects.set(`${PREFIX}${hash('sha256', key, 'hex')}.json`, Buffer.from('<html>')),
    async close() {
      expect(s3.refused).toEqual([])
      await http.close()
      await s3.close()
    },
  }
})

describe('the S3 cache', () => {
  let s3: FakeS3
  let http: HttpClient
  beforeEach(async () => {
    s3 = await startFakeS3('bucket')
    http = createHttpClient()
  })
  afterEach(async () => {
    await http.close()
    await s3.close()
  })

  const open = (credentials = CREDENTIALS, endpoint = s3.endpoint) =>
    createS3Cache({ http, clock: testClock(Date.now()), bucket: 'bucket', prefix: 'p/', region: REGION, endpoint, credentials })

  it('flushes its own objects and leaves others under its prefix alone', async () => {
    s3.objects.set('p/notes.txt', Buffer.from('mine'))
    s3.objects.set('elsewhere', Buffer.from('mine'))
    await open().set('a', answerOf(), 60_000)
    expect(s3.objects.size).toBe(3)
    await open().flush()
    expect([...s3.objects.keys()].sort()).toEqual(['elsewhere', 'p/notes.txt'])
  })

  it('rejects with what S3 says when it is not let in, broken or away, and never with a secret', async () => {
    const wrong = open({ ...CREDENTIALS, secretAccessKey: 'guessed' })
    await expect(wrong.get('a')).rejects.toThrow('S3 answered 403 (SignatureDoesNotMatch)')
    s3.broken = 503
    await expect(open().get('a')).rejects.toThrow('S3 answered 503 (SlowDown)')
    await expect(open().set('a', answerOf(), 1_000)).rejects.toThrow('S3 answered 503 (SlowDown)')
    await expect(open(CREDENTIALS, 'http://127.0.0.1:1').ping()).rejects.toThrow(/Could not reach http:\/\/127.0.0.1:1/)
  })
})
