/** What the generations of models differ in, read from the name: new ones are taken for the newest kind. */
export interface Traits {
  /** `level`: Gemini 3 and later; `budget`: 2.5, and names without a version; `none`: before, and Gemma. */
  thinking: 'none' | 'budget' | 'level'
  /** Fewest tokens of thinking, for models that cannot go without; 0 = it can be turned off. */
  leastBudget: number
  /** The budget of the effort `minimal`. */
  minimalBudget: number
  pro: boolean
  /** The first of Gemini 3's Pro models has no level between low and high. */
  mediumLevel: boolean
  /** Takes JSON Schema as it is; else the subset of OpenAPI's. */
  jsonSchema: boolean
  /** Has a system instruction; else the system's words go before the user's. */
  system: boolean
  /** Calls carry signatures that must come back, and results of functions may hold media. */
  signed: boolean
  /** Each search is billed, not each prompt that searched. */
  billsSearches: boolean
}

export function traitsOf(model: string): Traits {
  const name = model.slice(model.lastIndexOf('/') + 1).toLowerCase()
  const gemma = name.startsWith('gemma')
  const version = Number(/gemini-(\d+(?:\.\d+)?)/.exec(name)?.[1] ?? 2.5)
  const pro = name.includes('pro')
  const third = version >= 3 && !gemma
  return {
    thinking: gemma || version < 2.5 || /tts|embedding|-image/.test(name) ? 'none' : third ? 'level' : 'budget',
    leastBudget: pro ? 128 : 0,
    minimalBudget: pro ? 128 : name.includes('flash-lite') ? 512 : 1,
    pro,
    mediumLevel: !(pro && version === 3),
    jsonSchema: !gemma && version >= 2,
    system: !gemma,
    signed: third,
    billsSearches: third,
  }
}
