import { describe, expect, it } from 'vitest'
import { checkConfig } from './config.ts'
import { type ProcessSettings, processSettings } from './process.ts'

const STRONG = 'sk-0123456789abcdef0123'

function read(env: Record<string, string>, tree: Record<string, unknown> = {}): ProcessSettings {
  const checked = checkConfig(tree)
  if (!checked.ok) throw new Error(JSON.stringify(checked.problems))
  return processSettings(env, checked.config)
}

describe('processSettings', () => {
  it('has defaults for a process that is told nothing', () => {
    expect(read({})).toEqual({
      host: '0.0.0.0',
      port: 4000,
      tls: null,
      natsUrl: null,
      natsPrefix: 'tp',
      redisUrl: null,
      databaseUrl: null,
      databasePool: 10,
      masterKey: null,
      saltKey: null,
      dataDirectory: '.turnpike',
      handlersDirectory: null,
      logLevel: 'info',
      drainLimit: 900_000,
      bodyLimit: 134_217_728,
      idempotencyKeep: 86_400_000,
      accounting: null,
      health: null,
      warnings: [expect.stringMatching(/No master key is set/)],
    })
  })

  it('takes where it runs from the environment first', () => {
    const own = {
      turnpike_settings: {
        host: '127.0.0.1',
        port: 1,
        nats_url: 'nats://file:4222',
        data_directory: '/file',
        log_level: 'error',
        drain_timeout: 1,
      },
    }
    expect(read({}, own)).toMatchObject({
      host: '127.0.0.1',
      port: 1,
      natsUrl: ['nats://file:4222'],
      dataDirectory: '/file',
      logLevel: 'error',
      drainLimit: 1000,
    })
    const env = {
      HOST: '::',
      PORT: '0',
      NATS_URL: 'nats://a:4222, nats://b:4222',
      TURNPIKE_DATA: '/env',
      LITELLM_LOG: 'WARNING',
      TURNPIKE_DRAIN_TIMEOUT: '2.5',
    }
    expect(read(env, own)).toMatchObject({
      host: '::',
      port: 0,
      natsUrl: ['nats://a:4222', 'nats://b:4222'],
      dataDirectory: '/env',
      logLevel: 'warn',
      drainLimit: 2500,
    })
    expect(read({ NATS_URL: 'nats://a', TURNPIKE_NATS_URL: 'nats://b' }).natsUrl).toEqual(['nats://b'])
  })

  it('takes what it is trusted with from the file first', () => {
    const env = { LITELLM_MASTER_KEY: 'sk-env', DATABASE_URL: 'postgresql://env', REDIS_URL: 'redis://env' }
    const tree = {
      general_settings: { master_key: STRONG, database_url: 'postgresql://file', database_connection_pool_limit: 5 },
      router_settings: { redis_host: 'file', redis_password: 'p@ss' },
    }
    expect(read(env, tree)).toMatchObject({
      masterKey: STRONG,
      saltKey: STRONG,
      databaseUrl: 'postgresql://file',
      databasePool: 5,
      redisUrl: 'redis://:p%40ss@file:6379',
    })
    expect(read(env)).toMatchObject({ masterKey: 'sk-env', databaseUrl: 'postgresql://env', redisUrl: 'redis://env' })
    expect(read({ ...env, LITELLM_SALT_KEY: 'salt' }).saltKey).toBe('salt')
  })

  it('puts URLs together from their parts', () => {
    expect(
      read({ REDIS_HOST: 'h', REDIS_PORT: '7', REDIS_USERNAME: 'u', REDIS_PASSWORD: 'a/b', REDIS_SSL: 'True' }).redisUrl,
    ).toBe('rediss://u:a%2Fb@h:7')
    expect(
      read({
        DATABASE_HOST: 'db:5433',
        DATABASE_USERNAME: 'me',
        DATABASE_PASSWORD: 'p:w',
        DATABASE_NAME: 'litellm',
        DATABASE_SCHEMA: 'x',
      }).databaseUrl,
    ).toBe('postgresql://me:p%3Aw@db:5433/litellm?schema=x')
    expect(read({ DATABASE_HOST: 'db', DATABASE_NAME: 'n' }).databaseUrl).toBe('postgresql://db:5432/n')
  })

  it('serves TLS only with both files, and says when one is missing', () => {
    expect(read({ SSL_KEYFILE_PATH: 'k.pem', SSL_CERTFILE_PATH: 'c.pem' }).tls).toEqual({
      keyFile: 'k.pem',
      certificateFile: 'c.pem',
    })
    const half = read({ SSL_KEYFILE_PATH: 'k.pem' })
    expect(half.tls).toBeNull()
    expect(half.warnings).toEqual(expect.arrayContaining([expect.stringMatching(/Only one of SSL_KEYFILE_PATH/)]))
  })

  it('opens further ports only where they are given', () => {
    expect(
      read({ TURNPIKE_ACCOUNTING_PORT: '4002', TURNPIKE_HEALTH_PORT: '4003', TURNPIKE_HEALTH_HOST: '0.0.0.0' }),
    ).toMatchObject({
      accounting: { host: '127.0.0.1', port: 4002 },
      health: { host: '0.0.0.0', port: 4003 },
    })
  })

  it('ignores a number that is none, with a warning', () => {
    const settings = read({ PORT: 'four thousand', LITELLM_MASTER_KEY: STRONG })
    expect(settings.port).toBe(4000)
    expect(settings.warnings).toEqual([expect.stringMatching(/^PORT is not a number/)])
  })

  it('warns of a master key that can be guessed, without telling it', () => {
    const warnings = (key: string): string[] => read({ LITELLM_MASTER_KEY: key }).warnings
    expect(warnings(STRONG)).toEqual([])
    expect(warnings('sk-1234')).toEqual([expect.stringMatching(/one of the examples/)])
    expect(warnings('sk-short')).toEqual([expect.stringMatching(/fewer than 16 characters/)])
    expect(warnings('0123456789abcdef0123')).toEqual([expect.stringMatching(/does not begin with "sk-"/)])
    expect(warnings('hunter2').join()).not.toContain('hunter2')
  })
})
