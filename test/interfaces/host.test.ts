/** Which address is bound and which is published. */
import test from 'ava'
import type { NetworkInterfaceInfo } from 'node:os'
import { bindFor, formatAddress, isHost, isLoopback, isWildcard, parseAddress, publicHost, type Machine } from '../../interfaces/shared/host.js'
import { StageError } from '../../src/errors.js'

/** A machine with these addresses, one interface each. */
const machine = (...addresses: string[]): Machine => Object.fromEntries(addresses.map((address, i) =>
  [`eth${i}`, [{ address, internal: isLoopback(address), family: address.includes(':') ? 'IPv6' : 'IPv4' } as NetworkInterfaceInfo]]))

test('what is loopback, and what is every address', (t) => {
  for (const host of ['127.0.0.1', '127.8.9.10', 'localhost', 'LOCALHOST', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1']) t.true(isLoopback(host), host)
  for (const host of ['128.0.0.1', '10.0.0.1', '0.0.0.0', '::', '::2', 'localhost.example', '127.0.0.1.example']) t.false(isLoopback(host), host)
  for (const host of ['0.0.0.0', '::', '0:0:0:0:0:0:0:0']) t.true(isWildcard(host), host)
  for (const host of ['10.0.0.0', '::1', '127.0.0.1', 'host']) t.false(isWildcard(host), host)
})

test('what to bind for what is published', (t) => {
  const cases = { '127.0.0.1': '127.0.0.1', '::1': '::1', localhost: '127.0.0.1', '10.0.0.5': '0.0.0.0', 'api.example': '0.0.0.0', '2001:db8::1': '::' }
  for (const [host, bind] of Object.entries(cases)) t.is(bindFor(host), bind)
})

test('the one private address is published', (t) => {
  t.is(publicHost(machine('127.0.0.1', '10.0.0.5'), '0.0.0.0'), '10.0.0.5')
  t.is(publicHost(machine('192.168.1.2', '203.0.113.7'), '0.0.0.0'), '192.168.1.2')
  t.is(publicHost(machine('100.64.3.4', '169.254.1.1', 'fe80::1'), '::'), '100.64.3.4')
  t.is(publicHost(machine('172.31.0.1', '2001:db8::1'), '::'), '172.31.0.1')
  t.is(publicHost(machine('10.0.0.5', '10.0.0.5'), '0.0.0.0'), '10.0.0.5')
})

test('without a private one, the only one', (t) => {
  t.is(publicHost(machine('127.0.0.1', '203.0.113.7'), '0.0.0.0'), '203.0.113.7')
  t.is(publicHost(machine('::1', '2001:db8::1', 'fe80::1'), '::'), '2001:db8::1')
  t.is(publicHost(machine('172.32.0.1'), '0.0.0.0'), '172.32.0.1')
})

test('a choice is left to the operator', (t) => {
  const several = t.throws(() => publicHost(machine('127.0.0.1', '10.0.0.5', '172.17.0.1'), '0.0.0.0'), { instanceOf: StageError })
  t.is(several?.code, 'BAD_ARGUMENT')
  for (const part of ['10.0.0.5 (eth1)', '172.17.0.1 (eth2)', 'host']) t.true(several?.message.includes(part), several?.message)
  for (const [found, bind] of [[['127.0.0.1'], '0.0.0.0'], [[], '0.0.0.0'], [['2001:db8::1'], '0.0.0.0'], [['169.254.1.1'], '::']] as const) {
    t.is(t.throws(() => publicHost(machine(...found), bind), { instanceOf: StageError })?.code, 'BAD_ARGUMENT')
  }
})

test('addresses are written and read alike', (t) => {
  for (const [host, port, text] of [['10.0.0.5', 4000, 'tcp://10.0.0.5:4000'], ['::1', 1, 'tcp://[::1]:1'], ['api.example', 65535, 'tcp://api.example:65535']] as const) {
    t.is(formatAddress(host, port), text)
    t.deepEqual(parseAddress(text), { host, port })
  }
})

test('a malformed address is named', (t) => {
  const malformed = ['', 'tcp://', 'tcp://host', 'tcp://:4000', 'tcp://host:', 'tcp://host:0', 'tcp://host:99999', 'tcp://host:4000/path', 'udp://host:4000',
    'tcp://user@host:4000', 'tcp://::1:4000', 'tcp://[::1]', 'tcp://[host]:4000', 'tcp://[::g]:4000', 'tcp://a b:4000', 'tcp://host:4e3', ' tcp://host:4000', 'tcp://host:4000\n']
  for (const address of malformed) {
    const error = t.throws(() => parseAddress(address), { instanceOf: StageError }, address)
    t.is(error?.code, 'BAD_ARGUMENT')
    t.true(error?.message.includes(JSON.stringify(address)), error?.message)
  }
})

test('what can be a host', (t) => {
  for (const host of ['localhost', 'a-b.c_d.example.', '10.0.0.5', '::1', 'fe80::1%eth0']) t.true(isHost(host), host)
  for (const host of ['', '10.0.0.5:4000', 'tcp://x', '[::1]', 'a b', 'a/b', 'a..b']) t.false(isHost(host), host)
})
