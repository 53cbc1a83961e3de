import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { hashKey } from '../../shared/config/secrets.ts'
import { createTestDatabase, type TestDatabase } from '../../shared/db/test-database.ts'
import { MIGRATIONS } from '../accounting.ts'
import { findIdentity } from '../sql/limits.ts'
import { type ImportRequest, importLitellm } from './import-litellm.ts'
import { addLitellm, createLitellm, type Generation } from './litellm-fixture.ts'
import { formatReport, type ImportReport } from './report.ts'

const NOW = Date.parse('2026-03-10T12:00:00Z')
const RESET = '2026-03-16T00:00:00.000Z'
const KEYS = { alice: 'sk-alice-0123456789', bob: 'sk-bob-0123456789', lone: 'sk-lone-0123456789', old: 'sk-old-0123456789' }
const hash = (name: keyof typeof KEYS) => hashKey(KEYS[name])

let theirs: TestDatabase
let ours: TestDatabase

async function open(generation: Generation): Promise<void> {
  theirs = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'])
  ours = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'], MIGRATIONS)
  await createLitellm(theirs.db, generation)
}
async function close(): Promise<void> {
  await theirs.drop()
  await ours.drop()
}

const add = (table: string, row: Record<string, unknown>) => addLitellm(theirs.db, table, row)

/** What both generations can hold. */
async function fill(): Promise<void> {
  await add('BudgetTable', { budget_id: 'b-org', max_budget: 1000, tpm_limit: '9223372036854775807', budget_duration: '30d' })
  await add('BudgetTable', { budget_id: 'b-member', max_budget: 0.1, budget_duration: '7d', budget_reset_at: RESET })
  await add('BudgetTable', { budget_id: 'b-customer', max_budget: 'Infinity', rpm_limit: 7 })
  await add('ObjectPermissionTable', { object_permission_id: 'perm', mcp_servers: ['files'], vector_stores: [] })
  await add('OrganizationTable', {
    organization_id: 'acme',
    organization_alias: 'Acme',
    budget_id: 'b-org',
    spend: 12.5,
    object_permission_id: 'perm',
  })
  await add('ModelTable', { id: 3, aliases: '{"fast": "gpt-4o-mini"}' })
  await add('UserTable', {
    user_id: 'alice',
    user_email: 'alice@example.com',
    user_role: 'proxy_admin',
    password: 'swordfish-hash',
    max_budget: 50,
    spend: 7.000000001,
    budget_duration: '1mo',
    budget_reset_at: '2026-04-01T00:00:00.000',
  })
  await add('UserTable', { user_id: 'bob', user_email: 'Bob@Example.com', user_role: 'internal_user', spend: 0.3 })
  await add('UserTable', { user_id: 'litellm-proxy-budget', spend: 99 })
  await add('TeamTable', {
    team_id: 'red|1',
    team_alias: 'Red',
    organization_id: 'acme',
    members_with_roles: [
      { user_id: 'alice', role: 'admin' },
      { user_id: null, user_email: 'bob@example.com', role: 'user' },
      { user_id: 'carol', role: 'user' },
      { user_id: null, user_email: 'nobody@example.com', role: 'user' },
    ],
    metadata: { tags: ['x'], team_member_budget_id: 'b-member' },
    max_budget: 20,
    rpm_limit: 100,
    spend: 10,
    budget_duration: '7d',
    budget_reset_at: RESET,
    model_id: 3,
  })
  await add('TeamTable', { team_id: 'legacy', members: ['bob'], admins: ['alice'], spend: 0, blocked: true })
  await add('TeamMembership', { user_id: 'alice', team_id: 'red|1', spend: 6, budget_id: 'b-member' })
  await add('OrganizationMembership', { user_id: 'alice', organization_id: 'acme', user_role: 'org_admin', spend: 1.25 })
  await add('EndUserTable', { user_id: 'cust-1', alias: 'First', spend: 3.3, budget_id: 'b-customer', blocked: false })
  await add('EndUserTable', { user_id: 'cust-2', spend: 0.1, allowed_model_region: 'eu', blocked: true })
  await add('VerificationToken', {
    token: hash('alice'),
    key_name: 'sk-...6789',
    key_alias: 'prod',
    spend: 5.1,
    expires: '2027-01-02T03:04:05.678',
    models: ['gpt-4o'],
    aliases: { best: 'gpt-4o' },
    metadata: { tags: ['team-red'], enforced_params: ['user'] },
    user_id: 'alice',
    team_id: 'red|1',
    max_parallel_requests: 4,
    tpm_limit: 1000,
    rpm_limit: 60,
    max_budget: 9.99,
    budget_duration: '1d',
    budget_reset_at: '2026-03-11T00:00:00.000',
    allowed_routes: ['llm_api_routes'],
    allowed_cache_controls: ['no-cache'],
    model_max_budget: { 'gpt-4o': { budget_limit: 1, time_period: '1d' } },
    object_permission_id: 'perm',
    created_at: '2025-01-01T00:00:00.000',
  })
  await add('VerificationToken', {
    token: hash('bob'),
    key_alias: 'prod',
    spend: 0.1,
    user_id: 'bob',
    blocked: true,
    created_at: '2025-02-01T00:00:00.000',
  })
  await add('VerificationToken', { token: hash('lone'), spend: 1e-9, max_budget: 1e12, user_id: 'default_user_id' })
  await add('VerificationToken', { token: 'sk-plain-secret', key_alias: 'plain', spend: 1 })
  await add('VerificationToken', { token: hashKey('sk-session'), team_id: 'litellm-dashboard', spend: 0.01 })
  await add('ProxyModelTable', { model_id: 'm1', model_name: 'gpt-4o', litellm_params: { api_key: 'sealed-secret' } })
  await add('CredentialsTable', {
    credential_id: 'c1',
    credential_name: 'azure',
    credential_values: { api_key: 'sealed-secret' },
  })
  await add('Config', { param_name: 'general_settings', param_value: { master_key: 'sk-master-secret' } })
  await add('MCPServerTable', { server_id: 's', server_name: 'files' })
}

/** What only newer databases hold. */
async function fillNew(): Promise<void> {
  await add('ProjectTable', {
    project_id: 'p1',
    project_alias: 'One',
    team_id: 'red|1',
    budget_id: 'b-customer',
    spend: 2,
    model_rpm_limit: { 'gpt-4o': 3 },
  })
  await add('ProjectTable', { project_id: 'p-lost', spend: 1 })
  await add('TagTable', { tag_name: 'team-red', description: 'Red', spend: 4.2, budget_id: 'b-customer' })
  await add('DeprecatedVerificationToken', {
    id: 'd1',
    token: hash('old'),
    active_token_id: hash('alice'),
    revoke_at: '2026-03-12T00:00:00.000',
  })
  await add('DeprecatedVerificationToken', {
    id: 'd2',
    token: hashKey('sk-older'),
    active_token_id: hash('alice'),
    revoke_at: '2026-03-01T00:00:00.000',
  })
  await add('JWTKeyMapping', { id: 'j1', jwt_claim_name: 'sub', jwt_claim_value: 'svc', token: hash('alice') })
  await theirs.db.query(
    `update "LiteLLM_VerificationToken" set rotation_count = 2, auto_rotate = true, rotation_interval = '30d', project_id = 'p1',
       budget_limits = '[{"budget_duration": "1h", "max_budget": 0.5}]', router_settings = '{"num_retries": 1}' where token = $1`,
    [hash('alice')],
  )
  await theirs.db.query(`update "LiteLLM_TeamTable" set team_member_permissions = '{/key/generate}' where team_id = 'red|1'`)
}

function run(options: Partial<ImportRequest> = {}): Promise<ImportReport> {
  const request = {
    source: theirs.db,
    schema: 'public',
    target: ours.db,
    apply: true,
    skipConflicts: false,
    now: NOW,
    zone: 'UTC',
  }
  return importLitellm({ ...request, ...options })
}

const table = (report: ImportReport, name: string) => report.tables.find((row) => row.table === name)
const count = async (name: string) =>
  (await ours.db.query<{ count: number }>(`select count(*) as count from ${name}`))[0]?.count ?? -1

async function dump(): Promise<string> {
  const tables = [
    'keys',
    'users',
    'teams',
    'team_members',
    'organizations',
    'customers',
    'tags',
    'projects',
    'budgets',
    'spend',
    'ledger',
  ]
  const rows = await Promise.all(
    [...tables, 'daily_spend', 'audit_log'].map((name) => ours.db.query(`select * from ${name} order by 1`)),
  )
  return JSON.stringify(rows)
}

/** What the ledger says of one kind of owner. */
async function ledgerSums(column: string): Promise<Record<string, number>> {
  const rows = await ours.db.query<{ id: string; cost: number }>(
    `select ${column} as id, sum(cost_nano)::bigint as cost from ledger where nullif(${column}, '') is not null group by 1`,
  )
  return Object.fromEntries(rows.map(({ id, cost }) => [id, cost]))
}

async function spent(): Promise<Record<string, number>> {
  const rows = await ours.db.query<{ scope: string; spent_nano: number }>(
    'select scope, spent_nano from spend where spent_nano <> 0',
  )
  return Object.fromEntries(rows.map(({ scope, spent_nano }) => [scope, spent_nano]))
}

describe.each(['old', 'new'] as const)('a LiteLLM database of the %s generation', (generation) => {
  beforeAll(async () => {
    await open(generation)
    await fill()
    if (generation === 'new') await fillNew()
  })
  afterAll(close)

  it('is only looked at without --apply: the report says what would be written', async () => {
    const before = await dump()
    const report = await run({ apply: false })
    expect(await dump()).toBe(before)
    expect(report).toMatchObject({ applied: false, refused: false })
    expect(table(report, 'keys')).toMatchObject({ read: 5, written: 3, same: 0, conflicts: [] })
    expect(formatReport(report)).toContain('This was a dry run: nothing was written.')
    for (const { theirs: at, ours: here } of report.spend) expect(here).toBe(at)
  })

  it('is copied, and the report names everything that is not', async () => {
    const report = await run()
    expect(report).toMatchObject({ applied: true, refused: false })
    expect(table(report, 'keys')).toMatchObject({ read: 5, written: 3, same: 0, conflicts: [] })
    const skipped = new Map(table(report, 'keys')?.skipped.map(({ reason, ids }) => [reason, ids]))
    expect(skipped.get('it is a session of the dashboard')).toEqual(['a key without an alias'])
    expect(skipped.get('its token is no SHA-256 in hex')).toEqual(['plain'])
    expect(skipped.size).toBe(2)
    expect(report.left).toEqual({
      models: ['gpt-4o'],
      credentials: ['azure'],
      config: ['general_settings'],
      tables: ['LiteLLM_MCPServerTable'],
    })
    const text = formatReport(report)
    for (const secret of ['sealed-secret', 'sk-master-secret', 'swordfish', 'sk-plain-secret', hash('alice')])
      expect(text).not.toContain(secret)
  })

  it('gives keys with all that limits them, found by the hash of the key clients have', async () => {
    const found = await findIdentity(ours.db, hash('alice'), new Date(NOW))
    expect(found?.key).toMatchObject({
      key_name: 'sk-...6789',
      key_alias: 'prod',
      expires: new Date('2027-01-02T03:04:05.678Z'),
      models: ['gpt-4o'],
      aliases: { best: 'gpt-4o' },
      metadata: { tags: ['team-red'], enforced_params: ['user'] },
      max_parallel_requests: 4,
      tpm_limit: 1000,
      rpm_limit: 60,
      max_budget_nano: 9_990_000_000,
      budget_duration: '1d',
      allowed_routes: ['llm_api_routes'],
      allowed_cache_controls: ['no-cache'],
      model_max_budget: { 'gpt-4o': { budget_limit: 1, time_period: '1d' } },
      object_permission: { mcp_servers: ['files'] },
      created_at: new Date('2025-01-01T00:00:00Z'),
    })
    expect(found).toMatchObject({
      user: { user_role: 'proxy_admin', max_budget_nano: 50_000_000_000 },
      team: {
        max_budget_nano: 20_000_000_000,
        rpm_limit: 100,
        model_aliases: { fast: 'gpt-4o-mini' },
        metadata: { tags: ['x'] },
      },
      memberBudget: { budget_id: 'b-member', max_budget_nano: 100_000_000 },
      organizationBudget: { budget_id: 'b-org', max_budget_nano: 1_000_000_000_000, tpm_limit: Number.MAX_SAFE_INTEGER },
    })
    expect(found?.spends[`key|${hash('alice')}`]).toEqual({
      spent: 5_100_000_000,
      revision: 1,
      resetAt: Date.parse('2026-03-11T00:00:00Z'),
      duration: '1d',
    })
    expect(found?.spends['team|red%7C1']).toMatchObject({ spent: 10_000_000_000, resetAt: Date.parse(RESET) })
    expect(found?.spends['team_member|red%7C1|alice']).toMatchObject({ spent: 6_000_000_000, resetAt: Date.parse(RESET) })
    expect(found?.spends['organization|acme']).toMatchObject({
      spent: 12_500_000_000,
      duration: '30d',
      resetAt: Date.parse('2026-04-01T00:00:00Z'),
    })
  })

  it('gives each alias to its oldest key and blocks what was blocked', async () => {
    const rows = await ours.db.query(
      'select key_alias, key_name, blocked, max_budget_nano from keys where token = any($1) order by token',
      [[hash('bob'), hash('lone')]],
    )
    expect(rows).toContainEqual({ key_alias: null, key_name: 'sk-...', blocked: true, max_budget_nano: null })
    expect(rows).toContainEqual({ key_alias: null, key_name: 'sk-...', blocked: null, max_budget_nano: Number.MAX_SAFE_INTEGER })
    expect(await ours.db.query('select blocked from teams where team_id = $1', ['legacy'])).toEqual([{ blocked: true }])
  })

  it('makes members of those whom the team lists, by id, by address and from the lists of before', async () => {
    const rows = await ours.db.query('select team_id, user_id, role, budget_id from team_members order by team_id, created_at')
    expect(rows).toEqual([
      { team_id: 'legacy', user_id: 'alice', role: 'admin', budget_id: null },
      { team_id: 'legacy', user_id: 'bob', role: 'user', budget_id: null },
      { team_id: 'red|1', user_id: 'alice', role: 'admin', budget_id: null },
      { team_id: 'red|1', user_id: 'bob', role: 'user', budget_id: null },
      { team_id: 'red|1', user_id: 'carol', role: 'user', budget_id: null },
    ])
    expect(await ours.db.query(`select team_member_budget_id from teams where team_id = 'red|1'`)).toEqual([
      { team_member_budget_id: 'b-member' },
    ])
    expect(await ours.db.query('select user_id, user_role from organization_members')).toEqual([
      { user_id: 'alice', user_role: 'org_admin' },
    ])
  })

  it('leaves passwords behind', async () => {
    expect(await ours.db.query('select count(*) as count from users where password is not null')).toEqual([{ count: 0 }])
  })

  it('makes the ledger, and what scopes have spent, say what LiteLLM says of everybody', async () => {
    expect(await ledgerSums('key_hash')).toEqual({
      [hash('alice')]: 5_100_000_000,
      [hash('bob')]: 100_000_000,
      [hash('lone')]: 1,
    })
    expect(await ledgerSums('user_id')).toEqual({ alice: 7_000_000_001, bob: 300_000_000 })
    expect(await ledgerSums('team_id')).toEqual({ 'red|1': 10_000_000_000 })
    expect(await ledgerSums('organization_id')).toEqual({ acme: 12_500_000_000 })
    expect(await ledgerSums('end_user')).toEqual({ 'cust-1': 3_300_000_000, 'cust-2': 100_000_000 })
    expect(await spent()).toMatchObject({
      [`key|${hash('alice')}`]: 5_100_000_000,
      'user|alice': 7_000_000_001,
      'team_member|red%7C1|alice': 6_000_000_000,
      'organization_member|acme|alice': 1_250_000_000,
      'customer|cust-1': 3_300_000_000,
      proxy: 99_000_000_000,
    })
    // The whole is what keys have spent: no total is counted twice.
    expect(await ours.db.query('select sum(cost_nano)::bigint as sum, sum(calls)::int as calls from ledger')).toEqual([
      { sum: 5_200_000_001, calls: 0 },
    ])
    expect(await ours.db.query('select sum(cost_nano)::bigint as sum from daily_spend')).toEqual([{ sum: 5_200_000_001 }])
  })

  if (generation === 'new') {
    it('brings projects, tags, keys in grace, claims and rotation', async () => {
      expect(await ours.db.query('select project_id, metadata from projects')).toEqual([
        { project_id: 'p1', metadata: { model_rpm_limit: { 'gpt-4o': 3 } } },
      ])
      expect(await spent()).toMatchObject({ 'project|p1': 2_000_000_000, 'tag|team-red': 4_200_000_000 })
      const grace = await findIdentity(ours.db, hash('old'), new Date(NOW))
      expect(grace).toMatchObject({ key: { token: hash('alice') }, revokeAt: new Date('2026-03-12T00:00:00Z') })
      expect(await count('deprecated_keys')).toBe(1)
      expect(await ours.db.query('select jwt_claim_value, token from jwt_key_mappings')).toEqual([
        { jwt_claim_value: 'svc', token: hash('alice') },
      ])
      expect(grace?.key).toMatchObject({
        project_id: 'p1',
        rotation_count: 2,
        auto_rotate: true,
        rotation_interval: '30d',
        budget_limits: [{ budget_duration: '1h', max_budget: 0.5 }],
        router_settings: { num_retries: 1 },
      })
      expect(grace?.spends[`key|${hash('alice')}|window|1h`]).toMatchObject({
        spent: 0,
        resetAt: Date.parse('2026-03-10T13:00:00Z'),
      })
    })
  }

  it('is copied once: a second run changes nothing and says so', async () => {
    const before = await dump()
    const report = await run({ now: NOW + 1000 })
    expect(await dump()).toBe(before)
    expect(report).toMatchObject({ applied: false, refused: false, changes: 0 })
    expect(table(report, 'keys')).toMatchObject({ written: 0, same: 3, kept: 0 })
    expect(formatReport(report)).toContain('Nothing to import')
    for (const { theirs: at, ours: here } of report.spend) expect(here).toBe(at)
  })
})

describe('importing again', () => {
  beforeEach(async () => {
    await open('new')
    await fill()
    await run()
  })
  afterEach(close)

  it('brings what is new with its own balance, and leaves the balances of before', async () => {
    const late = hashKey('sk-late-0123456789')
    await add('VerificationToken', { token: late, spend: 2, user_id: 'alice', team_id: 'red|1' })
    await theirs.db.query(`update "LiteLLM_UserTable" set spend = spend + 2 where user_id = 'alice'`)
    const report = await run({ now: NOW + 1000 })
    expect(report).toMatchObject({ applied: true, changes: 1 })
    const now = await spent()
    expect(now[`key|${late}`]).toBe(2_000_000_000)
    expect(now['user|alice']).toBe(7_000_000_001)
    expect(formatReport(report)).toContain('LiteLLM has served calls since the import')
  })

  it('counts a membership that comes later once, with what its keys brought before', async () => {
    await add('VerificationToken', { token: hashKey('sk-x-0123456789'), spend: 1, user_id: 'bob', team_id: 'green' })
    await add('TeamTable', { team_id: 'green', spend: 1 })
    await theirs.db.query(`delete from "LiteLLM_UserTable" where user_id = 'bob'`)
    await add('UserTable', { user_id: 'bobby', spend: 0 })
    await run({ now: NOW + 1000 })
    await theirs.db.query(
      `update "LiteLLM_TeamTable" set members_with_roles = '[{"user_id": "bob", "role": "user"}]' where team_id = 'green'`,
    )
    await add('TeamMembership', { user_id: 'bob', team_id: 'green', spend: 1.5 })
    await run({ now: NOW + 2000 })
    expect((await spent())['team_member|green|bob']).toBe(1_500_000_000)
    expect((await spent())['team|green']).toBe(1_000_000_000)
  })

  it('neither brings back what was deleted here nor undoes what was changed here', async () => {
    await ours.db.query('delete from keys where token = $1', [hash('bob')])
    await ours.db.query('update keys set rpm_limit = 1 where token = $1', [hash('alice')])
    const report = await run({ now: NOW + 1000 })
    expect(report).toMatchObject({ applied: false, changes: 0 })
    expect(table(report, 'keys')).toMatchObject({ written: 0, same: 1, kept: 1, conflicts: [] })
    expect(await ours.db.query('select rpm_limit from keys where token = any($1)', [[hash('alice'), hash('bob')]])).toEqual([
      { rpm_limit: 1 },
    ])
  })
})

describe('what is here already', () => {
  beforeEach(async () => {
    await open('new')
    await fill()
  })
  afterEach(close)

  it('refuses the whole when it differs, unless it may be left out', async () => {
    await ours.db.query(`insert into keys (token, key_name, key_alias) values ($1, 'sk-...', 'prod')`, ['0'.repeat(64)])
    await ours.db.query(`insert into teams (team_id, rpm_limit) values ('legacy', 3)`)
    const refused = await run()
    expect(refused).toMatchObject({ applied: false, refused: true })
    expect(table(refused, 'keys')?.conflicts).toEqual([
      { id: hash('alice'), reason: 'its key_alias belongs to another row here' },
    ])
    expect(table(refused, 'teams')?.conflicts[0]?.id).toBe('legacy')
    expect(formatReport(refused)).toContain('--skip-conflicts')
    expect(await count('users')).toBe(0)

    const report = await run({ skipConflicts: true })
    expect(report.applied).toBe(true)
    expect(await count('keys')).toBe(3)
    expect(await ours.db.query(`select rpm_limit from teams where team_id = 'legacy'`)).toEqual([{ rpm_limit: 3 }])
    // The key that stayed out takes its share with it: its team has what the team's own total says.
    expect((await spent())['team|red%7C1']).toBe(10_000_000_000)
  })

  it('is not left without limits: what a conflict keeps out keeps its keys out', async () => {
    await theirs.db.query(`update "LiteLLM_UserTable" set sso_user_id = 'sso-1' where user_id = 'alice'`)
    await ours.db.query(`insert into users (user_id, sso_user_id) values ('other', 'sso-1')`)
    const report = await run({ skipConflicts: true })
    expect(table(report, 'users')?.conflicts).toEqual([{ id: 'alice', reason: 'its sso_user_id belongs to another row here' }])
    expect(table(report, 'keys')?.skipped).toContainEqual({
      reason: 'what limits it is not imported: users alice',
      ids: [hash('alice')],
    })
    expect(await ours.db.query('select from keys where token = $1', [hash('alice')])).toEqual([])
  })

  it('is filled where it says nothing, as the row that a first call makes of a customer', async () => {
    await ours.db.query(`insert into customers (user_id) values ('cust-1')`)
    await ours.db.query(`insert into spend (scope, spent_nano, revision) values ('customer|cust-1', 5, 8)`)
    const report = await run()
    expect(report.applied).toBe(true)
    expect(await ours.db.query(`select alias, budget_id from customers where user_id = 'cust-1'`)).toEqual([
      { alias: 'First', budget_id: 'b-customer' },
    ])
    expect(await ours.db.query(`select spent_nano, revision from spend where scope = 'customer|cust-1'`)).toEqual([
      { spent_nano: 3_300_000_005, revision: 9 },
    ])
  })
})

it('refuses a database without LiteLLM tables, and finds them in another schema', async () => {
  await open('new')
  await expect(run({ schema: 'lite "llm"' })).rejects.toMatchObject({ code: 'bad_request' })
  await createLitellm(theirs.db, 'old', 'elsewhere')
  await addLitellm(theirs.db, 'VerificationToken', { token: hash('lone'), spend: 0.5 }, 'elsewhere')
  expect(table(await run({ schema: 'elsewhere' }), 'keys')).toMatchObject({ read: 1, written: 1 })
  await close()
})

it('leaves out what cannot be counted, with the reason', async () => {
  await open('new')
  await add('UserTable', { user_id: 'nan', spend: 'NaN' })
  await add('UserTable', { user_id: 'rich', spend: 1e9 })
  await add('EndUserTable', { user_id: 'x'.repeat(257) })
  const report = await run()
  expect(table(report, 'users')).toMatchObject({ read: 2, written: 0 })
  expect(table(report, 'users')?.skipped.flatMap(({ ids }) => ids)).toEqual(['nan', 'rich'])
  expect(table(report, 'customers')?.skipped[0]?.reason).toContain('256')
  expect(report.applied).toBe(false)
  await close()
})
