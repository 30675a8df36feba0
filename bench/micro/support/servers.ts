import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'

import { digestHex } from '../../../src/oci/digest.ts'
import { Child } from '../../../test/support/child.ts'
import { findTool } from '../../../test/support/debian-tool.ts'
import { NaboProcess } from '../../../test/support/nabo-process.ts'
import { eventually } from '../../../test/support/poll.ts'
import { type Blob, type Content, linkContent, REPOSITORY } from './content.ts'
import type { Workspace } from './workspace.ts'

/** Whose CPU is measured, and where it gives what. */
export interface Server {
  readonly name: string
  readonly pid: number
  blobUrl(blob: Blob): string
  manifestUrl(manifest: Blob): string
}

/** What a daemon without neighbours is told: nothing is fetched from anywhere, and no registry is asked for leave. */
const ALONE = ['--fallback', 'none', '--private-images', 'share', '--peer-max-transfers', '1000']

export interface Nabo {
  readonly process: NaboProcess
  readonly peer: Server
  readonly mirror: Server
  /** As `--bootstrap static:` wants it. */
  readonly router: string
}

/** Starts a daemon on free ports of loopback and waits until it is ready. It has no secret. */
export async function startNabo(
  workspace: Workspace,
  options: { store: readonly string[]; flags?: readonly string[]; env?: Record<string, string> },
): Promise<Nabo> {
  const router = `127.0.0.1:${await freePort()}`
  const listeners = ['--mirror-addr', '--peer-addr', '--admin-addr'].flatMap((flag) => [flag, '127.0.0.1:0'])
  const flags = [...listeners, '--router-addr', router, '--advertise-addr', '127.0.0.1', ...ALONE, ...options.store]
  const nabo = workspace.own(
    new NaboProcess({
      flags: [...flags, ...(options.flags ?? [])],
      env: { ...process.env, ...options.env },
      fetch: fetchHere,
    }),
  )
  await nabo.ready()
  const { mirror, peer } = await nabo.listening()
  const { pid } = nabo
  return {
    process: nabo,
    peer: registryServer('Nabo, peer listener', pid, `http://${peer[0]}`),
    mirror: registryServer('Nabo, mirror listener', pid, `http://${mirror[0]}`),
    router,
  }
}

/** Nginx, Nabo's two listeners, and its peer listener once more without sendfile. */
export async function startServers(workspace: Workspace, content: Content): Promise<readonly Server[]> {
  const storeOf = ({ directory }: Content) => ['--store', 'directory', '--cache-dir', directory]
  const nginx = await startNginx(workspace, content)
  const copy = await linkContent(content, workspace.path('copy'))
  const nabo = await startNabo(workspace, { store: storeOf(content) })
  const plain = await startNabo(workspace, { store: storeOf(copy), env: { NABO_MOVER: 'javascript' } })
  return [nginx, nabo.peer, nabo.mirror, { ...plain.peer, name: `${plain.peer.name}, NABO_MOVER=javascript` }]
}

/** A server that speaks the distribution API at `base`. */
export function registryServer(name: string, pid: number, base: string): Server {
  return {
    name,
    pid,
    blobUrl: ({ digest }) => `${base}/v2/${REPOSITORY}/blobs/${digest}`,
    manifestUrl: ({ digest }) => `${base}/v2/${REPOSITORY}/manifests/${digest}`,
  }
}

/** Starts an nginx with one worker that serves the same files by sendfile. Throws if there is none to be had. */
async function startNginx(workspace: Workspace, { directory }: Content): Promise<Server> {
  const tool = await findTool('nginx')
  if ('skip' in tool) throw new Error(tool.skip)
  const port = await freePort()
  const prefix = workspace.path('nginx')
  await mkdir(prefix, { recursive: true })
  await writeFile(join(prefix, 'nginx.conf'), nginxConfig(port, directory))
  const args = ['-p', prefix, '-c', join(prefix, 'nginx.conf'), '-e', 'stderr']
  const child = workspace.own(new Child(join(tool.binDir, 'nginx'), args))
  const base = `http://127.0.0.1:${port}`
  await answers(child, `${base}/oci-layout`)
  const fileUrl = ({ digest }: Blob) => `${base}/blobs/sha256/${digestHex(digest)}`
  return { name: 'nginx', pid: child.pid ?? 0, blobUrl: fileUrl, manifestUrl: fileUrl }
}

/** Waits until a child answers at `url`. Throws with its last words if it ends. */
async function answers(child: Child, url: string): Promise<void> {
  const answered = await eventually(url, async () => {
    if (child.exit !== undefined) return 'ended'
    return (await fetch(url)).ok && 'answers'
  })
  if (answered === 'ended') throw new Error(`it ended at once:\n${child.lines.slice(-20).join('\n')}`)
}

// One process without a master: its pid is the one that serves.
function nginxConfig(port: number, root: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `${process.getuid?.() === 0 ? 'user root;\n' : ''}daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
events { worker_connections 1024; }
http {
  ${temporary.map((name) => `${name}_temp_path ${name};`).join(' ')}
  access_log off;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  server { listen 127.0.0.1:${port}; root "${root}"; }
}
`
}

async function fetchHere(url: string) {
  const response = await fetch(url)
  return { status: response.status, headers: {}, body: new Uint8Array(await response.arrayBuffer()) }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return address !== null && typeof address === 'object' ? address.port : 0
}
