/** What owners say of their actors when they are asked where these are: which methods may be called again. */
import { NAME_MAX } from './proxy.js'

/** Of all lists that came over one link, in characters; further ones count for nothing. */
const TEXT_MAX = 64 * 1024

/** The methods of one type that are idempotent, as its owner said. */
export type Repeatable = ReadonlySet<string>

interface Lists {
  size: number
  readonly byText: Map<string, Repeatable>
}

/** The lists that came, one for all actors of a type on one link: a peer may say another one of each address. */
export class Repeatables {
  readonly #byLink = new WeakMap<object, Lists>()

  /** @param names  as they came; undefined for what is no list of names, and for what is too much of one link */
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
