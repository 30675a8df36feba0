import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { commandWords, fill, parseDescription, readDescription } from '../../bench/compare/contenders/description.ts'
import { descriptionOf, transfersIn } from '../../bench/compare/contenders/pull-through.ts'

const MINIMAL = {
  id: 'other',
  title: 'Another mirror',
  place: 'each-node',
  command: ['mirror', '--content={contentPath}'],
  readyUrl: 'http://{ip}:5000/ready',
  mirrorUrl: 'http://127.0.0.1:5000',
}

const VALUES = {
  name: 'node-0',
  number: '0',
  ip: '10.0.0.1',
  firstIp: '10.0.0.1',
  directory: '/d',
  registryUrl: 'http://hub',
  secretFile: '/s',
  peers: '',
}

describe('the description of a mirror', () => {
  it('needs little', () => {
    const { cri, peers, files, readySeconds } = parseDescription(MINIMAL)
    assert.deepEqual(
      { cri, peers, files, readySeconds },
      {
        cri: false,
        peers: { each: '{ip}', separator: ',' },
        files: {},
        readySeconds: 60,
      },
    )
  })

  it('is refused when a field is unknown, missing or leads out of its directory', () => {
    assert.throws(() => parseDescription({ ...MINIMAL, comand: ['x'] }), /comand/)
    assert.throws(() => parseDescription({ ...MINIMAL, mirrorUrl: undefined }), /mirrorUrl/)
    assert.throws(() => parseDescription({ ...MINIMAL, files: { '../x': [] } }))
    assert.throws(() => parseDescription({ ...MINIMAL, id: 'two words' }))
  })

  it('is filled with values, and braces that are no placeholders stay', () => {
    assert.equal(fill('http://{ip}:5000/{name}', { ip: '10.0.0.1', name: 'node-1' }), 'http://10.0.0.1:5000/node-1')
    assert.equal(fill('log: {level: info}', {}), 'log: {level: info}')
    assert.throws(() => fill('{sokcet}', { socket: '/s' }), /\{sokcet\} is none of socket/)
  })

  it('is refused when a template names what means nothing in its place', () => {
    const refused = (changes: object, message: RegExp) =>
      assert.throws(() => parseDescription({ ...MINIMAL, ...changes }), message)
    refused({ command: ['mirror', '{sokcet}'] }, /\{sokcet\} means nothing here, known are \{name\}, .*\{certsDir\}/)
    refused({ env: { HOME: '{home}' } }, /\{home\} means nothing/)
    refused({ files: { 'a.toml': ['port = 1', 'peer = {peer}'] } }, /\{peer\} means nothing/)
    refused({ readyUrl: 'http://{address}/' }, /\{address\} means nothing/)
    refused({ mirrorUrl: 'http://{address}/' }, /\{address\} means nothing/)
    refused({ peers: { each: '{directory}' } }, /\{directory\} means nothing here, known are \{name\}, \{ip\}/)
    refused({ command: ['mirror', { each: ['{directory}'] }] }, /\{directory\} means nothing here, known are \{name\}/)
    refused({ place: 'one-host' }, /\{contentPath\} means nothing/)
    refused({ command: [{ each: ['{ip}'] }] }, /command/)
  })

  it('makes words for each of the other nodes', () => {
    const { command } = parseDescription({ ...MINIMAL, command: ['m', '-v', { each: ['--peer', '{name}={ip}:5001'] }] })
    const others = [
      { name: 'node-1', ip: '10.0.0.2' },
      { name: 'node-2', ip: '10.0.0.3' },
    ]
    const flags = ['--peer', 'node-1=10.0.0.2:5001', '--peer', 'node-2=10.0.0.3:5001']
    assert.deepEqual(commandWords(command, VALUES, others), ['m', '-v', ...flags])
    assert.deepEqual(commandWords(command, VALUES, []), ['m', '-v'])
  })

  it('exists as an example that can be read', async () => {
    const example = join(import.meta.dirname, '../../bench/compare/contenders/examples/spegel.json')
    assert.equal((await readDescription(example)).id, 'spegel')
  })

  it('says which file is wrong', async () => {
    await assert.rejects(readDescription('/nowhere.json'), /\/nowhere\.json does not describe a mirror/)
  })
})

describe("the pull-through cache's description", () => {
  it('says why registry 2 fetches more than once, and of others does not', () => {
    const two = descriptionOf('2.8.2+ds1')
    assert.match(two, /2\.8\.2\+ds1 .* once for each client that waits and once to store it/)
    assert.ok(two.length <= 500)
    assert.doesNotMatch(descriptionOf('3.0.0'), /once for each/)
  })
})

describe("the pull-through cache's log", () => {
  const digest = `sha256:${'a'.repeat(64)}`
  const began = new Date('2026-01-01T00:00:00Z')
  const site = { nodes: [{ name: 'node-0', ip: '10.0.0.1' }], host: { name: 'cache', ip: '10.0.0.9' } }
  const line = (changes: object) =>
    JSON.stringify({
      time: '2026-01-01T00:00:03.5Z',
      'http.request.method': 'GET',
      'http.request.remoteaddr': '10.0.0.1:40000',
      'http.request.uri': `/v2/bench/app/blobs/${digest}?ns=docker.io`,
      'http.response.duration': '1.5s',
      'http.response.written': 1000,
      ...changes,
    })

  it('says what nodes got, and when', () => {
    const expected = { at: 2, seconds: 1.5, node: 'node-0', digest, source: 'mirror', from: 'cache', bytes: 1000 }
    assert.deepEqual(transfersIn([line({})], began, site), [expected])
  })

  it('knows how Go writes durations', () => {
    const seconds = ['830µs', '12.5ms', '1m2s'].map((text) => {
      return transfersIn([line({ 'http.response.duration': text })], began, site)[0]?.seconds
    })
    assert.deepEqual(seconds, [0.00083, 0.0125, 62])
  })

  it('leaves out what is something else, or was before', () => {
    const others = [
      'not JSON',
      '{"msg":"listening"}',
      line({ 'http.request.uri': '/v2/bench/app/manifests/1' }),
      line({ 'http.request.method': 'HEAD' }),
      line({ 'http.request.remoteaddr': '10.0.0.8:1' }),
      line({ time: '2025-12-31T23:59:59Z' }),
    ]
    assert.deepEqual(transfersIn(others, began, site), [])
  })
})
