/** What the blocks of code of the pages need around them to run, and what they must do. */

export interface Surroundings {
  /** Code in front of it, which makes the names that it uses. */
  readonly before?: string
  /** Checks behind it, which see its names. */
  readonly after?: string
  /** The code of the error in which it ends. */
  readonly throws?: string
  /** All that it prints. */
  readonly prints?: string
  /** It ends by itself: nobody ends the process. */
  readonly ends?: boolean
}

interface Surrounded extends Surroundings {
  readonly page: string
  /** A part of the block, which is in no other block of that page. */
  readonly has: string
}

const STAGES = "const api = new Stage('api'), web = new Stage('web'), db = new Stage('db')"
const PLAYER = 'class Player { hp = 100; name = "bob"; attack(damage: number) { return this.hp -= damage }; rename(name: string) { this.name = name } }'
const FOLDER = "process.chdir(process.env['FOLDER']!)"
/** What the block prints, until `console.log` is `log` again. */
const SAID = "const said: string[] = []\nconst { log } = console\nconsole.log = (...args: unknown[]): void => { said.push(args.join(' ')) }"
const UNTIL = 'const until = async (what: () => boolean): Promise<void> => { while (!what()) await sleep(10) }'

export const surroundings: readonly Surrounded[] = [
  { page: 'README.md', has: 'class Prices', after: 'assert.equal(price, 50)' },
  {
    page: 'README.md', has: "createWriteStream('copy.jpg')", before: `${FOLDER}\n${UNTIL}\n${SAID}`,
    after: "await until(() => said.length === 1)\nconsole.log = log\nassert.deepEqual(said, ['the store has read all of it'])\nawait until(() => { try { return readFileSync('copy.jpg', 'utf8') !== '' } catch { return false } })\nassert.equal(readFileSync('copy.jpg', 'utf8'), 'not really a photo')",
  },
  { page: 'README.md', has: 'class Player', after: "assert.equal(await viewer.actor<Player>('players.42').hp, 90)" },
  // this machine has no such files; test/interfaces/tls.test.ts runs the like
  { page: 'docs/deployment.md', has: '/etc/mesh/api.pem', before: "const registry = 'memory:'", throws: 'BAD_ARGUMENT' },
  { page: 'docs/registries.md', has: 'await serveRegistry(', before: "const secret = 'sixteen bytes or more'\nconsole.log = () => {}" , after: "console.log = console.info" },
  { page: 'docs/registries.md', has: 'new SqlRegistry({ pool', before: 'const pool = { connect: async () => ({}) }' },
  { page: 'docs/registries.md', has: 'new RedisRegistry({ client })', before: 'const client = new Redis({ lazyConnect: true })' },
  {
    page: 'docs/calls.md', has: 'no answer, encoded once for all', before: 'interface Api { greet(name: string): string }',
    after: "assert.deepEqual(await web.to('api').methods(), ['greet'])", prints: 'api hi there, all\n',
  },
  {
    page: 'docs/calls.md', has: 'inherits the deadline, the signal and the headers', before: STAGES,
    after: "db.to('*').provide('query', (n: number) => n * n)\nassert.equal(await web.to('api').call('slow', 4), 16)",
  },
  {
    page: 'docs/calls.md', has: "hop: '2'", before: STAGES,
    after: `
      db.to('*').provide('name', function (name: string) { return [name, this.headers['hop'], this.headers['tenant']] })
      assert.deepEqual(await web.to('api', { headers: { tenant: 'a' } }).call('greet', 'bob'), ['bob', '2', undefined])`,
  },
  {
    page: 'docs/calls.md', has: "waitMs: 0 }).call('greet'", before: `${STAGES}\napi.to('*').provide('greet', () => 'hi')`,
    after: "await assert.rejects(web.to('nobody', { waitMs: 0 }).call('greet'), { code: 'NO_SUCH_PEER' })",
  },
  {
    page: 'docs/calls.md', has: 'class Greeter', before: STAGES,
    after: "while ((await web.to('api').methods()).length > 0) await sleep(10)",
  },
  {
    page: 'docs/calls.md', has: 'withCall: true })', before: `${STAGES}\ninterface Greeting { greet(name: string): string }`,
    after: "assert.equal(await web.to('api').as<Greeting>().greet('bob'), 'hi there, bob, says web')",
  },
  {
    page: 'docs/calls.md', has: "api.on('failed'", before: `${STAGES}\n${UNTIL}\nconst told: unknown[] = []\nconsole.error = (...args: unknown[]): void => { told.push(args[0]) }`,
    after: "api.to('*').provide('greet', () => { throw new Error('on purpose') })\nawait assert.rejects(web.to('api').call('greet'), { code: 'REMOTE_ERROR' })\nawait until(() => told.length === 1)\nassert.deepEqual(told, ['greet, called by web'])",
  },
  { page: 'docs/calls.md', has: "idempotent: true }).call('price'", before: `${STAGES}\n${PLAYER}`, after: "assert.equal(await web.actor<Player>('players.42').name, 'bob')" },
  {
    page: 'docs/calls.md', has: 'const timed', before: "const secret = 'a token'",
    after: `
      api.to('*').provide('greet', () => 'hi')
      const web = new Stage('web')
      assert.equal(await web.to('api', { headers: { token: secret } }).call('greet'), 'hi')
      await assert.rejects(web.to('api').call('greet'), { code: 'FORBIDDEN' })`,
  },
  { page: 'docs/calls.md', has: 'keepCurrentCall', after: "await new Stage('web').to('api', { headers: { tenant: 'a' } }).call('greet', 'bob')", prints: 'a greet bob\n' },
  {
    page: 'docs/calls.md', has: 'z.string().trim()', before: `${STAGES}\n${PLAYER}\nconst isPlayer = () => true`,
    after: "assert.equal(await web.to('api').call('add', 1, 2), 3)\nawait assert.rejects(web.to('api').call('add', 1), { code: 'BAD_ARGUMENT' })",
  },
  {
    page: 'docs/calls.md', has: "'rows', async function*",
    before: `${STAGES}\n${FOLDER}\nconst rows = { async* query(table: string) { yield table; yield table } }\nconst enough = (row: string): boolean => row === 'users'`,
    after: "assert.equal(readFileSync('photo', 'utf8'), 'not really a photo')",
  },
  {
    page: 'docs/calls.md', has: "'ticks', async function*", before: `${STAGES}\n${UNTIL}\nconst bus = new EventEmitter()`,
    after: `
      const ticks = await web.to('api').call<AsyncIterable<number>>('ticks')
      const first = (async () => { for await (const tick of ticks) return tick })()
      await until(() => bus.listenerCount('tick') === 1)
      bus.emit('tick', 7)
      assert.equal(await first, 7)
      await until(() => bus.listenerCount('tick') === 0)`,
  },
  {
    page: 'docs/streams.md', has: 'late-*',
    before: `${STAGES}\n${UNTIL}\nlet ended = 0\nconst done = (error?: Error): void => { assert.ifError(error); ended++ }\nconst source = Readable.from([Buffer.from('bytes')])\nconst sink = new PassThrough()\nsink.resume()`,
    after: 'await until(() => ended === 2)',
  },
  {
    page: 'docs/actors.md', has: '_secret()', before: "const stage = new Stage('game'), other = new Stage('other')\nconst { signal } = new AbortController()",
    after: 'assert.equal(await player.hp, 95)',
  },
  {
    page: 'docs/actors.md', has: 'class Egg', before: `${UNTIL}\n${SAID}`,
    after: `
      const stage = new Stage('kitchen').define({ pattern: 'eggs.{id}', constructor: Egg, durable: true })
      await stage.actor<Egg>('eggs.1').boil(10)
      await until(() => said.length === 1)
      console.log = log
      assert.deepEqual(said, ['eggs.1 soft 0'])`,
  },
  {
    page: 'docs/errors.md', has: 'may have been charged', before: "const web = new Stage('web'), api = new Stage('api')",
    prints: 'nothing was charged, try again\n',
  },
  {
    page: 'docs/errors.md', has: "'nodes.a'", before: STAGES, prints: 'DEADLOCK\n',
  },
  { page: 'docs/testing.md', has: "from 'node:test'", ends: true },
  { page: 'docs/testing.md', has: 'new MemoryNetwork({ latencyMs', prints: 'DISCONNECTED\n' },
  { page: 'docs/testing.md', has: 'new VirtualClock()', prints: '3\n', after: 'await Promise.all([host.close(), caller.close(), clock.advance(20_000)])' },
]

/** Of the blocks under the name of a code: they end in an error of that code. */
export const examplesOfErrors = `${STAGES}\n${PLAYER}\napi.to('*').provide('greet', (name: string) => name)\nawait Promise.all([api.ready(), web.ready()])`
