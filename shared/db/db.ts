/**
 * The database, as the rest sees it. PostgreSQL is always PostgreSQL: one implementation over a pool (`postgres.ts`).
 * `bigint` columns come back as JavaScript numbers when they are safe integers and throw otherwise; money stays exact.
 */
export interface Database {
  /** Runs one statement. `name` makes it a prepared statement of that name on each connection: use it on hot paths. */
  query<Row = Record<string, unknown>>(text: string, values?: readonly unknown[], name?: string): Promise<Row[]>
  /** Runs `work` in a transaction: committed when it resolves, rolled back when it rejects. */
  transaction<Result>(work: (tx: Transaction) => Promise<Result>): Promise<Result>
  /** Whether the last statement reached the server. */
  readonly connected: boolean
  /** Asks the server something trivial; rejects when it is away. */
  ping(): Promise<void>
  close(): Promise<void>
}

export interface Transaction {
  query<Row = Record<string, unknown>>(text: string, values?: readonly unknown[], name?: string): Promise<Row[]>
}
