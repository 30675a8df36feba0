import type { HttpRequests } from '../../http-client/http-requests.ts'
import type { HostPort } from '../host-port.ts'
import type { BootstrapSource } from './bootstrap-source.ts'
import { DnsBootstrap } from './dns-bootstrap.ts'
import { HttpBootstrap } from './http-bootstrap.ts'
import type { BootstrapSpec } from './parse-bootstrap.ts'

/** Creates the source that a `--bootstrap` flag names. `dnsServer` resolves a `dns:` name instead of the system's servers. */
export function createBootstrap(
  spec: BootstrapSpec,
  options: { dnsServer?: HostPort; requests?: HttpRequests } = {},
): BootstrapSource {
  switch (spec.type) {
    case 'none':
      return { candidates: async () => [] }
    case 'static':
      return { candidates: async () => spec.targets }
    case 'dns': {
      const server = options.dnsServer === undefined ? {} : { server: options.dnsServer }
      return new DnsBootstrap({ name: spec.name, port: spec.port, ...server })
    }
    case 'http':
      return new HttpBootstrap({ url: spec.url, requests: options.requests })
  }
}
