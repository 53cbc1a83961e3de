/** Work that one accounting process of a cluster does for all. */
export interface Job {
  /** In logs. */
  name: string
  /** Milliseconds between the end of one run and the start of the next. */
  every: number
  run(): Promise<void>
}
