/** The part of a test runner's `t` that the suites use; compatible with ava's. */
export interface Assertions {
  is(actual: unknown, expected: unknown, message?: string): unknown
  deepEqual(actual: unknown, expected: unknown, message?: string): unknown
  true(actual: unknown, message?: string): unknown
  false(actual: unknown, message?: string): unknown
  truthy(actual: unknown, message?: string): unknown
  throwsAsync(thrower: Promise<unknown>, expectation?: undefined, message?: string): Promise<unknown>
  fail(message?: string): unknown
  pass(message?: string): unknown
  teardown(fn: () => Promise<void> | void): unknown
  log(...values: unknown[]): unknown
  timeout(ms: number, message?: string): unknown
}

/** A test runner's `test`; compatible with ava's. Titles must be unique within a file: wrap `test` to add a prefix. */
export type Test = (title: string, body: (t: Assertions) => Promise<void> | void) => void
