import { readFileSync, writeFileSync } from 'node:fs'
import { markdown } from './support-table.ts'

/** Writes the support table into `deploy/providers.md`: `npx node deploy/tools/write-support-table.ts`. */
const DOCUMENT = new URL('../providers.md', import.meta.url)
const document = readFileSync(DOCUMENT, 'utf8')
writeFileSync(
  DOCUMENT,
  document.replace(/(<!-- table -->\n)[\s\S]*?(\n<!-- \/table -->)/, (_all, before, after) => `${before}${markdown()}${after}`),
)
