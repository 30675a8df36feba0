// What the chart's values about registries and images are on each node.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'

import { parse } from 'yaml'

import { parseServeFlags } from '../support/daemon.ts'
import { findHelm, Helm } from '../support/helm.ts'
import { daemonOf, flagsOf, podSpecOf } from '../support/rendered-pod.ts'

const HOST_FILE = '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem'
const REGISTRY = 'registry.example.com:5000'

const found = await findHelm()
const helm = 'helm' in found ? found.helm : new Helm('')

describe('the registries of the values', { skip: 'skip' in found && found.skip }, () => {
  const render = async (values: object) => {
    const pod = podSpecOf(await helm.render(values))
    const daemon = daemonOf(pod)
    return {
      flags: flagsOf(daemon),
      environment: new Map(daemon.env?.map(({ name, value }) => [name, value])),
      /** The volume of a name and where the daemon sees it. */
      mounted: (name: string) => ({
        volume: pod.volumes.find((volume) => volume.name === name),
        mount: daemon.volumeMounts.find((mount) => mount.name === name),
      }),
    }
  }
  /** The flags of these names, in their order. */
  const named = (flags: readonly string[], ...names: readonly string[]) =>
    flags.filter((flag) => names.some((name) => flag.startsWith(`--${name}=`)))

  it('are those of the flags, with one flag for each pattern and each token server', async () => {
    const { flags } = await render({
      registries: ['docker.io', REGISTRY],
      include: ['docker.io/library/*', `${REGISTRY}/team/**:v*`],
      exclude: ['**:latest', 'docker.io/library/secret'],
      tokenRealms: { [REGISTRY]: ['gitlab.example.org', 'auth.example.org:8443'], 'docker.io': ['auth.example'] },
    })
    assert.deepEqual(named(flags, 'registries', 'include', 'exclude', 'token-realm'), [
      '--token-realm=docker.io=auth.example',
      `--token-realm=${REGISTRY}=gitlab.example.org`,
      `--token-realm=${REGISTRY}=auth.example.org:8443`,
      `--registries=docker.io,${REGISTRY}`,
      '--include=docker.io/library/*',
      `--include=${REGISTRY}/team/**:v*`,
      '--exclude=**:latest',
      '--exclude=docker.io/library/secret',
    ])
    const { tokenRealm, include, exclude } = parseServeFlags(flags)
    assert.deepEqual([tokenRealm.length, include.length, exclude.length], [3, 2, 2])
  })

  it('are shown the client certificates of Secrets', async () => {
    const { flags, mounted } = await render({
      registryClientCerts: [
        { registry: REGISTRY, secret: 'my-client' },
        { registry: 'docker.io', secret: 'other' },
      ],
    })
    const file = (index: number, name: string) => `/etc/nabo/registry-client-cert/${index}/tls.${name}`
    assert.deepEqual(named(flags, 'registry-client-cert'), [
      `--registry-client-cert=${REGISTRY}=${file(0, 'crt')},${file(0, 'key')}`,
      `--registry-client-cert=docker.io=${file(1, 'crt')},${file(1, 'key')}`,
    ])
    for (const [index, secretName] of ['my-client', 'other'].entries()) {
      const name = `registry-client-cert-${index}`
      assert.deepEqual(mounted(name), {
        volume: { name, secret: { secretName, defaultMode: 0o400 } },
        mount: { name, mountPath: `/etc/nabo/registry-client-cert/${index}`, readOnly: true },
      })
    }
  })

  it("are trusted as the node's file of authorities says, which stands where Nabo and Go programs look first", async () => {
    const name = 'host-certificates'
    const { mounted } = await render({ hostCertificates: HOST_FILE })
    assert.deepEqual(mounted(name), {
      volume: { name, hostPath: { path: HOST_FILE, type: 'File' } },
      mount: { name, mountPath: '/etc/ssl/certs/ca-certificates.crt', readOnly: true },
    })
  })

  it('leave the files of the node and a home to credential helpers, as the documentation shows', async () => {
    const text = await readFile(new URL('../../docs/registries.md', import.meta.url), 'utf8')
    const section = text.slice(text.indexOf('\n## Credential helpers\n'))
    const example = /```yaml\n(.*?)```/s.exec(section)?.[1] ?? assert.fail()
    const { flags, mounted, environment } = await render(parse(example) as object)
    assert.equal(mounted('host-certificates').mount?.mountPath, '/etc/ssl/certs/ca-certificates.crt')
    assert.equal(mounted('tmp').mount?.mountPath, environment.get('HOME'))
    assert.ok(!environment.has('SSL_CERT_FILE'))
    assert.equal(named(flags, 'credentials-file').length, 1)
  })

  it('need none of it', async () => {
    const { flags, mounted } = await render({})
    assert.deepEqual(named(flags, 'include', 'exclude', 'token-realm', 'registry-client-cert'), [])
    for (const name of ['host-certificates', 'registry-client-cert-0'])
      assert.deepEqual(mounted(name), { volume: undefined, mount: undefined })
  })
})
