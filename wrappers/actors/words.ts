import { describe } from '../../src/errors.js'

const NAMES_MAX = 5
/** The step of an iterable that an actor has handed out. */
export const NEXT = '@next'

/** Whether the name is a request of the library, and not a method that a caller named. */
export const isInner = (method: string): boolean => method[0] === '@'

const property = (name: unknown): string => typeof name === 'string' && /^[\w$]{1,128}$/.test(name) ? name : describe(name)

const name = (given: unknown): string => typeof given === 'string' ? given : describe(given)

/** Describes a request to an actor in the caller's terms, for messages, which never show an internal method name. */
export function inWords(method: unknown, args: unknown, address: unknown): string {
  const of = name(address)
  const [first] = Array.isArray(args) ? args as unknown[] : []
  switch (method) {
    case '@get': return `reading ${property(first)} of ${of}`
    case '@watch': {
      const names = Array.isArray(first) ? first as unknown[] : [first]
      return `watching ${names.slice(0, NAMES_MAX).map(property).join(', ')}${names.length > NAMES_MAX ? ', …' : ''} of ${of}`
    }
    case '@wake': return `waking ${of}`
    case '@timer': return `a timer of ${of}`
    case NEXT: {
      const giver = first === '' || isInner(String(first)) ? of : `${property(first)} of ${of}`
      return `reading an iterable that ${giver} handed out`
    }
    case '@function': return `a function that ${of} handed out`
    case '@reminder': return `the reminder ${property(first)} of ${of}`
    default: return `${name(method)} of ${of}`
  }
}
