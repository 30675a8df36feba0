import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { BenchCluster, type ClusterOptions, pullsOf } from '../../bench/cluster/cluster.ts'
import { Kubectl, KubectlError } from '../../bench/cluster/kubectl.ts'
import { type KubeEvent, quantity } from '../../bench/cluster/kubernetes.ts'
import { ConditionsError, emptyResults, joined, nextRepeat, runOf } from '../../bench/cluster/outcome.ts'
import { goDuration, pullOutcome } from '../../bench/cluster/pull-events.ts'
import { imageAt, parseClusterPlan, UsageError } from '../../bench/cluster/settings.ts'
import { type Results, parseResults, writeResults } from '../../bench/compare/results.ts'
import { Child } from '../support/child.ts'
import { readFakeCluster } from '../support/fake-kubectl.ts'
import { eventually } from '../support/poll.ts'

describe('what a kubelet says of a pull', () => {
  const pulled = (message: string) => pullOutcome({ reason: 'Pulled', message })

  it('is read in the words of all versions', () => {
    const image = 'docker.io/library/app:1'
    const base = { type: 'pulled', image, bytes: undefined }
    assert.deepEqual(pulled(`Successfully pulled image "${image}" in 1.2s`), {
      ...base,
      seconds: 1.2,
      withWaiting: 1.2,
    })
    assert.deepEqual(pulled(`Successfully pulled image "${image}" in 1m2.5s (1m3s including waiting)`), {
      ...base,
      seconds: 62.5,
      withWaiting: 63,
    })
    assert.deepEqual(
      pulled(`Successfully pulled image "${image}" in 250ms (2.25s including waiting). Image size: 1234 bytes.`),
      { ...base, seconds: 0.25, withWaiting: 2.25, bytes: 1234 },
    )
  })

  it('may be that there was nothing to do, or that it went wrong', () => {
    const present = { type: 'present', image: 'app:1' }
    assert.deepEqual(pulled('Container image "app:1" already present on machine'), present)
    const words = 'Container image "app:1" already present on machine and can be accessed by the pod'
    assert.deepEqual(pulled(words), present)
    assert.deepEqual(pullOutcome({ reason: 'Failed', message: 'Failed to pull image "app:1": rpc error: 429' }), {
      type: 'failed',
      image: 'app:1',
      error: 'rpc error: 429',
    })
  })

  it('may be about something else', () => {
    assert.equal(pulled('Created container app'), undefined)
    assert.equal(pulled('Successfully pulled image "app:1" in a while'), undefined)
    assert.equal(pullOutcome({ reason: 'Failed', message: 'Error: ErrImagePull' }), undefined)
    assert.equal(
      pullOutcome({ reason: 'Scheduled', message: 'Container image "a" already present on machine' }),
      undefined,
    )
  })

  it('has durations and quantities', () => {
    for (const [text, seconds] of [
      ['1h1m1s', 3661],
      ['350.5ms', 0.3505],
      ['12µs', 0.000_012],
      ['5s', 5],
    ] as const)
      assert.ok(Math.abs(goDuration(text) - seconds) < 1e-9, text)
    assert.deepEqual(['4', '3920m', '16Ki', '2Gi', '1k', 'much', undefined].map(quantity), [
      4,
      3.92,
      16_384,
      2 ** 31,
      1000,
      0,
      0,
    ])
  })
})

describe('the pulls of a set', () => {
  const nodeOf = new Map([
    ['pod-a', 'a'],
    ['pod-b', 'b'],
    ['pod-c', undefined],
  ])
  const event = (pod: string, at: string, reason: string, message: string): KubeEvent => ({
    reason,
    message,
    involvedObject: { name: pod },
    firstTimestamp: `2026-01-01T00:00:${at}Z`,
  })
  const done = (seconds: number) => `Successfully pulled image "app:1" in ${seconds}s (${seconds}s including waiting)`

  it('are one a node, from the first start on', () => {
    const { nodes, wallSeconds } = pullsOf(
      'app:1',
      [
        event('pod-b', '10', 'Pulled', done(4)),
        event('pod-a', '05', 'Pulled', done(2)),
        // Its container was started again, of another policy.
        event('pod-a', '07', 'Pulled', done(0.1)),
        event('pod-c', '07', 'Pulled', done(1)),
        event('pod-x', '01', 'Pulled', done(1)),
        event('pod-b', '01', 'Pulled', 'Successfully pulled image "other:1" in 1s'),
      ],
      nodeOf,
    )
    assert.deepEqual(nodes, [
      { name: 'a', pulls: [{ image: 'app:1', at: 0, seconds: 2, ok: true }] },
      { name: 'b', pulls: [{ image: 'app:1', at: 3, seconds: 4, ok: true }] },
    ])
    assert.equal(wallSeconds, 7)
  })

  it('have failed where the first attempt did, whatever comes later', () => {
    const { nodes } = pullsOf(
      'app:1',
      [
        event('pod-a', '01', 'Pulling', 'Pulling image "app:1"'),
        event('pod-a', '04', 'Failed', 'Failed to pull image "app:1": gone'),
        event('pod-a', '20', 'Pulled', done(2)),
      ],
      nodeOf,
    )
    assert.deepEqual(nodes, [{ name: 'a', pulls: [{ image: 'app:1', at: 0, seconds: 3, ok: false, error: 'gone' }] }])
  })

  it('are none before a kubelet has said something', () => {
    assert.deepEqual(pullsOf('app:1', [], nodeOf), { nodes: [], wallSeconds: 0, bytes: undefined })
  })
})

describe('the command line of the cluster’s benchmark', () => {
  it('names images that are compared across tags', () => {
    const plan = parseClusterPlan([
      '--label',
      'nabo',
      '--node-selector',
      'pool=x',
      'large=r.example/bench:{label}-{repeat}',
      'app:1',
    ])
    assert.deepEqual(plan.images[1], { variant: 'app:1', reference: 'app:1' })
    const [large] = plan.images
    assert.deepEqual(large && imageAt(large, plan.label, 2), { variant: 'large', reference: 'r.example/bench:nabo-2' })
    assert.deepEqual([plan.title, plan.nodeSelector, plan.removeWith], ['Nabo', { pool: 'x' }, undefined])
  })

  it('is refused in words', () => {
    const wrong = [
      ['app:1'],
      ['--label', 'a b', 'app:1'],
      ['--label', 'nabo'],
      ['--label', 'nabo', "app:1'; reboot"],
      ['--label', 'nabo', 'app:1', 'app:1'],
      ['--label', 'nabo', '--pull-policy', 'Never', 'app:1'],
      ['--label', 'nabo', '--repeats', '0', 'app:1'],
      ['--label', 'nabo', '--node-selector', 'pool', 'app:1'],
      ['--label', 'nabo', '--namespace', 'Kube System', 'app:1'],
      ['--label', 'nabo', '--mirror-version', '', 'app:1'],
      ['--label', 'nabo', '--frobnicate', 'app:1'],
    ]
    for (const args of wrong) assert.throws(() => parseClusterPlan(args), UsageError, args.join(' '))
  })
})

describe('a benchmark in a cluster', () => {
  let directory: string
  let kubectl: Kubectl
  let abort: AbortController

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-kubectl-'))
    const program = fileURLToPath(new URL('../support/fake-kubectl.ts', import.meta.url))
    const script = `#!/bin/sh\nFAKE_CLUSTER=${directory}/cluster.json exec ${process.execPath} ${program} "$@"\n`
    await writeFile(join(directory, 'kubectl'), script)
    await chmod(join(directory, 'kubectl'), 0o755)
    kubectl = new Kubectl({ flags: [], command: join(directory, 'kubectl') })
    abort = new AbortController()
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  const now = () => readFakeCluster(join(directory, 'cluster.json'))
  const options = (): ClusterOptions => ({
    kubectl,
    namespace: 'nabo-bench',
    nodeSelector: {},
    allNodes: false,
    pullPolicy: 'IfNotPresent',
    dockerConfig: undefined,
    removeWith: undefined,
    timeoutMs: 30_000,
    pollMs: 10,
    signal: abort.signal,
  })

  it('takes the times of all nodes and leaves nothing behind', async () => {
    {
      await using cluster = await BenchCluster.create(options())
      const pull = await cluster.pull('r.example/app:1')
      assert.deepEqual(
        pull.nodes.map(({ name, pulls }) => [name, pulls[0]?.seconds, pulls[0]?.ok]),
        [
          ['node-a', 1.5, true],
          ['node-b', 2.5, true],
          ['node-c', 3.5, true],
        ],
      )
      assert.deepEqual([pull.bytes, pull.failure], [1_000_000, undefined])
      assert.deepEqual(now().sets, {})
      assert.ok('nabo-bench' in now().namespaces)
    }
    assert.deepEqual(now().namespaces, {})
  })

  it('shows what went wrong, node by node', async () => {
    await using cluster = await BenchCluster.create(options())
    const broken = await cluster.pull('r.example/broken:1')
    assert.deepEqual(broken.nodes[0]?.pulls[0], {
      image: 'r.example/broken:1',
      at: 0,
      seconds: 4,
      ok: false,
      error: 'not found',
    })
    const present = await cluster.pull('r.example/present:1')
    assert.match(present.nodes[0]?.pulls[0]?.error ?? '', /had the image already/)
  })

  it('says which part of the nodes was not heard of in time', async () => {
    await using cluster = await BenchCluster.create({ ...options(), timeoutMs: 1 })
    const pull = await cluster.pull('r.example/slow:1')
    assert.equal(pull.nodes.length, 2)
    assert.equal(pull.failure, '1 of 3 nodes said nothing in time')
  })

  it('touches no namespace that it did not make', async () => {
    await kubectl.run(['create'], {
      input: JSON.stringify({ kind: 'Namespace', metadata: { name: 'nabo-bench', labels: {} } }),
    })
    await assert.rejects(
      BenchCluster.create(options()),
      (error) => error instanceof KubectlError && /exists/.test(error.message),
    )
    assert.ok('nabo-bench' in now().namespaces)
  })

  it('cleans up when it is interrupted', async () => {
    const interrupted = async () => {
      await using cluster = await BenchCluster.create(options())
      const pulling = cluster.pull('r.example/slow:1')
      await eventually('the set is there', () => Object.keys(now().sets).length > 0, { everyMs: 10 })
      abort.abort(new Error('interrupted'))
      await pulling
    }
    await assert.rejects(interrupted(), /interrupted/)
    assert.deepEqual(now().namespaces, {})
  })

  it('runs under the strictest pod security, and privileged only to remove images', async () => {
    {
      await using _ = await BenchCluster.create(options())
      assert.equal(now().namespaces['nabo-bench']?.['pod-security.kubernetes.io/enforce'], 'restricted')
    }
    await using cluster = await BenchCluster.create({ ...options(), removeWith: 'busybox:1' })
    assert.equal(now().namespaces['nabo-bench']?.['pod-security.kubernetes.io/enforce'], 'privileged')
    await cluster.removeImages(['r.example/app:1'])
    assert.match(JSON.stringify(now().created.at(-1)), /remove 'r\.example\/app:1'/)
    assert.deepEqual(now().sets, {})
  })

  it('gives the kubelets credentials by a secret of its own', async () => {
    await using cluster = await BenchCluster.create({ ...options(), dockerConfig: '{"auths":{}}' })
    await cluster.pull('r.example/app:1')
    assert.deepEqual(
      now().created.map(({ kind }) => kind),
      ['Namespace', 'Secret', 'DaemonSet'],
    )
    assert.match(JSON.stringify(now().created.at(-1)), /"imagePullSecrets":\[\{"name":"pull"\}\]/)
  })

  it('puts labels that were measured one after the other into one file, as pairs', async () => {
    await using cluster = await BenchCluster.create(options())
    const pull = await cluster.pull('r.example/app:1')
    const nodes = await cluster.nodes()
    let results = emptyResults(nodes, { id: 'none', title: 'No mirror' }, ['none: pull policy Always'])
    results.runs.push(runOf('none', { variant: 'app', reference: 'r.example/app:1' }, 0, pull))
    assert.equal(nextRepeat(results, 'none', 'app'), 1)
    assert.equal(nextRepeat(results, 'nabo', 'app'), 0)
    const second = emptyResults(nodes, { id: 'nabo', title: 'Nabo' }, [])
    second.runs.push(runOf('nabo', { variant: 'app', reference: 'r.example/app:2' }, 0, pull))
    results = parseResults(joined(results, second))
    assert.deepEqual(
      results.runs.map(({ contender, variant, repeat }) => [contender, variant, repeat]),
      [
        ['none', 'app', 0],
        ['nabo', 'app', 0],
      ],
    )
    assert.equal(results.machine.cores, 12)
    assert.equal(results.settings.nodes, 3)
  })

  it('refuses to put results side by side that were measured under other conditions', async () => {
    await using cluster = await BenchCluster.create(options())
    const nodes = await cluster.nodes()
    const before = emptyResults(nodes, { id: 'nabo', title: 'Nabo', version: '0.9' }, [])
    const refused = (now: Results, message: RegExp) =>
      assert.throws(
        () => joined(before, now),
        (error) => error instanceof ConditionsError && message.test(error.message),
      )
    const none = { id: 'none', title: 'No mirror' }
    refused(emptyResults(nodes.slice(1), none, []), /the number of nodes was 3 and is 2; name another --out/)
    const later = structuredClone(nodes)
    for (const { status } of later) {
      status.nodeInfo.kubeletVersion = 'v9.9.9'
      status.nodeInfo.containerRuntimeVersion = 'containerd://9.9.9'
    }
    refused(
      emptyResults(later, none, []),
      /the kubelet was v[\d.]+ and is v9\.9\.9; the container runtime was .* and is/,
    )
    const other = { id: 'nabo', title: 'Nabo', version: '1.0' }
    refused(emptyResults(nodes, other, []), /the version of Nabo was 0\.9 and is 1\.0/)
    const again = joined(before, emptyResults(nodes, { id: 'nabo', title: 'Nabo' }, []))
    assert.deepEqual(again.contenders, before.contenders)
  })

  it('is a command that adds its results to those that are there', async () => {
    const program = fileURLToPath(new URL('../../bench/cluster/run.ts', import.meta.url))
    const env = { ...process.env, PATH: `${directory}:${process.env['PATH']}` }
    const measure = async (label: string) => {
      const version = label === 'none' ? [] : ['--mirror-version', '0.9']
      const args = [program, '--label', label, ...version, '--out', join(directory, 'out'), 'app=r.example/app:{label}']
      const child = new Child(process.execPath, args, { env })
      assert.deepEqual(await child.exited, { code: 0, signal: null }, child.lines.join('\n'))
    }
    await measure('none')
    await measure('nabo')
    const results = parseResults(JSON.parse(await readFile(join(directory, 'out', 'results.json'), 'utf8')))
    assert.deepEqual(
      results.runs.map(({ contender, images, nodes }) => [contender, images[0]?.name, nodes.length]),
      [
        ['none', 'r.example/app:none', 3],
        ['nabo', 'r.example/app:nabo', 3],
      ],
    )
    assert.deepEqual(results.contenders, [
      { id: 'none', title: 'No mirror' },
      { id: 'nabo', title: 'Nabo', version: '0.9' },
    ])
    assert.deepEqual(now().namespaces, {})
  })

  it('is a command that pulls nothing where conditions have changed', async () => {
    const program = fileURLToPath(new URL('../../bench/cluster/run.ts', import.meta.url))
    const env = { ...process.env, PATH: `${directory}:${process.env['PATH']}` }
    const out = join(directory, 'out')
    await mkdir(out)
    const before = emptyResults([], { id: 'none', title: 'No mirror' }, [])
    await writeResults(join(out, 'results.json'), before)
    const child = new Child(process.execPath, [program, '--label', 'nabo', '--out', out, 'app:1'], { env })
    assert.deepEqual(await child.exited, { code: 65, signal: null }, child.lines.join('\n'))
    assert.deepEqual(
      now().created.map(({ kind }) => kind),
      ['Namespace'],
    )
    assert.deepEqual(now().namespaces, {})
  })

  it('is a command that cleans up after a Ctrl-C', async () => {
    const program = fileURLToPath(new URL('../../bench/cluster/run.ts', import.meta.url))
    const env = { ...process.env, PATH: `${directory}:${process.env['PATH']}` }
    const args = [program, '--label', 'none', '--out', join(directory, 'out'), 'r.example/slow:1']
    const child = new Child(process.execPath, args, { env })
    await eventually('a set is there', () => Object.keys(now().sets).length > 0, { everyMs: 10 })
    child.signal('SIGINT')
    assert.deepEqual(await child.exited, { code: 130, signal: null }, child.lines.join('\n'))
    assert.deepEqual(now().namespaces, {})
  })
})
