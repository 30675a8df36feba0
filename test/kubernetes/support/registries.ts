import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { Child } from '../../support/child.ts'
import type { Hub } from '../../support/hub/hub.ts'
import { startHub } from '../../support/hub/start-hub.ts'
import { type Image, type ImageRecipe, makeImage } from '../../support/image-maker.ts'
import type { NetHost } from '../../support/netns/network.ts'
import { eventually } from '../../support/poll.ts'
import { Authority } from './certificates.ts'

/** The host of a company's registry, which wants a name and a password for everything. */
export const COMPANY = 'registry.company.test'
/** A registry of the documents, which has what Docker Hub has. */
const PUBLISHED = 'registry.example.com'
export const CAROL = { username: 'carol', password: 'a-secret-of-carol' } as const
/** Users of Docker Hub. Ann may pull `org/hidden`, Bob may not. */
export const ANN = { username: 'ann', password: 'a-secret-of-ann' } as const
export const BOB = { username: 'bob', password: 'a-secret-of-bob' } as const

/** Docker Hub and a company's registry, as nodes reach them: under their names, with TLS. */
export interface Registries {
  readonly hub: Hub
  readonly company: Hub
  /** A PEM file: the authority of their certificates. */
  readonly authority: string
  /** The address of a DNS server that knows their names. */
  readonly dns: string
}

/** Starts both on one host, each with addresses of its own, and a DNS server that knows them. */
export async function startRegistries(directory: string, host: NetHost): Promise<Registries> {
  const authority = await Authority.create(join(directory, 'registries'), 'registries-ca')
  const cdn = host.addAddress(3)
  const company = host.addAddress(4)
  const names = { 'registry-1.docker.io': host.ip, 'auth.docker.io': host.ip, [PUBLISHED]: host.ip, [COMPANY]: company }
  const alternatives = Object.keys(names).map((name) => `DNS:${name}`)
  const addresses = [host.ip, cdn, company].map((ip) => `IP:${ip}`)
  const issued = await authority.issue('registries', '/CN=registries', [...alternatives, ...addresses])
  const tls = { key: await readFile(issued.key, 'utf8'), cert: await readFile(issued.certificate, 'utf8') }
  const { netns } = host
  const main = fileURLToPath(new URL('../../support/dns-main.ts', import.meta.url))
  const records = Object.entries(names).map(([name, ip]) => `${name}=${ip}`)
  const dns = new Child(process.execPath, [main, host.ip, ...records], { netns })
  await eventually('the DNS of the data centre answers', () => {
    if (dns.exit !== undefined) throw new Error(dns.lines.join('\n'))
    return dns.lines.includes('answering')
  })
  const login = ({ username, password }: { username: string; password: string }) => ({ name: username, password })
  return {
    hub: await startHub({
      registry: { host: host.ip, port: 443 },
      auth: { host: host.ip, port: 5001 },
      realm: 'https://auth.docker.io:5001/token',
      cdn: { host: cdn, port: 443 },
      users: [{ ...login(ANN), mayPull: ['org/hidden'] }, login(BOB)],
      privateRepositories: ['org/hidden'],
      tls,
      netns,
    }),
    company: await startHub({
      registry: { host: company, port: 443 },
      auth: { host: company, port: 5001 },
      cdn: { host: company, port: 5002 },
      basic: true,
      directBlobs: true,
      users: [{ ...login(CAROL), mayPull: ['team/app'] }],
      tls,
      netns,
    }),
    authority: authority.certificate,
    dns: host.ip,
  }
}

/** An image that sleeps until it is ended, with layers of noise. */
export function sleeper(busybox: string, options: { seed: string; layers?: readonly number[] }): Image {
  return makeImage(sleeperRecipe(busybox, options))
}

function sleeperRecipe(
  busybox: string,
  { seed, layers = [1_000_000] }: { seed: string; layers?: readonly number[] },
): ImageRecipe {
  return {
    programs: [{ file: busybox, path: 'bin/busybox' }],
    command: ['/bin/busybox', 'sleep', '2147483647'],
    layers: layers.map((size, i) => ({ size, seed: `${seed} ${i}` })),
  }
}
