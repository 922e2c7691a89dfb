/** What the suites use of a test runner's `t`; ava's fits as it is. */
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

/** A test runner's `test`; ava's fits as it is. Titles must be unique within a file: wrap it to put a name in front. */
export type Test = (title: string, body: (t: Assertions) => Promise<void> | void) => void
