import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { parse } from 'yaml'

import { chartReadme } from '../../scripts/chart-readme.ts'
import { CHART, findHelm, Helm } from '../support/helm.ts'

const found = await findHelm()
const helm = 'helm' in found ? found.helm : new Helm('')

const read = (path: string) => readFileSync(join(CHART, path), 'utf8')

interface Schema {
  readonly $ref?: string
  readonly additionalProperties?: unknown
  readonly properties?: Readonly<Record<string, Schema>>
}

const schema = JSON.parse(read('values.schema.json')) as Schema & { definitions: Record<string, Schema> }
const values = parse(read('values.yaml')) as Record<string, unknown>

function resolved(node: Schema): Schema {
  return (node.$ref === undefined ? undefined : schema.definitions[node.$ref.split('/').at(-1) ?? '']) ?? node
}

/** The paths of what a schema and values have between them: groups are entered, everything else is a value. */
function schemaPaths(node: Schema, prefix = ''): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([name, child]) => {
    const { properties, additionalProperties } = resolved(child)
    const group = properties !== undefined && name !== 'seLinuxOptions'
    if (group) assert.equal(additionalProperties, false, `${prefix}${name} lets typos pass`)
    return group ? schemaPaths(resolved(child), `${prefix}${name}.`) : [`${prefix}${name}`]
  })
}

function valueAt(path: string): unknown {
  return path.split('.').reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], values)
}

describe('the values of the chart', () => {
  it('have a schema, each, and no other has one', () => {
    const paths = schemaPaths(schema).filter((path) => path !== 'global')
    for (const path of paths) assert.notEqual(valueAt(path), undefined, `values.yaml has no ${path}`)
    const groups = new Set(paths.map((path) => path.split('.')[0]))
    assert.deepEqual(new Set(Object.keys(values)), groups)
  })

  it('are all used', () => {
    const text = readdirSync(join(CHART, 'templates'))
      .map((file) => read(join('templates', file)))
      .join('\n')
    for (const path of schemaPaths(schema).filter((name) => name !== 'global')) {
      // Templates of monitoring objects look at one group of values only.
      const local = path.startsWith('metrics.') && text.includes(`.${path.split('.').at(-1)}`)
      assert.ok(
        local || new RegExp(String.raw`[Vv]alues\.${RegExp.escape(path)}\b`).test(text),
        `no template uses ${path}`,
      )
    }
  })

  it('stand in the README as they are: `node scripts/chart-readme.ts` writes them', () => {
    assert.equal(read('README.md'), chartReadme())
  })

  it('have the version of the project', () => {
    const { version } = JSON.parse(read('../../package.json')) as { version: string }
    const chart = parse(read('Chart.yaml')) as { appVersion: string }
    assert.equal(chart.appVersion, version)
  })
})

describe('a value that makes no sense', { skip: 'skip' in found && found.skip }, () => {
  const CASES: readonly [values: object, words: RegExp][] = [
    [{ hostNetwrok: false }, /at '': additional properties 'hostNetwrok' not allowed/],
    [{ containerd: { sokcet: '/x' } }, /at '\/containerd': additional properties 'sokcet' not allowed/],
    [
      { metrics: { podMonitor: { enable: true } } },
      /at '\/metrics\/podMonitor': additional properties 'enable' not allowed/,
    ],
    [{ seLinuxOptions: { typ: 'spc_t' } }, /at '\/seLinuxOptions': additional properties 'typ' not allowed/],
    [{ hostNetwork: 'yes' }, /at '\/hostNetwork': got string, want boolean/],
    [{ containerd: { socket: 'run/containerd.sock' } }, /at '\/containerd\/socket': .* does not match pattern/],
    [{ containerd: { configDir: '/a:/b' } }, /at '\/containerd\/configDir': .* does not match pattern/],
    [{ privateImages: 'shared' }, /at '\/privateImages': value must be one of 'verify', 'skip', 'share'/],
    [{ ports: { mirror: 70_000 } }, /at '\/ports\/mirror': maximum: got 70,000, want 65,535/],
    [{ extraArgs: ['tree-children=4'] }, /at '\/extraArgs\/0': .* does not match pattern/],
    [
      { registryCAs: [{ registry: 'r.example', configMap: 'a', secret: 'b' }] },
      /at '\/registryCAs\/0': 'oneOf' failed/,
    ],
    [{ registries: 'docker.io' }, /at '\/registries'/],
    [{ include: ['docker.io/library/nginx@sha256:abc'] }, /at '\/include\/0': .* does not match pattern/],
    [{ adminSocketDir: 'run/nabo' }, /at '\/adminSocketDir': .* does not match pattern/],
    [{ adminSocketDir: `/run/${'n'.repeat(92)}` }, /at '\/adminSocketDir': maxLength: got 97, want 96/],
    [{ mirrorFrom: ['example.com'] }, /mirrorFrom/],
    [{ mirrorFrom: ['10.0.0.0/99'] }, /mirrorFrom/],
    [
      { tokenRealms: { 'r.example': ['https://gitlab.example.org'] } },
      /at '\/tokenRealms\/r\.example\/0': .* does not match pattern/,
    ],
    [{ containerd: { configFile: '/config.toml' } }, /configFile/],
    [{ allowedHosts: ['mirror.example:7950'] }, /at '\/allowedHosts\/0': .* does not match pattern/],
    [{ clusterSecret: { create: false } }, /there is no cluster secret.*existingSecret or insecureWithoutSecret/],
    [
      { credentials: { providers: { binDir: '/opt/providers' } } },
      /credentials\.providers needs both configFile and binDir/,
    ],
    [{ clusterDNS: 'kube-dns' }, /at '\/clusterDNS': 'kube-dns' is not valid ipv4/],
    [{ clusterDNS: 'cafe' }, /at '\/clusterDNS': 'cafe' is not valid ipv6/],
    [{ clusterDNS: '10.96.0.300' }, /at '\/clusterDNS': .* decimal must be between 0 and 255/],
    [{ containerd: { configFile: 'config.toml' } }, /at '\/containerd\/configFile': .* does not match pattern/],
    [{ image: { digest: 'sha256:abc' } }, /at '\/image\/digest': .* does not match pattern/],
    [{ image: { digest: 'a'.repeat(64) } }, /at '\/image\/digest': .* does not match pattern/],
    [{ image: { repository: `nabo@sha256:${'a'.repeat(64)}` } }, /at '\/image\/repository': .* does not match pattern/],
    [{ image: { tag: '1.2@3' } }, /at '\/image\/tag': .* does not match pattern/],
    [{ peerBandwidth: '50 MB/s' }, /at '\/peerBandwidth': .* does not match pattern/],
  ]

  for (const [bad, words] of CASES) {
    it(`is refused by its name: ${JSON.stringify(bad)}`, async () => {
      const { code, stderr } = await helm.template(bad)
      assert.equal(code, 1)
      assert.match(stderr, words)
    })
  }

  it('is refused with a sentence where the schema cannot tell', async () => {
    const { code, stderr } = await helm.template({ serviceAccount: { create: false } })
    assert.equal(code, 1)
    assert.match(stderr, /serviceAccount\.name is needed when serviceAccount\.create is false/)
  })
})
