import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, isIPv4, type Server } from 'node:net'

const TYPE = { A: 1, AAAA: 28 } as const

/** A DNS server over UDP and TCP that knows the addresses of some names. */
export class DnsServer implements AsyncDisposable {
  readonly port: number
  /** Addresses by lower-case name. */
  readonly records = new Map<string, readonly string[]>()
  /** Cuts UDP answers short, so that the client has to come back over TCP. */
  truncate = false
  /** Takes questions and never answers. */
  silent = false
  readonly questions = { udp: 0, tcp: 0 }
  readonly #udp: Socket
  readonly #tcp: Server

  private constructor(udp: Socket, tcp: Server, port: number) {
    this.#udp = udp
    this.#tcp = tcp
    this.port = port
    udp.on('message', (question, from) => {
      this.questions.udp++
      if (!this.silent) udp.send(this.#answer(question, this.truncate), from.port, from.address)
    })
    tcp.on('connection', (socket) => {
      let received = Buffer.alloc(0)
      socket.on('error', () => socket.destroy())
      socket.on('data', (chunk: Buffer) => {
        received = Buffer.concat([received, chunk])
        while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
          const length = received.readUInt16BE(0)
          const question = received.subarray(2, 2 + length)
          received = received.subarray(2 + length)
          this.questions.tcp++
          const answer = this.#answer(question, false)
          if (!this.silent) socket.write(Buffer.concat([uint16(answer.length), answer]))
        }
      })
    })
  }

  /** On a free port of loopback, if nothing else is said. */
  static async start({ host = '127.0.0.1', port = 0 } = {}): Promise<DnsServer> {
    const tcp = createServer().listen(port, host)
    await once(tcp, 'listening')
    const address = tcp.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    const udp = createSocket('udp4')
    udp.bind(address.port, host)
    await once(udp, 'listening')
    return new DnsServer(udp, tcp, address.port)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = [once(this.#udp, 'close'), once(this.#tcp, 'close')]
    this.#udp.close()
    this.#tcp.close()
    await Promise.all(closed)
  }

  /** https://www.rfc-editor.org/rfc/rfc1035#section-4 */
  #answer(question: Buffer, truncated: boolean): Buffer {
    let at = 12
    const labels: string[] = []
    while (question[at] !== 0) {
      const length = question[at] ?? 0
      labels.push(question.toString('latin1', at + 1, at + 1 + length))
      at += 1 + length
    }
    const type = question.readUInt16BE(at + 1)
    const section = question.subarray(12, at + 5)
    const known = this.records.get(labels.join('.').toLowerCase())
    const wanted = (known ?? []).filter((ip) => type === (isIPv4(ip) ? TYPE.A : TYPE.AAAA))
    const answers = truncated ? [] : wanted.map((ip) => record(type, ip))
    const flags = 0x8180 | (truncated ? 0x0200 : 0) | (known === undefined ? 3 : 0)
    const header = [question.subarray(0, 2), ...[flags, 1, answers.length, 0, 0].map(uint16)]
    return Buffer.concat([...header, section, ...answers])
  }
}

function record(type: number, ip: string): Buffer {
  const data = isIPv4(ip) ? Buffer.from(ip.split('.').map(Number)) : ipv6Bytes(ip)
  const ttl = Buffer.alloc(4)
  return Buffer.concat([uint16(0xc00c), uint16(type), uint16(1), ttl, uint16(data.length), data])
}

function ipv6Bytes(ip: string): Buffer {
  const [head = '', tail = ''] = ip.split('::')
  const groups = (part: string) => part.split(':').filter((group) => group !== '')
  const [before, behind] = [groups(head), groups(tail)]
  const middle = Array.from({ length: 8 - before.length - behind.length }, () => '0')
  return Buffer.concat([...before, ...middle, ...behind].map((group) => uint16(Number.parseInt(group, 16))))
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}
