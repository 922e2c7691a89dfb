/** Under which a stage announces what it hosts. */
export const LAYER = 'actors'

export interface Announced {
  readonly types: readonly string[]
  /** Single objects, under addresses that no type tells. */
  readonly objects: boolean
}

/** What a peer says that it hosts, if it can be read. */
export function announcedBy(announces: Readonly<Record<string, unknown>>): Announced | undefined {
  const { types, objects } = (announces[LAYER] ?? {}) as Partial<Record<keyof Announced, unknown>>
  return Array.isArray(types) ? { types: types as readonly string[], objects: objects === true } : undefined
}
