/**
 * The tables, as SQL text that a person can run too. The registry makes them itself if they are missing and its user may.
 * `schema_version` holds the number of the last migration; a migration is added to the end of the list and never changed.
 */

/** The kinds of databases. MariaDB is of the kind of MySQL. */
export type Kind = 'postgres' | 'mysql' | 'sqlite'

/** Where the tables are. */
export interface Place {
  /** The schema of Postgres, or the database of MySQL; undefined: the default of the connection. */
  readonly schema: string | undefined
  /** The beginning of the name of each table. */
  readonly prefix: string
}

/** The names of the tables, without the prefix. */
export const TABLES = ['spaces', 'entries', 'lapsed', 'changes', 'actors', 'schema_version'] as const
export type TableName = (typeof TABLES)[number]

export const DEFAULT_PREFIX = 'stagemesh_'
/** The longest schema and prefix: with a dot between them they are the name of a channel of Postgres, which has at most 63 bytes. */
const PLACE_MAX = 30

/** @throws TypeError for a name that would have to be quoted, since names stand in SQL as they are */
export function placeOf(schema: string | undefined, prefix: string): Place {
  for (const [what, name] of [['schema', schema], ['prefix', prefix]] as const) {
    if (name === undefined || new RegExp(`^[A-Za-z_]\\w{0,${PLACE_MAX - 1}}$`).test(name)) continue
    throw new TypeError(`the ${what} of an SQL registry is 1 to ${PLACE_MAX} letters, digits and "_", not ${JSON.stringify(name)}`)
  }
  if (/^sqlite_/i.test(prefix)) throw new TypeError('the prefix of an SQL registry may not begin with sqlite_, which SQLite keeps for itself')
  return { schema, prefix }
}

export const NO_SCHEMAS = 'a database of SQLite has no schemas: use prefix, or another file'

/** @throws TypeError if there is a schema */
export function checkNoSchema({ schema }: Place): void {
  if (schema !== undefined) throw new TypeError(NO_SCHEMAS)
}

const quoted = (kind: Kind, name: string): string => kind === 'mysql' ? `\`${name}\`` : `"${name}"`

/** The name of a table as it stands in SQL. */
export const tableName = (kind: Kind, { schema, prefix }: Place, name: TableName): string =>
  [...schema === undefined ? [] : [schema], prefix + name].map((part) => quoted(kind, part)).join('.')

interface Words {
  /** The type of a text of at most that many bytes, compared byte by byte. */
  text(bytes: number): string
  /** The type of an entry as JSON, which people may write by hand. */
  readonly json: string
  /** The type of a state of at most 4 MiB and 64 KiB. */
  readonly data: string
  /** The words behind the columns of a table, and of the table of actors. */
  readonly end: string
  readonly endOfActors: string
}

const WORDS: Readonly<Record<Kind, Words>> = {
  postgres: {
    text: () => 'text collate "C"', json: 'text', data: 'bytea', end: '',
    endOfActors: ' with (fillfactor = 80)', // with room in its page, a commit that changes no indexed column needs no new index entries
  },
  mysql: {
    text: (bytes) => `varbinary(${bytes})`, // in the collations of MySQL, case, accents and trailing blanks need not count
    json: 'blob', data: 'longblob', end: ' engine = innodb row_format = dynamic', endOfActors: ' engine = innodb row_format = dynamic',
  },
  sqlite: {
    text: () => 'text', json: 'text', data: 'blob', end: ' without rowid',
    endOfActors: '', // rows of tables without rowid should be small
  },
}

/** An index, which MySQL makes with its table, and the others by a statement of its own. */
interface Index {
  readonly name: string
  readonly columns: string
  readonly where?: string
}

function made(kind: Kind, place: Place, name: TableName, columns: readonly string[], indexes: readonly Index[] = []): string[] {
  const table = tableName(kind, place, name)
  const { end, endOfActors } = WORDS[kind]
  const named = (index: Index): string => quoted(kind, `${place.prefix}${name}_${index.name}`)
  const keys = kind === 'mysql' ? indexes.map((index) => `key ${named(index)} (${index.columns})`) : []
  const create = `create table if not exists ${table} (${[...columns, ...keys].join(', ')})${name === 'actors' ? endOfActors : end}`
  if (kind === 'mysql') return [create]
  const on = ({ columns, where = '' }: Index): string => `on ${table} (${columns})${where}`
  return [create, ...indexes.map((index) => `create index if not exists ${named(index)} ${on(index)}`)]
}

/** Each migration leads from its place in the list to the next version. */
const MIGRATIONS: readonly ((kind: Kind, place: Place) => string[])[] = [
  (kind, place) => {
    const { text, json, data } = WORDS[kind]
    const [namespace, id, mark] = [`namespace ${text(128)} not null`, `id ${text(128)} not null`, `mark ${text(64)} not null`]
    return [
      ...made(kind, place, 'spaces', [
        `${namespace} primary key`, `generation ${text(64)} not null`, 'born bigint not null', 'revision bigint not null', mark,
      ]),
      ...made(kind, place, 'entries', [
        namespace, id, `name ${text(128)} not null`, 'lease_end bigint not null', 'missed_at bigint', 'missed_end bigint',
        `record ${json} not null`, 'primary key (namespace, id)',
      ], [{ name: 'lease_end', columns: 'namespace, lease_end' }, { name: 'name', columns: 'namespace, name' }]),
      ...made(kind, place, 'lapsed', [namespace, id, 'lapsed_at bigint not null', 'primary key (namespace, id)']),
      ...made(kind, place, 'changes', [namespace, 'revision bigint not null', mark, id, 'primary key (namespace, revision)']),
      ...made(kind, place, 'actors', [
        namespace, `actor ${text(512)} not null`, 'epoch bigint not null', `stage ${text(128)}`, `activation ${text(128)}`,
        'version bigint not null', `commit_id ${text(128)} not null`, `data ${data}`, 'wake bigint', 'primary key (namespace, actor)',
      ], [{ name: 'wake', columns: 'namespace, wake, actor', where: ' where wake is not null' }]),
    ]
  },
]

/** The version of the tables that this code uses. */
export const VERSION = MIGRATIONS.length

/** The statements that lead from a version to the present one; 0: there are no tables. Each can run again. */
export function statements(kind: Kind, place: Place, from = 0): string[] {
  const insert = `${kind === 'mysql' ? 'insert ignore into' : 'insert into'} ${tableName(kind, place, 'schema_version')}`
  return [
    ...made(kind, place, 'schema_version', ['version bigint not null primary key']),
    ...MIGRATIONS.slice(from).flatMap((migration) => migration(kind, place)),
    `${insert} (version) values (${VERSION})${kind === 'mysql' ? '' : ' on conflict do nothing'}`,
  ]
}

/** The statement that makes the schema, if one is named. */
export const schemaStatement = (kind: Kind, schema: string): string =>
  `create ${kind === 'postgres' ? 'schema' : 'database'} if not exists ${quoted(kind, schema)}`

/**
 * The SQL that makes all tables, for a database whose user may not create any. The user then needs the rights to select,
 * insert, update and delete on them, and on Postgres to use the schema.
 * @param kind     `mysql` for MariaDB, too
 * @param options  as the registry has them
 */
export function schemaSql(kind: Kind, options: { schema?: string | undefined, prefix?: string | undefined } = {}): string {
  const place = placeOf(options.schema, options.prefix ?? DEFAULT_PREFIX)
  if (kind === 'sqlite') checkNoSchema(place)
  const first = place.schema === undefined ? [] : [schemaStatement(kind, place.schema)]
  return [...first, ...statements(kind, place)].map((text) => `${text};\n`).join('')
}
