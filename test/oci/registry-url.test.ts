import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parseRegistryUrl, registryApi, RegistryUrlError } from '../../src/oci/registry-url.ts'

describe('the URL of a registry', () => {
  it('says where the API is, and what the names of repositories begin with', () => {
    for (const [text, api, prefix, name] of [
      ['https://registry-1.docker.io', 'https://registry-1.docker.io/v2/', '', 'registry-1.docker.io'],
      ['http://127.0.0.1:5000/', 'http://127.0.0.1:5000/v2/', '', '127.0.0.1:5000'],
      ['HTTPS://Registry.Example', 'https://registry.example/v2/', '', 'registry.example'],
      ['https://r.example/v2', 'https://r.example/v2/', '', 'r.example'],
      ['https://r.example/v2/', 'https://r.example/v2/', '', 'r.example'],
      [
        'https://harbor.example/v2/hub-proxy',
        'https://harbor.example/v2/',
        'hub-proxy/',
        'harbor.example/v2/hub-proxy',
      ],
      ['https://harbor.example/v2/hub/', 'https://harbor.example/v2/', 'hub/', 'harbor.example/v2/hub'],
      [
        'https://gitlab.example/v2/group/dependency_proxy/containers',
        'https://gitlab.example/v2/',
        'group/dependency_proxy/containers/',
        'gitlab.example/v2/group/dependency_proxy/containers',
      ],
      [
        'https://host.example/artifactory/api/docker/Hub',
        'https://host.example/artifactory/api/docker/Hub/v2/',
        '',
        'host.example/artifactory/api/docker/Hub',
      ],
      [
        'https://host.example/gate/v2/hub/v2',
        'https://host.example/gate/v2/',
        'hub/v2/',
        'host.example/gate/v2/hub/v2',
      ],
    ] as const) {
      const read = registryApi(parseRegistryUrl(text))
      assert.deepEqual({ ...read, api: read.api.href }, { api, prefix, name }, text)
    }
  })

  it('is refused with the reason if no request could be made of it', () => {
    for (const [text, reason] of [
      ['registry.example', /http or https/],
      ['https:registry.example', /http or https/],
      ['ftp://registry.example', /http or https/],
      ['https://', /http or https/],
      ['https://ann@registry.example/v2/a', /--credentials-file/],
      ['https://ann:secret@registry.example', /--credentials-file/],
      ['https://registry.example/v2/a?ns=docker.io', /query/],
      ['https://registry.example?', /query/],
      ['https://registry.example/#', /fragment/],
      ['https://registry.example/v2/../admin', /\. or \.\./],
      ['https://registry.example/./v2', /\. or \.\./],
      ['https://registry.example/v2/%2e%2e/admin', /letters, digits/],
      ['https://registry.example/v2\\hub', /letters, digits/],
      ['https://registry.example/v2/a b', /letters, digits/],
      ['https://registry.example/v2/é', /letters, digits/],
      ['https://registry.example/v2//hub', /empty part/],
      ['https://registry.example/v2/hub//', /empty part/],
      ['https://registry.example/v2/Hub', /lower-case/],
      ['https://registry.example/v2/-hub', /lower-case/],
      ['https://index.docker.io/v1/', /registry-1\.docker\.io/],
      [`https://registry.example/${'a'.repeat(255)}`, /longer than 255/],
    ] as const) {
      assert.throws(
        () => parseRegistryUrl(text),
        (error) => error instanceof RegistryUrlError && reason.test(error.message) && !error.message.includes('secret'),
        text,
      )
    }
  })
})
