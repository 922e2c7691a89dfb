import type { Program } from './program.js'
import http from './http.js'
import http2 from './http2.js'
import mqtt from './mqtt.js'
import redis from './redis.js'
import remoteCalls from './remote-calls.js'
import sockets from './sockets.js'
import ssh from './ssh.js'
import streams from './streams.js'
import tar from './tar.js'
import tls from './tls.js'
import undici from './undici.js'
import webStreams from './web-streams.js'
import ws from './ws.js'

export const programs: readonly Program[] = [
  ...sockets, ...streams, ...webStreams, ...tar, ...http, ...http2, ...tls, ...undici, ...ws, ...ssh, ...mqtt, ...redis, ...remoteCalls,
]
