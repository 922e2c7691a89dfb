/** Checks the arguments and the result of a method, by schemas of any library that follows Standard Schema. */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { ISSUES_MAX, StageError, asError, describe } from '../../../src/errors.js'
import { isThenable } from '../../../src/thenable.js'

export type Schema<Input = unknown, Output = Input> = StandardSchemaV1<Input, Output>
/** Schemas for the arguments of a method: a schema for the only argument, or a list with a schema for each. */
export type Schemas = Schema | readonly Schema[]

/** The arguments that a handler gets behind these schemas; without schemas, `Unchecked`. */
export type ArgumentsOf<Input, Unchecked extends unknown[]> = undefined extends Input ? Unchecked
  : Input extends readonly unknown[] ? { -readonly [Position in keyof Input]: OutputOf<Input[Position]> } : [OutputOf<Input>]
type OutputOf<One> = One extends Schema ? StandardSchemaV1.InferOutput<One> : never

/** The results that this schema accepts from a handler; without a schema, any. */
export type ResultFor<Output> = Output extends Schema ? StandardSchemaV1.InferInput<Output> | PromiseLike<StandardSchemaV1.InferInput<Output>> : unknown

/** Schemas for a method that takes such arguments. */
type SchemasFor<Args extends readonly unknown[]> = { readonly [Position in keyof Args]: Schema<unknown, Args[Position]> }
  | (Args extends readonly [] | readonly [unknown, unknown, ...unknown[]] ? never : Schema<unknown, Args[0]>)

/** The options that fit the parameters and result of a method, or a text if `Given` does not; `Options` are the options of any method. */
export type Fitting<Method, Given, Options> =
  [Exclude<keyof Given, keyof Options>] extends [never]
    ? 0 extends 1 & Method ? Options
      : NonNullable<Method> extends (this: never, ...args: infer Args) => infer Result
        ? Omit<Options, 'input'> & { readonly input?: SchemasFor<Args> | undefined }
          & (Given extends { readonly output: infer Output extends Schema } ? ResultFits<Awaited<Result>, Output> : unknown)
        : 'not a method'
    : 'not an option of a method'
type ResultFits<Result, Output extends Schema> = [Result] extends [StandardSchemaV1.InferInput<Output>]
  ? unknown
  : { readonly output: 'the result of the method does not fit its output schema' }

/** @param input, output  as given by the user @throws TypeError */
export function validation(method: string, input: unknown, output: unknown): Validation | undefined {
  if (input === undefined && output === undefined) return undefined
  const check = (name: string, given: unknown): Schema => {
    if (isSchema(given)) return given
    const list = name === 'input' ? ', or a list with one for each argument' : ''
    throw new TypeError(`${name} of ${method} is ${describe(given)}: expected a Standard Schema, as those of zod, valibot and arktype are${list}`)
  }
  const inputs = Array.isArray(input) ? [...input as unknown[]].map((one, i) => check(`input[${i}]`, one)) : input === undefined ? undefined : [check('input', input)]
  return new Validation(inputs, output === undefined ? undefined : check('output', output))
}

/** A schema may be a function too. */
function isSchema(given: unknown): given is Schema {
  if ((typeof given !== 'object' && typeof given !== 'function') || given === null) return false
  const standard = (given as Partial<Schema>)['~standard'] as Partial<Schema['~standard']> | null | undefined
  return standard?.version === 1 && typeof standard.validate === 'function'
}

/** The outcome of one schema: a value, the issues found, or the failure of the schema itself. */
type Verdict = { readonly value: unknown } | { readonly issues: readonly StandardSchemaV1.Issue[] } | { readonly broken: unknown }

/** The schemas of one method. Nothing is awaited as long as all schemas answer synchronously. */
export class Validation {
  constructor(private readonly inputs: readonly Schema[] | undefined, private readonly result: Schema | undefined) {}

  /**
   * @param what  the method, for messages
   * @param told  gets the error of a schema that failed, of which the caller learns no more
   * @returns the arguments as the schemas return them, one for each schema, or a promise of them
   * @throws StageError BAD_ARGUMENT, or the promise rejects with it
   */
  args(args: readonly unknown[], what: string, told: (error: StageError) => void): unknown {
    const { inputs } = this
    if (!inputs) return args
    if (args.length > inputs.length) {
      const message = `expected at most ${inputs.length} ${inputs.length === 1 ? 'argument' : 'arguments'}, found ${args.length}`
      throw new StageError('BAD_ARGUMENT', `${what}: ${message}`, { executed: 'no', issues: [{ message, path: [inputs.length] }] })
    }
    const verdicts = inputs.map((schema, i) => judged(schema, args[i]))
    const taken = (all: readonly Verdict[]): unknown[] => accepted(all, what, told)
    return verdicts.some(isThenable) ? Promise.all(verdicts.map(async (one) => one)).then(taken) : taken(verdicts as Verdict[])
  }

  /**
   * @param told  gets the reason why the result does not pass, which is a mistake of the callee
   * @returns the result as the schema returns it, or a promise of the result
   * @throws StageError REMOTE_ERROR, or the promise rejects with it
   */
  returned(value: unknown, what: string, told: (error: StageError) => void): unknown {
    if (!this.result) return value
    const taken = (verdict: Verdict): unknown => {
      if ('value' in verdict) return verdict.value
      const said = `the result of ${what} does not pass its output schema`
      told('broken' in verdict
        ? new StageError('REMOTE_ERROR', `the output schema of ${what} failed: ${asError(verdict.broken).message}`, { executed: 'yes', cause: verdict.broken })
        : new StageError('REMOTE_ERROR', `${said}: ${inWords(verdict.issues)}`, { executed: 'yes', issues: verdict.issues }))
      throw new StageError('REMOTE_ERROR', said, { executed: 'yes' })
    }
    const verdict = judged(this.result, value)
    return isThenable(verdict) ? verdict.then(taken) : taken(verdict)
  }
}

function judged(schema: Schema, value: unknown): Verdict | Promise<Verdict> {
  const broken = (error: unknown): Verdict => ({ broken: error })
  try {
    const result: unknown = schema['~standard'].validate(value)
    return isThenable(result) ? Promise.resolve(result).then(verdict).catch(broken) : verdict(result)
  } catch (error) {
    return broken(error)
  }
}

/** @throws TypeError the value is not the result of a schema, and must not count as valid */
function verdict(result: unknown): Verdict {
  const { issues } = (result ?? {}) as Partial<StandardSchemaV1.FailureResult>
  if (issues) return { issues: [...issues].slice(0, ISSUES_MAX).map(({ message, path }) => ({ message, path: path ? [...path] : [] })) }
  if (typeof result === 'object' && result !== null && 'value' in result) return { value: result.value }
  throw new TypeError(`its validate() returned ${describe(result)}: expected { value } or { issues }`)
}

/** @throws StageError BAD_ARGUMENT */
function accepted(all: readonly Verdict[], what: string, told: (error: StageError) => void): unknown[] {
  const broken = all.findIndex((one) => 'broken' in one)
  if (broken >= 0) {
    const { broken: cause } = all[broken] as { broken: unknown }
    told(new StageError('BAD_ARGUMENT', `the schema for argument ${broken + 1} of ${what} failed: ${asError(cause).message}`, { executed: 'no', cause }))
    throw new StageError('BAD_ARGUMENT', `argument ${broken + 1} of ${what} could not be checked: its schema failed`, { executed: 'no' })
  }
  const wrong = all.findIndex((one) => 'issues' in one)
  if (wrong < 0) return all.map((one) => (one as { value: unknown }).value)
  const issues = all.flatMap((one, i) => 'issues' in one ? one.issues.map(({ message, path }) => ({ message, path: [i, ...path ?? []] })) : [])
  const { issues: first } = all[wrong] as StandardSchemaV1.FailureResult
  throw new StageError('BAD_ARGUMENT', `argument ${wrong + 1} of ${what} does not pass its schema: ${inWords(first)}`, { executed: 'no', issues })
}

/** The first issue, and its path. */
function inWords([first]: readonly StandardSchemaV1.Issue[]): string {
  if (!first) return 'no reason was given'
  const path = (first.path ?? []).map((step) => String(typeof step === 'object' ? step.key : step)).join('.')
  return path === '' ? first.message : `${first.message} (at ${path})`
}

