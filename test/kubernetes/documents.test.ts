// docs/kubernetes.md, word for word, on a cluster that has a network and DNS.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'

import { CHART } from '../support/helm.ts'
import type { Image } from '../support/image-maker.ts'
import type { KubernetesCluster } from './support/kubernetes-cluster.ts'
import { kubernetesUnavailable, startCluster } from './support/lab.ts'
import { sleeper } from './support/registries.ts'

const skip = (await kubernetesUnavailable()) ?? false
const PAGE = new URL('../../docs/kubernetes.md', import.meta.url)

describe('docs/kubernetes.md', { skip }, () => {
  let cluster: KubernetesCluster
  let image: Image

  before(async () => {
    cluster = await startCluster()
    await cluster.addDnsService()
    await cluster.addNetwork()
    await cluster.addDns()
    image = sleeper(cluster.programs.busybox, { seed: 'nginx' })
    await cluster.registries.hub.publish('nginx', 'latest', image)
    await cluster.registries.hub.reset()
  })
  after(() => cluster?.[Symbol.asyncDispose]())

  it('leads to an image that the second node has from the first in five commands', async () => {
    const page = await readFile(PAGE, 'utf8')
    const section = page.slice(page.indexOf('## Five commands'), page.indexOf('## Waiting'))
    const commands = [...section.matchAll(/^```sh\n(.+)\n```$/gm)].map(([, command = '']) => command)
    const [doctor = ''] = commands.splice(5)
    assert.equal(commands.length, 5)
    let output = ''
    for (const command of commands) {
      const { code, stdout, stderr } = await cluster.shell(command)
      assert.equal(code, 0, `${command}\n${stdout}${stderr}\n${code === 0 ? '' : await cluster.report()}`)
      output = stdout
    }
    const [first, second] = await Promise.all(['first', 'second'].map((name) => cluster.pods('-l', `run=${name}`)))
    const nodeOf = (pods: typeof first) => cluster.workers.find(({ name }) => name === pods?.[0]?.spec.nodeName)
    const [from, to] = [nodeOf(first), nodeOf(second)]
    assert.ok(from !== undefined && to !== undefined && from !== to)
    const { metadata } = await cluster.naboOn(to)
    const lines = output.trim().split('\n')
    for (const line of lines) assert.match(line, new RegExp(`^\\[pod/${metadata.name}/nabo\\] `))
    const blobs = lines.filter((line) => line.includes('"kind":"blob"'))
    assert.equal(blobs.length, image.blobs.length, output)
    for (const line of blobs) assert.match(line, new RegExp(`"peer":"${from.ip}:7951"`))

    const checked = await cluster.shell(doctor)
    assert.equal(checked.code, 0, checked.stdout)
    assert.doesNotMatch(checked.stdout, /^(?:warning|error)\b/m)
  })

  it('has an error of Helm that names the value which a user who may not look it up must set', async () => {
    const kubeconfig = await cluster.addLimitedUser('limited')
    const install = (...flags: readonly string[]) =>
      cluster.helm([
        'install',
        'nabo',
        CHART,
        '--namespace',
        'limited',
        '--dry-run=server',
        '--kubeconfig',
        kubeconfig,
        ...flags,
      ])
    const { code, stderr } = await install()
    assert.notEqual(code, 0)
    assert.match(stderr, /set clusterDNS, or let Helm list the Services of kube-system/)
    const set = await install('--set', 'clusterDNS=10.96.0.10')
    assert.equal(set.code, 0, set.stderr)
  })
})
