/** Figures and lists in the pages, against the code that they speak of. */
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { codes } from '../../src/errors.js'
import { binaryKinds } from '../../wrappers/codec/binary.js'
import { isStreamKind } from '../../wrappers/codec/stream-kind.js'
import { Ext } from '../../wrappers/msgpack/ext.js'
import * as messages from '../../wrappers/rpc/wire/messages.js'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
const read = (file: string): string => readFileSync(join(root, file), 'utf8')
const [PROTOCOL, STAGE, CALLS, STREAMS, ACTORS, DEPLOYMENT] = ['protocol', 'stage', 'calls', 'streams', 'actors', 'deployment'].map((name) => `docs/${name}.md`)
const KIB = 1024
const MIB = 1024 * KIB

/** Every source of the library. */
const sources = ['src', 'registries', 'interfaces', 'wrappers'].flatMap((folder) => (readdirSync(join(root, folder), { recursive: true }) as string[]).map((file) => `${folder}/${file.replaceAll('\\', '/')}`)).filter((file) => file.endsWith('.ts'))

/** A part of a page, from its heading to the next one of the same rank. */
function section(page: string, heading: string): string {
  const text = read(page)
  const from = text.indexOf(`\n## ${heading}\n`)
  if (from < 0) throw new Error(`${page} has no section "${heading}"`)
  const to = text.indexOf('\n## ', from + 1)
  return text.slice(from, to < 0 ? undefined : to)
}

/** What `DEFAULTS` of a source has, as it stands there. */
function defaultsOf(file: string): string {
  const [, text] = /^(?:export )?const DEFAULTS\b[^=]* = \{([^]*?)\}(?: as const\b.*)?$/m.exec(read(file)) ?? []
  if (text === undefined) throw new Error(`${file} has no DEFAULTS`)
  return text
}

/** What stands after `name = ` or `name: ` in a source, or in its `DEFAULTS`: a text, or products and sums of numbers, and nothing else. */
function constant(file: string, name: string): number | string {
  const [place, key] = name.startsWith('DEFAULTS.') ? [defaultsOf(file), name.slice('DEFAULTS.'.length)] : [read(file), name]
  const [, text, quoted] = new RegExp(`\\b${key.replaceAll('.', '\\.')}(?: = |: |, )(?:([\\d_ *+.]+)|'([^']*)')`).exec(place) ?? []
  if (quoted !== undefined) return quoted
  if (text === undefined) throw new Error(`${file} has nothing called ${name}`)
  return text.trim().split('+').reduce((sum, product) => sum + product.split('*').reduce((all, one) => all * Number(one.replaceAll('_', '').trim()), 1), 0)
}

/** A sentence with a figure, and the constant that it speaks of. Whoever changes one of the two must change the other. */
const figures: [page: string, says: string, file: string, name: string, is: number | string][] = [
  [PROTOCOL, 'at most 4096), and that many bytes of JSON', 'src/exchange.ts', 'MAX_BYTES', 4096],
  [PROTOCOL, 'Both ends have 5 seconds for all of it', 'src/exchange.ts', 'HANDSHAKE_MS', 5000],
  [PROTOCOL, 'at most 64 that have not said a HELLO', 'src/strangers.ts', 'SILENT_MAX', 64],
  [PROTOCOL, 'at most 64 that have, and for a moment', 'src/strangers.ts', 'GREETED_MAX', 64],
  [PROTOCOL, 'for a moment 256 in all', 'src/strangers.ts', 'BURST_MAX', 256],
  [PROTOCOL, 'when one has not answered for 250 ms', 'src/dial.ts', 'HEAD_START_MS', 250],
  [PROTOCOL, 'Each has 5 seconds for the connection', 'src/dial.ts', 'CONNECT_MS', 5000],
  [PROTOCOL, 'a handshake has 2 seconds, else 5', 'src/dial.ts', 'HURRY_MS', 2000],
  [PROTOCOL, 'more than 256 KiB are not consumed', 'interfaces/shared/port-stream.ts', 'WINDOW', 256 * KIB],
  [PROTOCOL, '(1 MiB over UDP)', 'interfaces/udp.ts', 'WINDOW', MIB],
  [PROTOCOL, 'binary messages of at most 64 KiB', 'interfaces/websocket-stream.ts', 'MESSAGE_BYTES', 64 * KIB],
  [PROTOCOL, 'Questions are sent again after 250 ms', 'interfaces/udp.ts', 'AGAIN_MS', 250],
  [PROTOCOL, '5 s for each address', 'src/dial.ts', 'CONNECT_MS', 5000],
  [PROTOCOL, 'or 2 s while other addresses are left', 'src/dial.ts', 'HURRY_MS', 2000],
  [PROTOCOL, 'again after 100 ms × 1.6 each time, up to 10 s', 'src/dial.ts', 'BACKOFF_MS', 100],
  [PROTOCOL, 'again after 100 ms × 1.6 each time, up to 10 s', 'src/dial.ts', 'BACKOFF_FACTOR', 1.6],
  [PROTOCOL, 'again after 100 ms × 1.6 each time, up to 10 s', 'src/dial.ts', 'BACKOFF_MAX_MS', 10_000],
  [PROTOCOL, 'each behind its length (6 bytes, at least 1)', 'interfaces/shared/said.ts', 'HEAD', 6],
  [PROTOCOL, '| 0 | data | at most 66 048, which is 64 KiB and 512 bytes |', 'wrappers/framing/options.ts', 'DEFAULTS.maxFrameBytes', 66_048],
  [PROTOCOL, '| frame | 64 KiB and 512 bytes', 'wrappers/framing/options.ts', 'DEFAULTS.maxFrameBytes', 64 * KIB + 512],
  [PROTOCOL, 'from 256 bytes to 1 MiB', 'wrappers/framing/options.ts', 'FRAME_LIMIT', MIB],
  [PROTOCOL, 'a frame that is not whole 10 seconds after its first byte', 'wrappers/framing.ts', 'FRAME_MS', 10_000],
  [PROTOCOL, 'reads none of the waiting data for 30 seconds', 'wrappers/framing.ts', 'STALL_MS', 30_000],
  [PROTOCOL, 'More than 100 pings within 10 seconds', 'wrappers/framing.ts', 'PINGS_MAX', 100],
  [PROTOCOL, 'More than 100 pings within 10 seconds', 'wrappers/framing.ts', 'PINGS_MS', 10_000],
  [PROTOCOL, '| ping | every 10 s, answered within 5 s |', 'src/link.ts', 'PING_MS', 10_000],
  [PROTOCOL, '| ping | every 10 s, answered within 5 s |', 'src/link.ts', 'PONG_MS', 5000],
  [PROTOCOL, 'where one of the two leaves | 9 s, then 1 s for the end', 'src/link.ts', 'DRAIN_MS', 9000],
  [PROTOCOL, 'where one of the two leaves | 9 s, then 1 s for the end', 'src/link.ts', 'LINGER_MS', 1000],
  [PROTOCOL, 'nothing has moved for 0.5 s, or for 9 s', 'wrappers/rpc/streams/channel.ts', 'IDLE_MS', 500],
  [PROTOCOL, 'nothing has moved for 0.5 s, or for 9 s', 'wrappers/rpc/streams/channel.ts', 'ASKED_MS', 9000],
  [PROTOCOL, 'A whole message has at most 4 MiB and 512 bytes', 'wrappers/rpc/wire/messages.ts', 'MESSAGE_MAX_BYTES', 4 * MIB + 512],
  [PROTOCOL, 'At most 256 KiB of PARTs', 'wrappers/rpc/wire/messages.ts', 'PARTS_WINDOW_BYTES', 256 * KIB],
  [PROTOCOL, 'More unfinished parts than four of the largest messages', 'wrappers/rpc/wire/messages.ts', 'UNFINISHED_MAX', 4],
  [PROTOCOL, 'Each direction may be 256 KiB ahead', 'wrappers/rpc/wire/messages.ts', 'STREAM_WINDOW_BYTES', 256 * KIB],
  [PROTOCOL, 'all directions that one end sends 4 MiB together', 'wrappers/rpc/wire/messages.ts', 'LINK_WINDOW_BYTES', 4 * MIB],
  [PROTOCOL, 'each may always be 4 KiB ahead', 'wrappers/rpc/wire/messages.ts', 'RESERVE_BYTES', 4 * KIB],
  [PROTOCOL, 'The receiver resets the stream if it has not begun within 60 seconds', 'wrappers/rpc/wire/messages.ts', 'UNREAD_MS', 60_000],
  [PROTOCOL, 'can still be read, for 60 seconds at most', 'wrappers/rpc/wire/messages.ts', 'UNREAD_MS', 60_000],
  [PROTOCOL, 'at most 256 items ahead of the reader, which sends TOOK for every 128', 'wrappers/rpc/streams/values.ts', 'AHEAD', 256],
  [PROTOCOL, 'by their lengths, are at most 16 MiB', 'wrappers/rpc/wire/messages.ts', 'VALUES_MAX_BYTES', 16 * MIB],
  [PROTOCOL, '| calls open on a link, in each direction | 10 000 |', 'wrappers/rpc/wire/messages.ts', 'OPEN_CALLS_MAX', 10_000],
  [PROTOCOL, '| streams open on a link | 1 000 |', 'wrappers/rpc/wire/messages.ts', 'STREAMS_MAX', 1000],
  [PROTOCOL, '| functions of one end that the other holds | 10 000 |', 'wrappers/rpc/wire/messages.ts', 'REFS_MAX', 10_000],
  [PROTOCOL, '16 MiB of calls and 16 MiB of answers', 'wrappers/rpc/wire/messages.ts', 'HELD_MAX_BYTES', 16 * MIB],
  [PROTOCOL, 'above 64 KiB streams and large messages take turns', 'wrappers/rpc/wire/messages.ts', 'CONGESTED_BYTES', 64 * KIB],
  [PROTOCOL, '30 s without any progress', 'wrappers/rpc/wire/messages.ts', 'STOPPED_MS', 30_000],
  [PROTOCOL, 'served on a link | 128 MiB of memory', 'wrappers/rpc/wire/messages.ts', 'SERVED_MAX_BYTES', 128 * MIB],
  [PROTOCOL, 'at most 33, of at most 1024 bytes each', 'wrappers/rpc/context.ts', 'TURN_MAX_BYTES', 1024],
  [PROTOCOL, 'at most 64 headers of at most 8192 bytes', 'src/headers.ts', 'HEADERS_MAX', 64],
  [PROTOCOL, 'at most 64 headers of at most 8192 bytes', 'src/headers.ts', 'HEADERS_MAX_BYTES', 8 * KIB],
  [PROTOCOL, '| calls within calls | 32 |', 'wrappers/rpc/context.ts', 'DEPTH_MAX', 32],
  [PROTOCOL, '| text of an error | 1024 characters', 'wrappers/rpc/errors.ts', 'TEXT_MAX', 1024],
  [PROTOCOL, 'the message 1024. Its causes', 'wrappers/codec/errors.ts', 'MESSAGE_MAX', 1024],
  [PROTOCOL, 'name and code have at most 128 characters', 'wrappers/codec/errors.ts', 'NAME_MAX', 128],
  [PROTOCOL, 'arrive to a depth of eight, 32 Errors', 'wrappers/codec/errors.ts', 'CAUSES_MAX', 8],
  [PROTOCOL, 'as of an `AggregateError`: the first 32 |', 'wrappers/codec/errors.ts', 'ERRORS_MAX', 32],
  [PROTOCOL, 'the first 32 whose values are data', 'wrappers/codec/errors.ts', 'PROPERTIES_MAX', 32],
  [PROTOCOL, 'nested at most eight deep', 'wrappers/codec/errors.ts', 'DEPTH_MAX', 8],
  [PROTOCOL, 'have 8 KiB with their names', 'wrappers/codec/errors.ts', 'PROPERTIES_MAX_BYTES', 8 * KIB],
  [PROTOCOL, '| 9 | reference | text in UTF-8, at most 1024 bytes', 'wrappers/codec/sendable.ts', 'REFERENCE_MAX_BYTES', 1024],
  [PROTOCOL, '| one value | 4 MiB, 250 000 elements and properties, 64 levels', 'wrappers/codec/limits.ts', 'DEFAULTS.maxNodes', 250_000],
  [PROTOCOL, '| one value | 4 MiB, 250 000 elements and properties, 64 levels', 'wrappers/codec/limits.ts', 'DEFAULTS.maxDepth', 64],
  [PROTOCOL, '| one value | 4 MiB, 250 000 elements and properties, 64 levels', 'wrappers/codec/limits.ts', 'DEFAULTS.maxBytes', 4 * MIB],
  [PROTOCOL, 'Map and Set count as two more', 'wrappers/codec/weight.ts', 'SLOW', 2],
  [PROTOCOL, 'other binary data and Error as eight', 'wrappers/codec/weight.ts', 'SLOWEST', 8],
  [PROTOCOL, 'then the magnitude, at most 1 MiB', 'wrappers/codec/sendable.ts', 'MAX_BIGINT_BYTES', MIB],
  [PROTOCOL, '| deadline | default 10 s, at most 24 h |', 'src/options.ts', 'MAX_MS', 24 * 3_600_000],
  [PROTOCOL, '| deadline | default 10 s, at most 24 h |', 'src/options.ts', 'DEFAULTS.timeoutMs', 10_000],
  [PROTOCOL, '| lease | TTL 15 s, renewed every third', 'src/options.ts', 'DEFAULTS.ttlMs', 15_000],
  [PROTOCOL, 'taken out within 2 s after its end', 'src/registry.ts', 'GRACE_MS', 2000],
  [PROTOCOL, '| entry | 8 KiB, 16 addresses', 'src/entry.ts', 'MAX_ENTRY_BYTES', 8 * KIB],
  [PROTOCOL, '| entry | 8 KiB, 16 addresses', 'src/entry.ts', 'MAX_ADDRESSES', 16],
  [PROTOCOL, 'at most 512 bytes of UTF-8 |', 'src/store.ts', 'MAX_ACTOR_BYTES', 512],
  [PROTOCOL, 'the same, 1 to 16 parts', 'wrappers/actors/address.ts', 'SEGMENTS_MAX', 16],
  [PROTOCOL, '| state of an actor | 4 MiB, 100 reminders |', 'wrappers/actors/state/snapshot.ts', 'STATE_MAX_BYTES', 4 * MIB],
  [PROTOCOL, '| state of an actor | 4 MiB, 100 reminders |', 'wrappers/actors/hosting/reminders.ts', 'REMINDERS_MAX', 100],
  [PROTOCOL, "| calls that wait for an actor | 1000 |", 'wrappers/actors/definition.ts', 'DEFAULTS.mailbox', 1000],
  [PROTOCOL, 'one loop of a watcher | 1024, and 4 MiB', 'wrappers/actors/watching/observer.ts', 'WAITING_MAX', 1024],
  [PROTOCOL, 'one loop of a watcher | 1024, and 4 MiB', 'wrappers/actors/watching/observer.ts', 'WAITING_MAX_BYTES', 4 * MIB],
  [PROTOCOL, '`deactivate()` | 10 s, 5 s |', 'wrappers/actors/hosting/activation.ts', 'HOOK_MS', 10_000],
  [PROTOCOL, '`deactivate()` | 10 s, 5 s |', 'wrappers/actors/hosting/activation.ts', 'GOODBYE_MS', 5000],
  [PROTOCOL, 'answered within 5 s; a commit is tried again for 5 s', 'wrappers/actors/hosting/activation.ts', 'STORE_MS', 5000],
  [PROTOCOL, 'answered within 5 s; a commit is tried again for 5 s', 'wrappers/actors/state/persistence.ts', 'COMMIT_MS', 5000],
  [PROTOCOL, '| an actor that nobody uses | 5 min |', 'wrappers/actors/definition.ts', 'DEFAULTS.idleMs', 300_000],
  [PROTOCOL, 'the deadline is 60 ms later than', 'wrappers/actors/calling/call.ts', 'WORD_MS', 60],
  [PROTOCOL, 'goes there, up to three times', 'wrappers/actors/calling/route.ts', 'HOPS_MAX', 3],
  [PROTOCOL, 'a list of addresses, at most 10 000', 'wrappers/actors/hosting/hosting.ts', 'TOLD_MAX', 10_000],
  [PROTOCOL, '| names (1 to 100), `latest` or', 'wrappers/actors/tasks.ts', 'WATCHED_MAX', 100],
  [PROTOCOL, 'still remembered: 1024 changes or 1 MiB', 'wrappers/actors/watching/history.ts', 'CHANGES_MAX', 1024],
  [PROTOCOL, 'still remembered: 1024 changes or 1 MiB', 'wrappers/actors/watching/history.ts', 'BYTES_MAX', MIB],
  [PROTOCOL, 'over one link | 100 000; a watch of more than ten properties', 'wrappers/actors/watching/changes.ts', 'WATCHES_MAX', 100_000],
  [PROTOCOL, 'cut into pieces of 64 KiB', 'wrappers/actors/watching/changes.ts', 'PIECE_BYTES', 64 * KIB],
  [PROTOCOL, 'when it was taken out; kept for 2 min', 'registries/shared/ledger.ts', 'LAPSED_MS', 120_000],
  [PROTOCOL, '| stream, about 10 000 |', 'registries/redis/scripts.ts', 'LOG_MAX', 10_000],
  [PROTOCOL, 'a blocking read every 10 s', 'registries/redis/feed.ts', 'BLOCK_MS', 10_000],
  [PROTOCOL, 'a comparison every 30 s ± 20 %', 'registries/redis/feed.ts', 'RECONCILE_MS', 30_000],
  [PROTOCOL, 'Watches look every 100 ms', 'registries/local/registry.ts', 'POLL_MIN_MS', 100],
  [PROTOCOL, 'every 5 ms for each of them', 'registries/local/registry.ts', 'POLL_EACH_MS', 5],
  [PROTOCOL, 'if it has at most 1 024 bytes', 'registries/redis/scripts.ts', 'LOGGED_MAX', 1024],
  [PROTOCOL, 'at least 50 ms', 'registries/shared/views.ts', 'PAUSE_MIN_MS', 50],
  [PROTOCOL, 'at most 2.5 s', 'registries/shared/views.ts', 'PAUSE_MAX_MS', 2500],
  [PROTOCOL, 'the last 1 000 are kept', 'registries/shared/ledger.ts', 'LOG_MAX', 1000],
  [PROTOCOL, 'or an hour after the time if the stage crashed', 'registries/local/alive.ts', 'KEEP_MS', 3_600_000],
  [PROTOCOL, 'still returns within 3 s', 'registries/local/registry.ts', 'LIMIT_MS', 3000],
  [STAGE, '| `timeoutMs` | ms | 10 000 |', 'src/options.ts', 'DEFAULTS.timeoutMs', 10_000],
  [STAGE, '| `idleLinkMs` | ms | 60 000 |', 'src/options.ts', 'DEFAULTS.idleLinkMs', 60_000],
  [STAGE, '| `ttlMs` | ms | 15 000 |', 'src/options.ts', 'DEFAULTS.ttlMs', 15_000],
  [STAGE, '`$STAGE_REGISTRY`, else `redis://127.0.0.1:6379`', 'src/index.ts', 'DEFAULT_REGISTRY', 'redis://127.0.0.1:6379'],
  [STAGE, '`$STAGE_REGISTRY`, else `redis://127.0.0.1:6379`', 'registries/redis/registry.ts', 'DEFAULTS.url', 'redis://127.0.0.1:6379'],
  [DEPLOYMENT, 'any free port on loopback, or on', 'interfaces/tcp.ts', 'DEFAULTS.bind', '127.0.0.1'],
  [DEPLOYMENT, '`port` is 0 by default', 'interfaces/tcp.ts', 'DEFAULTS.port', 0],
  [STAGE, '| `secret` | at least 16 bytes |', 'src/secret.ts', 'SECRET_MIN_BYTES', 16],
  [STAGE, 'lets what was begun end within nine seconds', 'src/link.ts', 'DRAIN_MS', 9000],
  [CALLS, 'Calls may be nested 32 deep', 'wrappers/rpc/context.ts', 'DEPTH_MAX', 32],
  [CALLS, 'at most 256 values or 256 KiB ahead', 'wrappers/rpc/streams/values.ts', 'AHEAD', 256],
  [CALLS, 'at most 256 values or 256 KiB ahead', 'wrappers/rpc/wire/messages.ts', 'STREAM_WINDOW_BYTES', 256 * KIB],
  [CALLS, 'are passed, for 256 KiB at most', 'wrappers/codec/hold.ts', 'AHEAD_BYTES', 256 * KIB],
  [CALLS, 'nobody begins to read within a minute', 'wrappers/rpc/wire/messages.ts', 'UNREAD_MS', 60_000],
  [CALLS, 'serves at most 10 000 calls at a time', 'wrappers/rpc/wire/messages.ts', 'OPEN_CALLS_MAX', 10_000],
  [STREAMS, 'ends by itself once nothing was written for half a second', 'src/half-open.ts', 'OPEN_MS', 500],
  [STREAMS, 'no data has moved for half a second', 'wrappers/rpc/streams/channel.ts', 'IDLE_MS', 500],
  [STREAMS, 'such a stream counts as idle only after nine seconds', 'wrappers/rpc/streams/channel.ts', 'ASKED_MS', 9000],
  [STREAMS, 'all writers of a link together are at most 4 MiB ahead', 'wrappers/rpc/wire/messages.ts', 'LINK_WINDOW_BYTES', 4 * MIB],
  [CALLS, 'at most 64 headers, 8 KiB together', 'src/headers.ts', 'HEADERS_MAX', 64],
  [CALLS, 'at most 64 headers, 8 KiB together', 'src/headers.ts', 'HEADERS_MAX_BYTES', 8 * KIB],
  [CALLS, '(50 ms, doubled up to 1 s', 'wrappers/rpc/calling/retry-budget.ts', 'BACKOFF_MS', 50],
  [CALLS, 'Default 10 000', 'src/options.ts', 'DEFAULTS.timeoutMs', 10_000],
  [ACTORS, '| `idleMs` | 300 000 |', 'wrappers/actors/definition.ts', 'DEFAULTS.idleMs', 300_000],
  [ACTORS, '| `mailbox` | 1000 |', 'wrappers/actors/definition.ts', 'DEFAULTS.mailbox', 1000],
  [ACTORS, '| `slowTurnMs` | 5000 |', 'wrappers/actors/definition.ts', 'DEFAULTS.slowTurnMs', 5000],
  [ACTORS, 'tried again: after 1 s, then after pauses that double up to one minute each', 'wrappers/actors/hosting/reminders.ts', 'RETRY_MS', 1000],
  [ACTORS, 'tried again: after 1 s, then after pauses that double up to one minute each', 'wrappers/actors/hosting/reminders.ts', 'RETRY_MAX_MS', 60_000],
  [ACTORS, 'more than 30 s late', 'wrappers/actors/hosting/reminders.ts', 'MISSED_MS', 30_000],
  [ACTORS, 'may have 100 000 watches over each link', 'wrappers/actors/watching/changes.ts', 'WATCHES_MAX', 100_000],
  [ACTORS, 'by more than 1024 updates or 4 MiB', 'wrappers/actors/watching/observer.ts', 'WAITING_MAX', 1024],
]

test('figures of the pages are those of the code', (t) => {
  for (const [page, says, file, name, is] of figures) {
    t.true(read(page).includes(says), `${page} does not say "${says}"`)
    t.is(constant(file, name), is, `${name} of ${file}, of which ${page} says "${says}"`)
  }
})

test('the table of messages has each type with its number, and no other', (t) => {
  const rows = [...section(PROTOCOL, 'rpc').matchAll(/^\| (\d+) \| ([A-Z]+) \|/gm)].map(([, number, name]) => [name, Number(number)])
  const source = read('wrappers/rpc/wire/messages.ts')
  const types = source.slice(source.indexOf('export const CALL = 1'), source.indexOf('export const HEAD = ')).matchAll(/export const ([A-Z]+) = /g)
  t.deepEqual(rows, [...types].map(([, name]) => [name, messages[name as keyof typeof messages]]))
})

test('the lists of codes have each of them, and no other', (t) => {
  const list = [...section(PROTOCOL, 'Codes').matchAll(/`([A-Z][A-Z_]+)`/g)].map(([, code]) => code)
  t.deepEqual([...new Set(list)].filter((code) => code !== 'PROTOCOL_ERROR').sort(), codes.filter((code) => code !== 'PROTOCOL_ERROR').sort())
  t.deepEqual([...read('docs/errors.md').matchAll(/^### (.*)$/gm)].map(([, code]) => code).sort(), [...codes].sort(), 'a section each')
})

test('the kinds of streams in values are those that a peer may send', (t) => {
  const [, listed] = /so there are ([\d, and]+)\./.exec(read(PROTOCOL)) ?? []
  t.deepEqual(listed?.split(/, | and /).map(Number), Array.from({ length: 20 }, (_, kind) => kind).filter(isStreamKind))
})

test('the extensions and binary kinds of msgpack are those of the codec', (t) => {
  const values = section(PROTOCOL, 'Values')
  const rows = [...values.matchAll(/^\| (\d+) \| (\w+) \|/gm)].map(([, number, name]) => [name.toLowerCase(), Number(number)])
  t.deepEqual(rows, Object.entries(Ext))
  const [, kinds] = /Binary kinds, from 0: (.*)\./.exec(values) ?? []
  t.deepEqual(kinds?.split(', '), binaryKinds.map((kind) => `\`${kind}\``))
})

test('each dependency lives where docs/dependencies.md says', (t) => {
  const said = new Map([...read('docs/dependencies.md').matchAll(/^- \*\*([\w@/-]+)\*\*, in (.*)$/gm)].map(([, name, text]) => [name, [...text.matchAll(/`((?:src|registries|interfaces|wrappers)\/[\w/.-]*)`/g)].map(([, path]) => path)]))
  const { dependencies, optionalDependencies } = JSON.parse(read('package.json')) as { dependencies: object, optionalDependencies: object }
  // optional peers that stand alone in their line may be there too
  t.deepEqual([...said.keys()].filter((name) => name !== 'udx-native').sort(), Object.keys({ ...dependencies, ...optionalDependencies }).sort())
  for (const [name, homes] of said) {
    const users = sources.filter((file) => new RegExp(`(?:from|import\\()\\s*'${name}'`).test(read(file)))
    for (const user of users) t.true(homes.some((home) => user.startsWith(home)), `${user} imports ${name}, which docs/dependencies.md does not say`)
    for (const home of homes) t.true(users.some((user) => user.startsWith(home)), `nothing in ${home} imports ${name}, as docs/dependencies.md says`)
  }
})

test('each file that docs/architecture.md names is there', (t) => {
  const all = [...sources, ...['test', 'examples'].flatMap((folder) => (readdirSync(join(root, folder), { recursive: true }) as string[]).map((file) => `${folder}/${file.replaceAll('\\', '/')}`))]
  const there = read('docs/architecture.md').split('\n').filter((line) => !/\| a new (file|folder)/.test(line)).join('\n') // those are examples of files to come
  const named = [...there.matchAll(/`([\w/-]+\.ts)`/g)].map(([, file]) => file)
  t.deepEqual(named.filter((file) => !all.some((one) => one === file || one.endsWith(`/${file}`))), [])
  t.true(named.length > 50, `${named.length} files`)
  const guide = [...section('docs/architecture.md', 'Where the next one goes').matchAll(/`([\w/-]+\.ts)`/g)].map(([, file]) => file)
  t.true(guide.length > 30, `${guide.length} files`)
  t.deepEqual(guide.filter((file) => !file.includes('/')), [], 'who looks for a place needs the folder')
})

/** The names in a list of a source: `const NAME = ['a', 'b'] …`. */
function namesIn(file: string, name: string): string[] {
  const [, text] = new RegExp(`const ${name}\\b[^=]* = \\[([^\\]]*)\\]`).exec(read(file)) ?? []
  if (text === undefined) throw new Error(`${file} has no list ${name}`)
  return [...text.matchAll(/'(\w+)'/g)].map(([, one]) => one)
}

/** The rows of the table of a page that begins with `head`: the options of the first cell, and the other cells. */
function rowsOf(page: string, head: string): { names: string[]; cells: string[] }[] {
  const [, after] = read(page).split(`${head}\n`)
  if (after === undefined) throw new Error(`${page} has no table that begins with ${head}`)
  const lines = after.split('\n')
  return lines.slice(1, lines.findIndex((line) => !line.startsWith('|'))).map((line) => {
    const [first, ...cells] = line.slice(1, -1).split(' | ').map((cell) => cell.trim())
    return { names: [...first.matchAll(/`(\w+)/g)].map(([, one]) => one), cells }
  })
}

const options: [page: string, head: string, names: string[]][] = [
  [STAGE, '| option | unit | default | meaning |', [...namesIn('src/options.ts', 'STAGE_OPTIONS'), 'interceptors', 'authorize', 'provide']],
  // `persist` is told of with the callback form, on the page of streams
  [CALLS, '| option of `to()` | meaning |', namesIn('src/options.ts', 'TARGET_OPTIONS').filter((name) => name !== 'persist')],
  [ACTORS, '| option of `define` | default | meaning |', namesIn('wrappers/actors/definition.ts', 'OPTIONS').filter((name) => !['pattern', 'constructor', 'create'].includes(name))],
]
for (const [page, head, names] of options) {
  test(`${page} has a row for each option: ${head}`, (t) => {
    t.deepEqual(rowsOf(page, head).flatMap((row) => row.names).sort(), [...names].sort())
  })
}

test('defaults in the table of types of actors are those of the code', (t) => {
  const code = new Map([...defaultsOf('wrappers/actors/definition.ts').matchAll(/(\w+): ([^,\n]+),/g)].map(([, name, value]) => [name, value]))
  t.true(code.size >= 10)
  const rows = rowsOf(ACTORS, '| option of `define` | default | meaning |')
  for (const [name, value] of code) {
    const cell = rows.find(({ names }) => names.includes(name))?.cells[0]
    const said = value === 'Infinity' ? 'none' : value.replaceAll('_', ' ')
    t.is(cell?.replaceAll('`', '').replace(/(\d) (\d{3})/, '$1 $2'), said.length === 4 ? said.replace(' ', '') : said, name)
  }
})
