/** What the compiler has to do for actors, counted in instantiations of types, which are the same on every machine. */
import test from 'ava'
import { checkTypes } from '../helpers/check-types.js'

const METHODS = 200
const PROPERTIES = 50
/** To make a member what it is from afar, to call or read it, and to await that. Measured: 73; 15 of them are the await. */
const PER_MEMBER_MAX = 100

/** The same for a service, whose methods are checked at the callee as well. */
const PER_SERVED_MAX = 130

const times = (count: number, line: (i: number) => string): string => Array.from({ length: count }, (_, i) => line(i)).join('\n')

/** A program with a class of a size that nobody should have, and every member of it used from afar. */
const program = (methods: number, properties: number): string => `
import type { Stage } from '../../src/index.js'
class Big {
  ${times(properties, (i) => `p${i} = ${i % 2 ? '0' : `{ x: ${i} }`}`)}
  ${times(methods, (i) => i % 2 ? `m${i}(a: number): string { return String(a + ${i}) }` : `async m${i}<T>(value: T): Promise<T> { return value }`)}
}
export async function use(stage: Stage): Promise<void> {
  stage.define({ pattern: 'big.{id}', constructor: Big, durable: ['p0', 'p1'] })
  const big = stage.actor<Big>('big.1')
  ${times(methods, (i) => `{ const answer: ${i % 2 ? 'string' : 'number'} = await big.m${i}(${i}); void answer }`)}
  ${times(properties, (i) => `{ const value: ${i % 2 ? 'number' : '{ x: number }'} = await big.p${i}; void value }`)}
  for await (const update of stage.observe(big, [${times(properties, (i) => `'p${i}',`)}])) { const sum: number = update.p1 + update.p3; void sum }
  for await (const { p1, p2 } of stage.observe<Big>('big.1', ['p1', 'p2'])) { const some: [number, { x: number }] = [p1, p2]; void some }
}`

test('a class of 200 methods and 50 properties, all of them used from afar, is cheap for the compiler', (t) => {
  const half = checkTypes(program(METHODS / 2, PROPERTIES / 2))
  const whole = checkTypes(program(METHODS, PROPERTIES))
  t.deepEqual([half.errors, whole.errors], [[], []])
  const perMember = whole.instantiations / (METHODS + PROPERTIES)
  const growth = whole.instantiations / half.instantiations
  t.log(`${whole.instantiations} instantiations, ${perMember.toFixed(1)} for each member; ${growth.toFixed(2)} times those of half the class`)
  t.true(perMember > 1 && perMember <= PER_MEMBER_MAX, `${perMember} for each member`)
  t.true(growth < 2.1, 'twice the class costs twice as much, not more')
})

/** The same class as a service: its type at the caller, every method called, and checked at the callee. */
const service = (methods: number): string => `
import type { Stage } from '../../src/index.js'
class Big {
  ${times(methods, (i) => i % 2 ? `m${i}(a: number): string { return String(a + ${i}) }` : `async m${i}<T>(value: T): Promise<T> { return value }`)}
}
export async function use(stage: Stage): Promise<void> {
  stage.to('*').serve<Big>(new Big())
  const big = stage.to('big').as<Big>()
  ${times(methods, (i) => `{ const answer: ${i % 2 ? 'string' : 'number'} = await big.m${i}(${i}); void answer }`)}
}`

test('a service of 200 methods is cheap for the compiler at both ends', (t) => {
  const half = checkTypes(service(METHODS / 2))
  const whole = checkTypes(service(METHODS))
  t.deepEqual([half.errors, whole.errors], [[], []])
  const perMethod = whole.instantiations / METHODS
  t.log(`${whole.instantiations} instantiations, ${perMethod.toFixed(1)} for each method`)
  t.true(perMethod > 1 && perMethod <= PER_SERVED_MAX, `${perMethod} for each method`)
  t.true(whole.instantiations / half.instantiations < 2.1)
})
