import { runSync } from './commands.ts'

/** A host of the network: a namespace of its own with one link to the switch. */
export interface NetHost {
  readonly netns: string
  readonly ip: string
  readonly ip6: string
  /** Limits the link in both directions, as `200mbit`; undefined: as fast as it goes. */
  setRate(rate: string | undefined): void
  /** Pulls the plug, or puts it back in. */
  setLink(state: 'up' | 'down'): void
  /** Gives it one more IPv4 address, which is returned. */
  addAddress(number: number): string
}

/**
 * Hosts on one switch. The switch is a bridge in a namespace of its own, so nothing is added to the machine's network. There is no
 * way out: an address that is not on the switch is unreachable at once.
 */
export class Network {
  readonly #name: string
  readonly #switch: string
  readonly #names: string[] = []

  constructor(name: string) {
    this.#name = name
    this.#switch = `${name}-sw`
  }

  /** The namespaces made so far, for {@link demolish}. */
  get namespaces(): readonly string[] {
    return this.#names
  }

  start(): void {
    this.#add(this.#switch)
    ip('-n', this.#switch, 'link', 'add', 'br0', 'type', 'bridge')
    ip('-n', this.#switch, 'link', 'set', 'br0', 'up')
  }

  /** `number` is the last part of its addresses, 2 to 254. */
  addHost(label: string, number: number): NetHost {
    const netns = `${this.#name}-${label}`
    const port = `port${number}`
    const [address, address6] = [`10.123.0.${number}`, `fd00:123::${number}`]
    this.#add(netns)
    ip('-n', this.#switch, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns)
    ip('-n', this.#switch, 'link', 'set', port, 'master', 'br0', 'up')
    ip('-n', netns, 'link', 'set', 'eth0', 'up')
    ip('-n', netns, 'addr', 'add', `${address}/24`, 'dev', 'eth0')
    if (hasIpv6(netns)) ip('-n', netns, 'addr', 'add', `${address6}/64`, 'dev', 'eth0', 'nodad')
    return {
      netns,
      ip: address,
      ip6: address6,
      setRate: (rate) => {
        shape(netns, 'eth0', rate)
        shape(this.#switch, port, rate)
      },
      setLink: (state) => {
        ip('-n', this.#switch, 'link', 'set', port, state)
      },
      addAddress: (number) => {
        const address = `10.123.0.${number}`
        ip('-n', netns, 'addr', 'add', `${address}/24`, 'dev', 'eth0')
        return address
      },
    }
  }

  #add(netns: string): void {
    ip('netns', 'add', netns)
    this.#names.push(netns)
    ip('-n', netns, 'link', 'set', 'lo', 'up')
  }
}

function ip(...args: readonly string[]): string {
  return runSync('ip', ...args)
}

function hasIpv6(netns: string): boolean {
  return ip('-n', netns, '-6', 'addr', 'show', 'dev', 'lo').includes('::1')
}

function shape(netns: string, device: string, rate: string | undefined): void {
  const limit = ['root', 'tbf', 'rate', rate ?? '', 'burst', '256kb', 'latency', '50ms']
  const shaped = ip('netns', 'exec', netns, 'tc', 'qdisc', 'show', 'dev', device).includes('tbf')
  if (rate !== undefined) ip('netns', 'exec', netns, 'tc', 'qdisc', 'replace', 'dev', device, ...limit)
  else if (shaped) ip('netns', 'exec', netns, 'tc', 'qdisc', 'del', 'dev', device, 'root')
}
