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

/** A pod with a network of its own. */
export interface NetPod {
  readonly netns: string
  readonly ip: string
  /** The host's address on the bridge. */
  readonly gateway: string
  readonly subnet: string
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

  /**
   * A pod of a host: a namespace behind the bridge `cni0` of the host, as the CNI's bridge plugin makes it. `number` is the last part of its
   * address, 2 to 254; the bridge, its gateway, has 1.
   */
  addPod(host: NetHost, label: string, number: number): NetPod {
    const netns = `${this.#name}-${label}`
    const subnet = `10.244.${host.ip.split('.').at(-1)}`
    const [gateway, address, port] = [`${subnet}.1`, `${subnet}.${number}`, `veth${number}`]
    this.#add(netns)
    if (!ip('-n', host.netns, 'link', 'show').includes(' cni0:')) {
      ip('-n', host.netns, 'link', 'add', 'cni0', 'type', 'bridge')
      ip('-n', host.netns, 'addr', 'add', `${gateway}/24`, 'dev', 'cni0')
      ip('-n', host.netns, 'link', 'set', 'cni0', 'up')
      ip('netns', 'exec', host.netns, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')
    }
    ip('-n', host.netns, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns)
    ip('-n', host.netns, 'link', 'set', port, 'master', 'cni0', 'up')
    ip('-n', netns, 'link', 'set', 'eth0', 'up')
    ip('-n', netns, 'addr', 'add', `${address}/24`, 'dev', 'eth0')
    ip('-n', netns, 'route', 'add', 'default', 'via', gateway)
    return { netns, ip: address, gateway, subnet: `${subnet}.0/24` }
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
