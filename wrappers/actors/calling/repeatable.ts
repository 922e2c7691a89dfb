/** Idempotent methods, which owners list when they are asked for the location of an actor. */
import { NAME_MAX } from './proxy.js'

/** Limit of all lists that arrive over one link, in characters; further lists are ignored. */
const TEXT_MAX = 64 * 1024

/** The idempotent methods of one type, as an owner listed them. */
export type Repeatable = ReadonlySet<string>

interface Lists {
  size: number
  readonly byText: Map<string, Repeatable>
}

/** The lists that arrived, deduplicated and bounded per link, because a peer may send a different list for each address. */
export class Repeatables {
  readonly #byLink = new WeakMap<object, Lists>()

  /** @param names  names as they arrived @returns undefined if `names` is not a list of names, or the link has exceeded its limit */
  of(link: object, names: unknown): Repeatable | undefined {
    if (!isNames(names)) return undefined
    let lists = this.#byLink.get(link)
    if (!lists) this.#byLink.set(link, lists = { size: 0, byText: new Map() })
    const text = names.join('\n')
    const known = lists.byText.get(text)
    if (known || lists.size + text.length > TEXT_MAX) return known
    const made = new Set(names)
    lists.size += text.length
    lists.byText.set(text, made)
    return made
  }
}

const isNames = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.length > 0 && value.every((name) => typeof name === 'string' && name.length <= NAME_MAX)
