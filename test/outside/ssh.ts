import { generateKeyPairSync } from 'node:crypto'
import ssh2, { type Channel, type Connection } from 'ssh2'
import { cut } from './differences.js'
import { closed, code, text, until, type Ends, type Program } from './program.js'

const hostKey = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey.export({ type: 'sec1', format: 'pem' }) as string

interface Asked extends Pick<Channel, never> {
  method: string
  accept(): void
  reject(): void
  password: string
}

export function serve(ends: Ends, lines: string[], onsession: (connection: Connection) => void): void {
  let count = 0
  const server = new ssh2.Server({ hostKeys: [hostKey] }, (connection) => {
    const who = `server ${++count}`
    connection.on('authentication', (asked: Asked) => { if (asked.method === 'password' && asked.password === 'right') asked.accept(); else asked.reject() })
    for (const event of ['ready', 'end', 'close']) connection.on(event, () => lines.push(`${who} ${event}`))
    connection.on('error', (error: Error) => lines.push(`${who} error ${code(error)}`))
    connection.on('ready', () => { onsession(connection) })
  })
  ends.onconnection((stream) => { server.injectSocket(stream) })
}

type Client = InstanceType<typeof ssh2.Client>

export async function connect(ends: Ends, lines: string[], password = 'right', options: { readyTimeout?: number } = {}): Promise<Client> {
  const client = new ssh2.Client()
  for (const event of ['ready', 'end', 'close']) client.on(event, () => lines.push(`client ${event}`))
  client.on('error', (error: Error) => lines.push(`client error ${error.message}`))
  const over = new Promise<void>((resolve) => { client.once('ready', resolve).once('close', () => { resolve() }) })
  client.connect({ sock: await ends.dial(), username: 'bob', password, ...options })
  await over
  return client
}

const onexec = (connection: Connection, run: (channel: Channel, command: string) => void): void => {
  connection.on('session', (accept: () => Connection) => {
    accept().on('exec', (accepted: () => Channel, _: unknown, { command }: { command: string }) => { run(accepted(), command) })
  })
}

const exec = (client: Client, command: string): Promise<Channel> => new Promise((resolve, reject) => { client.exec(command, (error, channel) => { if (error) reject(error); else resolve(channel) }) })

const session: Program = {
  name: 'ssh2: commands, their output and exit, an end by the client',
  run: async (ends) => {
    const [lines, told]: [string[], string[]] = [[], []]
    serve(ends, told, (connection) => {
      onexec(connection, (channel, command) => {
        channel.stderr.write('to stderr')
        channel.on('data', () => {}).on('end', () => {
          channel.write(command === 'large' ? Buffer.alloc(3_000_000, 'x') : `did ${command}`)
          channel.exit(3)
          channel.end()
        })
      })
    })
    const client = await connect(ends, lines)
    for (const command of ['ls', 'large']) {
      const channel = await exec(client, command)
      const gone = closed(channel)
      channel.on('exit', (status: number) => lines.push(`exit ${status}`))
      const said = [text(channel), text(channel.stderr)]
      channel.end('input')
      const [out, err] = await Promise.all(said)
      await gone
      lines.push(`${out?.length} out, ${err?.length} err`)
    }
    client.end()
    await closed(client)
    await until(() => told.includes('server 1 close'))
    return [...lines, ...told]
  },
}

const refused: Program = {
  name: 'ssh2: a password that is wrong',
  run: async (ends) => {
    const [lines, told]: [string[], string[]] = [[], []]
    serve(ends, told, () => {})
    const client = await connect(ends, lines, 'wrong')
    client.end()
    await until(() => told.includes('server 1 close'))
    return [...lines, ...told]
  },
}

const ended: Program = {
  name: 'ssh2: an end by the server, and the connection destroyed by the client',
  differs: [...cut('server 2 end', 1, (code) => `server 2 error ${code}`), ...cut('accepted')],
  run: async (ends) => {
    const [lines, told]: [string[], string[]] = [[], []]
    serve(ends, told, (connection) => { onexec(connection, (_, command) => { if (command === 'end') connection.end() }) })
    const first = await connect(ends, lines)
    const over = closed(first)
    void exec(first, 'end').catch(() => {})
    await over
    const second = await connect(ends, lines)
    await until(() => told.includes('server 2 ready'))
    second.destroy()
    await closed(second)
    await until(() => told.includes('server 2 close'))
    return [...lines, ...told]
  },
}

const silent: Program = {
  name: 'ssh2: a server that says nothing',
  differs: cut('accepted'),
  run: async (ends) => {
    const lines: string[] = []
    ends.onconnection((stream) => { stream.resume() })
    const client = await connect(ends, lines, 'right', { readyTimeout: 800 })
    client.end()
    await until(() => lines.includes('client close'))
    return lines
  },
}

const forwarded: Program = {
  name: 'ssh2: a connection forwarded through it',
  run: async (ends) => {
    const lines: string[] = []
    serve(ends, [], (connection) => {
      connection.on('tcpip', (accept: () => Channel) => {
        const channel = accept()
        channel.pipe(channel)
      })
    })
    const client = await connect(ends, lines)
    const channel = await new Promise<Channel>((resolve, reject) => { client.forwardOut('here', 1, 'there', 2, (error, it) => { if (error) reject(error); else resolve(it) }) })
    channel.end(Buffer.alloc(500_000, 'x'))
    lines.push(String((await text(channel)).length))
    client.end()
    await closed(client)
    return lines
  },
}

export default [session, refused, ended, silent, forwarded]
