import { InvalidArgumentError } from 'commander'

import { parseImagePattern } from '../oci/image-pattern.ts'
import { DEFAULT_ROUTER_PORT, parseBootstrap, parseDnsServer } from '../overlay/bootstrap/parse-bootstrap.ts'
import { isUnspecifiedAddress } from '../overlay/host-port.ts'
import { LOG_LEVELS } from '../telemetry/log.ts'
import type { Flag } from './flag-option.ts'
import {
  parseAddress,
  parseBandwidth,
  parseBoolean,
  parseCount,
  parseDuration,
  parseHostName,
  parseIp,
  parseListenAddress,
  parseMirrorSource,
  parseRegistryClientCert,
  parseRegistryFile,
  parseRegistrySet,
  parseSize,
  parseTokenRealm,
  parseUpstream,
  sentence,
} from './parse.ts'

export const PEER_PORT = 7951
export const LOOPBACK = '127.0.0.1'
export const EVERY_ADDRESS = '::'

/** Every flag of `nabo serve`, in the order of its help. */
export const SERVE_FLAGS: readonly Flag[] = [
  {
    flags: '--mirror-addr <address>',
    about: 'where clients on this node ask',
    parse: parseAddress(7950),
    default: '127.0.0.1:7950',
    repeatable: 'list',
  },
  {
    flags: '--mirror-from <source>',
    about:
      "a source of connections that the mirror accepts besides loopback: an IP address, a network, or gateway for this machine's default gateways (default: all)",
    parse: parseMirrorSource,
    repeatable: 'list',
    separator: /[\s,]+/,
  },
  {
    flags: '--peer-addr <address>',
    about: `where other nodes ask for content; advertise[:port] is every address of --advertise-addr, also one that this machine gets later (${listenerDefaults(PEER_PORT)})`,
    parse: parseListenAddress(PEER_PORT),
    repeatable: 'list',
  },
  {
    flags: '--router-addr <address>',
    about: `where the overlay listens; advertise[:port] as for --peer-addr (${listenerDefaults(DEFAULT_ROUTER_PORT)})`,
    parse: parseListenAddress(DEFAULT_ROUTER_PORT),
    repeatable: 'list',
  },
  {
    flags: '--admin-addr <address>',
    about: 'health, metrics, the page and the API',
    parse: parseAddress(7953),
    default: '127.0.0.1:7953',
    repeatable: 'list',
  },
  {
    flags: '--metrics-addr <address>',
    about: 'metrics and probes only, on one more address; advertise[:port] as for --peer-addr',
    parse: parseListenAddress(7954),
    repeatable: 'list',
  },
  {
    flags: '--port-wait <time>',
    about: 'how long to wait at the start for a port that another process still has (default: fail at once)',
    parse: parseDuration,
  },
  {
    flags: '--admin-socket <path>',
    about:
      'Unix socket for commands and private answers; none does without (default: /run/nabo/admin.sock as root, else $XDG_RUNTIME_DIR/nabo/admin.sock or .nabo/admin.sock)',
  },
  {
    flags: '--allowed-host <name>',
    about: 'a further name that clients may address the mirror and admin listeners by',
    parse: parseHostName,
    repeatable: 'list',
    separator: /[\s,]+/,
  },
  {
    flags: '--advertise-addr <ip>',
    about:
      'the addresses that other nodes are told (default: those of --peer-addr; if it names none, those of the default routes; without these, those of the routes to the nodes of --bootstrap, or the only address of this machine)',
    parse: advertisedIp,
    repeatable: 'list',
    // How Kubernetes' downward API writes the addresses of a dual-stack node.
    separator: /[\s,]+/,
  },
  {
    flags: '--bootstrap <how>',
    about: 'how other nodes are found: none, dns:<name>, static:<ip[:port] or multiaddr>,…, http:<url>',
    parse: sentence(parseBootstrap),
    default: 'none',
  },
  {
    flags: '--bootstrap-dns <ip>',
    about: 'the DNS server to ask for the bootstrap name',
    parse: sentence(parseDnsServer),
  },
  {
    flags: '--store <kind>',
    about: 'the content store: auto takes containerd if its socket exists',
    choices: ['auto', 'containerd', 'directory'],
    default: 'auto',
  },
  { flags: '--containerd-socket <path>', about: "containerd's socket", default: '/run/containerd/containerd.sock' },
  { flags: '--containerd-namespace <name>', about: 'share only this namespace (default: all)', repeatable: 'list' },
  { flags: '--content-path <path>', about: "containerd's content root (default: asked from containerd)" },
  {
    flags: '--containerd-config <path>',
    about: "containerd's own configuration file, for the checks",
    default: '/etc/containerd/config.toml',
  },
  { flags: '--config-dir <path>', about: "containerd's directory of hosts", default: '/etc/containerd/certs.d' },
  { flags: '--cache-dir <path>', about: 'where the directory store keeps its content', default: './.nabo/cache' },
  { flags: '--cache-size <bytes>', about: 'how much the directory store keeps', parse: parseSize, default: '20GiB' },
  {
    flags: '--data-dir <path>',
    about: "directory for the node's identity and the proofs of public access (default: both are lost at a restart)",
  },
  {
    flags: '--run-dir <path>',
    about:
      'directory for the addresses of the latest members, and for the identity without --data-dir: a daemon that restarts joins its cluster while --bootstrap cannot be asked (default: the members are kept in --data-dir)',
  },
  {
    flags: '--cluster-secret-file <path>',
    about:
      'the secret that all nodes of the cluster share; without it the peer and router listeners stay on loopback, and what other nodes say about tags and public access is ignored',
  },
  {
    flags: '--insecure-without-secret [boolean]',
    about:
      'without a cluster secret, listen on all addresses: every machine that reaches them can join; no effect with a secret',
    parse: parseBoolean,
    // Without a default, commander reads an empty environment variable as true.
    default: 'false',
    preset: 'true',
  },
  {
    flags: '--registries <list>',
    about: 'registries that the mirror serves: all, none or a list',
    parse: parseRegistrySet,
    default: 'all',
  },
  {
    flags: '--include <pattern>',
    about:
      'images that the mirror serves and shares, such as docker.io/library/* or registry.example/team/**:v*; * stands for a part of a name, ** for any number of parts (default: all)',
    parse: sentence(parseImagePattern),
    repeatable: 'list',
    separator: /[\s,]+/,
  },
  {
    flags: '--exclude <pattern>',
    about:
      'images that the mirror leaves to the registry and does not share, also those that --include names; a pattern as for --include',
    parse: sentence(parseImagePattern),
    repeatable: 'list',
    separator: /[\s,]+/,
  },
  {
    flags: '--fallback <list>',
    about:
      'which registries are fetched upstream when no node holds the content (the others are only asked what a tag names)',
    parse: parseRegistrySet,
    default: 'docker.io',
  },
  {
    flags: '--upstream <registry=url>',
    about:
      'where a registry is asked, such as https://host or https://host/v2/prefix for a proxy cache; further URLs are mirrors that are tried when it fails or is limited',
    parse: parseUpstream,
    repeatable: 'map',
  },
  {
    flags: '--registry-ca <registry=file>',
    about: "a registry's certificate authority, PEM, besides those of this system",
    parse: parseRegistryFile,
    repeatable: 'map',
  },
  {
    flags: '--registry-client-cert <registry=files>',
    about: 'a client certificate for a registry, <cert>,<key> or one file with both, PEM',
    parse: parseRegistryClientCert,
    repeatable: 'map',
  },
  {
    flags: '--token-realm <registry=host>',
    about:
      'a host in another domain where tokens for a registry are asked for, and which gets the credentials of that registry',
    parse: parseTokenRealm,
    repeatable: 'list',
  },
  { flags: '--credentials-file <path>', about: 'a Docker config.json with credentials for upstreams' },
  {
    flags: '--credential-provider-config <path>',
    about:
      "the kubelet's CredentialProviderConfig: programs that are asked for credentials that --credentials-file does not have",
  },
  {
    flags: '--credential-provider-bin-dir <path>',
    about: 'the directory of the programs of --credential-provider-config',
  },
  {
    flags: '--private-images <how>',
    about:
      'images that are not public: verify gives them to whom their registry does, skip leaves them to the client, share gives them to all nodes',
    choices: ['verify', 'share', 'skip'],
    default: 'verify',
  },
  { flags: '--mirror-token-file <path>', about: 'a secret that clients must send in the Nabo-Token header' },
  {
    flags: '--tag-policy <policy>',
    about:
      'fresh asks the upstream first, once for all nodes; peers asks it only when no node knows the tag; own asks it on each node and never takes a tag from another node',
    choices: ['fresh', 'peers', 'own'],
    default: 'fresh',
  },
  { flags: '--zone <name>', about: 'the zone of this node' },
  {
    flags: '--index-replicas <count>',
    about: 'how many nodes of a large cluster keep each key',
    parse: parseCount(1, 20),
    default: '3',
  },
  { flags: '--tree-children <count>', about: 'how many nodes are fed by one', parse: parseCount(1, 100), default: '3' },
  {
    flags: '--peer-max-transfers <count>',
    about: 'how many blobs are sent to peers at a time',
    parse: parseCount(1, 10_000),
    default: '32',
  },
  {
    flags: '--peer-bandwidth <bytes>',
    about: 'how many bytes of blobs are sent to peers a second, in all (default: no limit)',
    parse: parseBandwidth,
  },
  {
    flags: '--upstream-bandwidth <bytes>',
    about: 'how many bytes of blobs are read from upstreams a second, in all (default: no limit)',
    parse: parseBandwidth,
  },
  {
    flags: '--stall-timeout <time>',
    about: 'how long a peer may be silent inside a blob',
    parse: parseDuration,
    default: '3s',
  },
  {
    flags: '--upstream-timeout <time>',
    about: 'how long an upstream may be silent',
    parse: parseDuration,
    default: '20s',
  },
  {
    flags: '--max-connections <count>',
    about: 'overlay connections at most',
    parse: parseCount(1, 10_000),
    default: '300',
  },
  {
    flags: '--shutdown-grace <time>',
    about: 'how long transfers may go on after SIGTERM',
    parse: parseDuration,
    default: '20s',
  },
  { flags: '--log-level <level>', about: 'how much is logged', choices: LOG_LEVELS, default: 'info' },
]

function listenerDefaults(port: number): string {
  return `default: [${EVERY_ADDRESS}]:${port} with a cluster secret, else ${LOOPBACK}:${port}`
}

function advertisedIp(text: string): string {
  const address = parseIp(text)
  if (isUnspecifiedAddress(address))
    throw new InvalidArgumentError('other nodes cannot connect to it: name an address of this machine.')
  return address
}
