import { describe, expect, it } from 'vitest'
import { signAws } from './aws-signature.ts'

describe('signAws', () => {
  it('signs AWS’s published example of a bare GET as AWS does', async () => {
    const headers = await signAws(
      { method: 'GET', url: 'https://example.amazonaws.com/', headers: {}, body: '' },
      {
        service: 'service',
        region: 'us-east-1',
        credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' },
        now: Date.parse('2015-08-30T12:36:00Z'),
      },
    )
    expect(headers['x-amz-date']).toBe('20150830T123600Z')
    expect(headers['authorization']).toContain('Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request')
  })

  it('gives another signature for another body', async () => {
    const sign = (body: string) =>
      signAws(
        { method: 'PUT', url: 'http://127.0.0.1:9000/bucket/key', headers: {}, body },
        { service: 's3', region: 'us-east-1', credentials: { accessKeyId: 'a', secretAccessKey: 'b' }, now: 0 },
      )
    expect((await sign('one'))['authorization']).not.toBe((await sign('two'))['authorization'])
    expect((await sign('one'))['authorization']).toBe((await sign('one'))['authorization'])
  })
})
