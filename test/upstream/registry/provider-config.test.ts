import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parse as parseYaml } from 'yaml'

import { goDuration, parseProviderConfig } from '../../../src/upstream/registry/provider-config.ts'

const parse = (content: unknown) =>
  parseProviderConfig(parseYaml, typeof content === 'string' ? content : JSON.stringify(content))

const provider = {
  name: 'ecr-credential-provider',
  apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
  matchImages: ['*.dkr.ecr.*.amazonaws.com'],
  defaultCacheDuration: '12h',
}
const config = (...providers: object[]) => ({
  apiVersion: 'kubelet.config.k8s.io/v1',
  kind: 'CredentialProviderConfig',
  providers,
})

describe("the kubelet's CredentialProviderConfig", () => {
  it('is read from YAML and from JSON', () => {
    const expected = [
      {
        name: 'acr-credential-provider',
        apiVersion: 'credentialprovider.kubelet.k8s.io/v1beta1',
        matchImages: ['*.azurecr.io', 'gcr.io/team'],
        defaultCacheDuration: 600_000,
        args: ['/etc/azure.json'],
        env: { AZURE_CLIENT: 'x=y' },
        needsServiceAccount: false,
      },
    ]
    const yaml = `
kind: CredentialProviderConfig
apiVersion: kubelet.config.k8s.io/v1beta1
providers:
- name: acr-credential-provider
  apiVersion: credentialprovider.kubelet.k8s.io/v1beta1
  defaultCacheDuration: 10m
  matchImages:
  - "*.azurecr.io"
  - gcr.io/team
  args: [/etc/azure.json]
  env:
  - {name: AZURE_CLIENT, value: x=y}
`
    assert.deepEqual(parse(yaml), expected)
    assert.deepEqual(parse(JSON.stringify(parseYaml(yaml))), expected)
  })

  it('may have a provider that works for pods alone', () => {
    const needs = (tokenAttributes: object) => parse(config({ ...provider, tokenAttributes }))[0]?.needsServiceAccount
    assert.equal(needs({ serviceAccountTokenAudience: 'x', requireServiceAccount: true, cacheType: 'Token' }), true)
    assert.equal(needs({ serviceAccountTokenAudience: 'x', requireServiceAccount: false, cacheType: 'Token' }), false)
  })

  it('that is something else is refused, in a sentence that quotes no value', () => {
    const secret = 'hunter2'
    const not = 'is not a CredentialProviderConfig of the kubelet'
    for (const [content, sentence] of [
      ['', not],
      [`{"a": ${secret}`, 'is no YAML or JSON'],
      [secret, not],
      [{ ...config(provider), kind: secret }, `${not}: see kind`],
      [{ ...config(provider), apiVersion: 'v1' }, `${not}: see apiVersion`],
      [config(), `${not}: see providers`],
      [config({ ...provider, name: '../sh' }), `${not}: see providers.0.name`],
      [config({ ...provider, name: '..' }), `${not}: see providers.0.name`],
      [config({ ...provider, matchImages: [] }), `${not}: see providers.0.matchImages`],
      [config({ ...provider, defaultCacheDuration: secret }), `${not}: see providers.0.defaultCacheDuration`],
      [config({ ...provider, apiVersion: secret }), `${not}: see providers.0.apiVersion`],
      [config({ ...provider, env: [{ name: 'A', value: { secret } }] }), `${not}: see providers.0.env.0.value`],
      [config(provider, provider), 'names the provider "ecr-credential-provider" twice'],
    ] as const) {
      assert.throws(
        () => parse(content),
        (error: Error) => error.message === sentence && error.cause === undefined,
        JSON.stringify(content),
      )
    }
  })

  it('has durations as Go writes them', () => {
    for (const [text, milliseconds] of [
      ['0', 0],
      ['0s', 0],
      ['12h', 43_200_000],
      ['1h30m0s', 5_400_000],
      ['1.5s', 1500],
      ['250ms', 250],
    ] as const)
      assert.equal(goDuration.parse(text), milliseconds)
    for (const text of ['', '12', 'h', '-1h', '1d', '1h 2m', '1h'.repeat(30)])
      assert.equal(goDuration.safeParse(text).success, false, text)
  })
})
