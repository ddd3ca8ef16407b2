// The tracker of npm's bittorrent-tracker over HTTP and UDP, for the interop tests.
// usage: node tracker.mjs NODE_MODULES ADDRESS PORT
// It prints `listening`, and for each announce: the event, who announced, and the info-hash. It ends with its input.

import { pathToFileURL } from 'node:url'

const [modules, address, port] = process.argv.slice(2)
const server = pathToFileURL(`${modules}/bittorrent-tracker/server.js`)
const { default: Server } = await import(server.href)

const tracker = new Server({ http: true, udp: true, ws: false, stats: true, trustProxy: false, interval: 2000 })
tracker.on('error', error => console.log('error', error.message))
tracker.on('warning', error => console.log('warning', error.message))
for (const event of ['start', 'update', 'complete', 'stop']) {
  tracker.on(event, (who, announce) => console.log(event, who, announce?.info_hash))
}
// All three sockets have to be bound before it is listening; nobody uses the one of version 6.
tracker.listen(Number(port), { http: address, udp: address, udp6: '::1' }, () => console.log('listening'))
process.stdin.on('end', () => process.exit(0)).resume()
