// A DNS server in a process of its own, so that it can run in a network namespace: `node dns-main.ts <ip> <name> <address>…`.
import { DnsServer } from './dns-server.ts'

const [host = '', name = '', ...addresses] = process.argv.slice(2)
const server = await DnsServer.start({ host, port: 53 })
server.records.set(name, addresses)
process.stdout.write('answering\n')
