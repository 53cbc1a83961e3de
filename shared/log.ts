import pino from 'pino'

/** The logger every part is given. Fields first, sentence second. */
export interface Log {
  debug(fields: object, text: string): void
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
  error(fields: object, text: string): void
  child(fields: object): Log
}

/** Field names that never reach the output, at any of the first three levels. */
const SECRET_FIELDS = [
  'apiKey',
  'api_key',
  'authorization',
  'x-api-key',
  'x-litellm-api-key',
  'api-key',
  'x-goog-api-key',
  'key',
  'masterKey',
  'master_key',
  'password',
  'secret',
  'token',
  'cookie',
  'database_url',
  'databaseUrl',
]

/** A logger to standard output, one JSON line each. `level`: `debug`, `info`, `warn`, `error` or `silent`. */
export function createLog(level: string, name: string, destination?: { write(line: string): void }): Log {
  const paths = SECRET_FIELDS.flatMap((field) => [`["${field}"]`, `*["${field}"]`, `*.*["${field}"]`])
  const options: pino.LoggerOptions = { level, name, redact: { paths, censor: '[redacted]' } }
  return destination === undefined ? pino(options) : pino(options, destination)
}

/** A logger that says nothing. */
export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
}
