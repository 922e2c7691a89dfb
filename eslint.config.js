import tseslint from 'typescript-eslint'

/** Time, chance and carriers come as arguments; for each, one module may use those of the machine. */
const machine = [
  { object: 'Date', property: 'now', message: 'time comes from the injected Clock (src/clock.ts)' },
  { object: 'performance', property: 'now', message: 'time comes from the injected Clock (src/clock.ts)' },
  { object: 'process', property: 'hrtime', message: 'time comes from the injected Clock (src/clock.ts)' },
  { object: 'AbortSignal', property: 'timeout', message: 'time comes from the injected Clock (src/clock.ts)' },
  { object: 'globalThis', property: 'setTimeout', message: 'time comes from the injected Clock (src/clock.ts)' },
  { object: 'crypto', property: 'randomUUID', message: 'chance comes from the injected Random (src/random.ts)' },
  { object: 'Math', property: 'random', message: 'chance comes from the injected Random (src/random.ts)' },
]
const globals = ['setTimeout', 'setInterval', 'setImmediate'].map((name) => ({ name, message: 'time comes from the injected Clock (src/clock.ts)' }))
const carriers = ['net', 'tls', 'dgram', 'http', 'https', 'http2'].flatMap((name) => [name, `node:${name}`]).map((name) => ({ name, message: 'only the files of interfaces/ know sockets' }))
const timers = ['timers', 'node:timers', 'timers/promises', 'node:timers/promises'].map((name) => ({ name, message: 'time comes from the injected Clock (src/clock.ts)' }))
const syntax = [{ selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: 'time comes from the injected Clock (src/clock.ts)' }]
/** Classes that exist once per realm (jest, vitest's vmThreads, node:vm). */
const builtins = 'Object|Function|Array|Error|AggregateError|TypeError|RangeError|SyntaxError|Map|Set|WeakMap|WeakSet|WeakRef|Date|RegExp|Promise|ArrayBuffer|SharedArrayBuffer|DataView|\\w+Array|Buffer|AbortSignal|AbortController|EventTarget|DOMException|URL|Blob'
const realms = [
  { selector: `BinaryExpression[operator='instanceof'][right.name=/^(${builtins})$/]`, message: 'false for what another realm has made: isError() of src/realm.ts, types.isMap() and the like of node:util, Array.isArray(), Buffer.isBuffer()' },
  { selector: "BinaryExpression[operator=/^[!=]==?$/] > MemberExpression[property.name='constructor']", message: 'another one for what another realm has made: isObjectPrototype() of src/realm.ts' },
]
const chance = [{ name: 'node:crypto', importNames: ['randomBytes', 'randomUUID', 'randomInt'], message: 'chance comes from the injected Random (src/random.ts)' }]

export default tseslint.config(
  { ignores: ['**/dist/**', '**/node_modules/**', '**/*.js', '**/*.mjs'] },
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { arguments: false } }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/restrict-template-expressions': 'off',
      '@typescript-eslint/prefer-promise-reject-errors': 'off',
      eqeqeq: ['error', 'always'],
      'no-var': 'error',
      'prefer-const': ['error', { ignoreReadBeforeAssign: true }],
      '@typescript-eslint/unbound-method': 'off', // option objects hold closures, which do not use `this` and may be destructured
    },
  },
  {
    files: ['src/**', 'registries/**', 'interfaces/**', 'wrappers/**'],
    rules: {
      'no-restricted-properties': ['error', ...machine],
      'no-restricted-globals': ['error', ...globals],
      'no-restricted-syntax': ['error', ...syntax, ...realms],
      'no-restricted-imports': ['error', { paths: [...carriers, ...timers, ...chance] }],
    },
  },
  { files: ['src/clock.ts'], rules: { 'no-restricted-properties': 'off', 'no-restricted-globals': 'off' } },
  { files: ['src/random.ts'], rules: { 'no-restricted-properties': 'off', 'no-restricted-imports': 'off' } },
  { files: ['interfaces/{tcp,ipc,ipc-place,websocket,worker,child,udp}.ts', 'interfaces/shared/**'], rules: { 'no-restricted-imports': 'off' } },
  { files: ['registries/**', 'interfaces/**'], rules: { '@typescript-eslint/require-await': 'off' } }, // contracts return promises, even if an implementation awaits nothing
  { files: ['test/**', 'examples/**', 'bench/**'], rules: { '@typescript-eslint/no-unsafe-argument': 'off', '@typescript-eslint/no-unsafe-assignment': 'off', '@typescript-eslint/no-unsafe-member-access': 'off', '@typescript-eslint/no-unsafe-call': 'off', '@typescript-eslint/no-unsafe-return': 'off', '@typescript-eslint/require-await': 'off', '@typescript-eslint/await-thenable': 'off', '@typescript-eslint/only-throw-error': 'off', '@typescript-eslint/no-unnecessary-type-assertion': 'off' } },
)
