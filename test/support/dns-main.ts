// A DNS server in a process of its own, so that it can run in a network namespace: `node dns-main.ts <ip> <name>=<address>,<address>…`, any number of names.
import { DnsServer } from './dns-server.ts'

const [host = '', ...names] = process.argv.slice(2)
const server = await DnsServer.start({ host, port: 53 })
for (const each of names) {
  const [name = '', addresses = ''] = each.split('=')
  server.records.set(name, addresses.split(','))
}
process.stdout.write('answering\n')
