import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { CredentialPrograms, type Answer, type Question } from '../../../src/upstream/registry/credential-programs.ts'
import { CredentialTroubles } from '../../../src/upstream/registry/credential-troubles.ts'
import { CredentialProgramError } from '../../../src/upstream/registry/run-program.ts'
import { eventually } from '../../support/poll.ts'
import { type RecordedLog, recordedLog } from '../../support/recorded-log.ts'

const { signal } = new AbortController()

describe('programs that give credentials', () => {
  let log: RecordedLog
  let troubles: CredentialTroubles
  let programs: CredentialPrograms<string>
  /** The questions that run, each with the function that answers it. */
  let running: Map<string, PromiseWithResolvers<Answer<string>>>
  let asked: string[]
  beforeEach(() => {
    log = recordedLog()
    troubles = new CredentialTroubles()
    programs = make()
    running = new Map()
    asked = []
  })
  afterEach(() => programs.stop())

  const make = (options: { patience?: number } = {}) =>
    new CredentialPrograms<string>({ log, troubles, patience: 60_000, ...options })
  const question = (registry: string, image: string, program = 'lab'): Question<string> => ({
    key: `${program} image ${registry}/${image}`,
    alsoUnder: [`${program} registry ${registry}`],
    group: `${program} registry ${registry}`,
    program,
    kind: 'a credential provider',
    about: {},
    ask: () => {
      const name = `${registry}/${image}`
      const answer = Promise.withResolvers<Answer<string>>()
      asked.push(name)
      running.set(name, answer)
      return answer.promise.finally(() => running.delete(name))
    },
  })
  const get = (registry: string, image: string, program?: string) =>
    programs.get(question(registry, image, program), { signal })
  const many = (count: number, registry: string) => Array.from({ length: count }, (_, i) => get(registry, `app${i}`))
  const settle = async () => {
    for (let turn = 0; turn < 5; turn += 1) await setImmediate()
  }
  const answer = (name: string, given: Answer<string>) => (running.get(name) ?? assert.fail(name)).resolve(given)
  const forRegistry = (registry: string): Answer<string> => ({ value: 'ann', keepUnder: `lab registry ${registry}` })

  it('are asked once for all images of a registry if the answer is for the registry', async () => {
    const all = many(24, 'r.example')
    await settle()
    assert.deepEqual(asked, ['r.example/app0'])
    answer('r.example/app0', forRegistry('r.example'))
    assert.deepEqual(await Promise.all(all), Array(24).fill('ann'))
    assert.equal(asked.length, 1)
  })

  it('are asked for a registry while another has many questions', async () => {
    const all = many(204, 'r.example')
    const other = get('s.example', 'app')
    await settle()
    answer('s.example/app', forRegistry('s.example'))
    assert.equal(await other, 'ann')
    answer('r.example/app0', { value: 'ann' })
    await settle()
    // Answers for one image each: a few at a time, and a permit is left for other registries.
    assert.equal(running.size, 3)
    const next = get('t.example', 'app')
    await settle()
    answer('t.example/app', { value: 'bob' })
    assert.equal(await next, 'bob')
    programs.stop()
    await Promise.all(all)
  })

  it('are asked again at once where there was no room for a question', async () => {
    const all = many(204, 'r.example')
    assert.equal(await get('r.example', 'late'), undefined)
    assert.match(log.lines.join('\n'), /^warn [^\n]*too many questions[^\n]*$/)
    assert.deepEqual(troubles.list(), [])
    await settle()
    answer('r.example/app0', forRegistry('r.example'))
    await Promise.all(all)
    assert.equal(await get('r.example', 'late'), 'ann')
    assert.equal(asked.length, 1)
  })

  it('are not asked what nobody waits for any more, and go on if they run', async () => {
    programs = make({ patience: 1 })
    assert.deepEqual(await Promise.all(many(3, 'r.example')), Array(3).fill(undefined))
    answer('r.example/app0', { value: 'ann' })
    await settle()
    assert.deepEqual(asked, ['r.example/app0'])
    assert.equal(await get('r.example', 'app0'), 'ann')
  })

  it('are in trouble once, whatever clients name, until one answer comes', async () => {
    for (let i = 0; i < 70; i += 1) {
      const failing = get(`r${i}.example`, 'app')
      await settle()
      running.get(`r${i}.example/app`)?.reject(new CredentialProgramError(`lab failed: exit code ${i}`))
      assert.equal(await failing, undefined)
    }
    const reason = 'lab failed: exit code 69'
    assert.deepEqual(troubles.list(), [{ type: 'program', program: 'lab', reason }])
    const other = get('r.example', 'app', 'other')
    await settle()
    answer('r.example/app', { value: 'ann' })
    await other
    assert.equal(troubles.list().length, 1)
    const nothing = get('s.example', 'app')
    await settle()
    answer('s.example/app', { value: undefined })
    assert.equal(await nothing, undefined)
    await eventually('it is over', () => troubles.list().length === 0)
  })
})
