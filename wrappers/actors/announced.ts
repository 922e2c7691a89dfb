/** Key under which a stage announces the actors that it hosts. */
export const LAYER = 'actors'

export interface Announced {
  readonly types: readonly string[]
  /** Whether the stage hosts single objects, whose addresses match no announced type. */
  readonly objects: boolean
}

/** Reads the announcement of a peer; undefined if it has none or it is malformed. */
export function announcedBy(announces: Readonly<Record<string, unknown>>): Announced | undefined {
  const { types, objects } = (announces[LAYER] ?? {}) as Partial<Record<keyof Announced, unknown>>
  return Array.isArray(types) ? { types: types as readonly string[], objects: objects === true } : undefined
}
