// The first steps of README on a node without Kubernetes, and a mistyped name in every command.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { type BareContainerd, criConfig, startBareContainerd } from '../support/bare-containerd.ts'
import type { ClusterNode } from '../support/cluster-node.ts'
import { findContainerd } from '../support/containerd.ts'
import { makeImage } from '../support/image-maker.ts'
import type { NaboProcess } from '../support/nabo-process.ts'
import { type Cluster, clusterUnavailable, createCluster } from '../support/netns-cluster.ts'

const found = await findContainerd()
const skip = (await clusterUnavailable()) ?? ('skip' in found ? found.skip : false)
const NABO = fileURLToPath(new URL('../../bin/nabo', import.meta.url))

describe('the first pull on a node without Kubernetes', { skip }, () => {
  let cluster: Cluster
  let node: ClusterNode
  let containerd: BareContainerd
  let nabo: NaboProcess
  let certs: string

  before(async () => {
    cluster = await createCluster({ nodes: 1 })
    await cluster.hub.publish('app', '1', makeImage({ layers: [{ size: 10_000, seed: 1 }] }))
    node = cluster.node(0)
    certs = join(cluster.directory, 'certs.d')
    const binDir = 'binDir' in found ? found.binDir : ''
    containerd = await startBareContainerd({ root: join(cluster.directory, 'c'), binDir, config: criConfig() })
    nabo = node.startNabo([
      ...['--containerd-socket', containerd.socket, '--containerd-config', containerd.configFile],
      ...['--config-dir', certs, '--bootstrap', 'none'],
    ])
    await nabo.ready()
  })
  after(async () => {
    await nabo.stop()
    await containerd.stop()
    await cluster.dispose()
  })

  const ctr = async (...args: readonly string[]) => {
    const program = join('binDir' in found ? found.binDir : '', 'ctr')
    const { stdout: help } = await node.exec(program, ['images', 'pull', '--help'])
    const local = help.includes('--local') ? ['--local'] : []
    const flags = ['--hosts-dir', certs, '--snapshotter', 'native', ...local]
    return node.exec(program, ['--address', containerd.socket, 'images', 'pull', ...flags, ...args])
  }

  it('configure says that containerd does not read the directory, and which line to add', async () => {
    const { code, stdout, stderr } = await node.exec('env', [
      ...[`NABO_CONTAINERD_SOCKET=${containerd.socket}`, `NABO_CONTAINERD_CONFIG=${containerd.configFile}`],
      ...[NABO, 'configure', 'containerd', '--config-dir', certs],
    ])
    assert.equal(code, 0, stderr)
    assert.ok(existsSync(join(certs, 'docker.io/hosts.toml')))
    assert.match(stdout, /But containerd .*config_path|But .*config_path is not set|But .*default list/)
    assert.match(stdout, new RegExp(`fix: .*${containerd.configFile}.*config_path = "${certs}"`))
  })

  it('goes through Nabo with the command of README', async () => {
    const pulled = await ctr('docker.io/library/app:1')
    assert.equal(pulled.code, 0, pulled.stderr)
    assert.ok((await nabo.metric('nabo_bytes_total', { listener: 'mirror' })) > 10_000)
  })

  it('names an image that does not exist as such, in every command and in the answer to containerd', async () => {
    const answers = await Promise.all(
      [
        ['pull', 'library/nosuch:1'],
        ['warm', 'library/nosuch:1'],
        ['find', 'library/nosuch:1'],
      ].map((args) => node.exec(NABO, args)),
    )
    for (const { code, stdout, stderr } of answers) {
      assert.notEqual(code, 0, stdout)
      assert.match(stdout + stderr, /the image does not exist, or is not public/)
    }
    const pulled = await ctr('docker.io/library/nosuch:1')
    assert.notEqual(pulled.code, 0)
    const { status, body } = await node.fetch('http://127.0.0.1:7950/v2/library/nosuch/manifests/1?ns=docker.io')
    assert.equal(status, 401)
    assert.match(Buffer.from(body).toString(), /repository does not exist or may require authorization/)
  })
})
