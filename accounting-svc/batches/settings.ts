import type { Config } from '../../shared/config/config.ts'

/** Of the batches that the gateway runs itself. */
export interface BatchSettings {
  /** Bytes of one file, and of all files of one owner. */
  fileBytes: number
  ownerBytes: number
  /** Milliseconds files are kept. */
  fileLifetime: number
  /** Lines of one batch, and of all, that run at once in the whole cluster. */
  atOnce: number
  inAll: number
}

const MEGABYTE = 1024 * 1024
const DAY = 86_400_000

/** As configured, else as OpenAI does it: 200 MB a file, kept for 30 days. */
export function batchSettings({ turnpike_settings: own }: Config): BatchSettings {
  return {
    fileBytes: (own.batch_file_mb ?? 200) * MEGABYTE,
    ownerBytes: (own.batch_storage_mb ?? 2_048) * MEGABYTE,
    fileLifetime: (own.batch_file_days ?? 30) * DAY,
    atOnce: own.batch_parallel_lines ?? 8,
    inAll: own.batch_parallel_lines_total ?? 32,
  }
}
