import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { refuseExposure, warnOfExposure } from '../../src/daemon/exposure.ts'
import { parseServeFlags } from '../support/daemon.ts'

const refusalOf = (flags: readonly string[]): string | undefined => {
  try {
    refuseExposure(parseServeFlags(flags))
    return undefined
  } catch (error) {
    assert.ok(error instanceof Error)
    return error.message
  }
}
const SECRET = ['--cluster-secret-file', '/etc/nabo/secret']
const INSECURE = ['--insecure-without-secret']

describe('listeners for other machines without a cluster secret', () => {
  it('are refused in a sentence with the flag and the cures', () => {
    for (const flag of ['--peer-addr', '--router-addr']) {
      for (const address of ['0.0.0.0:7000', '[::]:7000', '10.0.0.7:7000', '[fd00::7]:7000', 'node.example:7000']) {
        const refusal = refusalOf([flag, address]) ?? assert.fail(`${flag} ${address} is accepted`)
        assert.ok(refusal.startsWith(`${flag} ${address} needs a cluster secret`), refusal)
        assert.match(refusal, /--cluster-secret-file <file>.* or --insecure-without-secret$/)
        // One open address among others is enough.
        assert.notEqual(refusalOf([flag, '127.0.0.1:1', flag, address]), undefined)
      }
    }
  })

  it('are refused for the advertised addresses too, unless these are loopback', () => {
    const flags = ['--peer-addr', 'advertise:7000', '--advertise-addr', '127.0.0.1']
    assert.equal(refusalOf(flags), undefined)
    assert.match(
      refusalOf([...flags, '--advertise-addr', '10.0.0.7']) ?? '',
      /^--peer-addr 10\.0\.0\.7:7000 needs a cluster secret/,
    )
    assert.equal(refusalOf([...flags, '--advertise-addr', '10.0.0.7', ...SECRET]), undefined)
  })

  it('are accepted with a secret, with the flag for it, and on loopback', () => {
    const open = ['--peer-addr', '0.0.0.0', '--router-addr', '[::]']
    for (const flags of [
      [],
      [...open, ...SECRET],
      [...open, ...INSECURE],
      [...open, ...SECRET, ...INSECURE],
      ['--peer-addr', '127.0.0.1:0', '--peer-addr', '[::1]', '--router-addr', 'localhost'],
      ['--peer-addr', '127.8.9.10', '--router-addr', '[::ffff:127.0.0.1]'],
    ])
      assert.equal(refusalOf(flags), undefined, flags.join(' '))
  })

  it('are needed for a cluster with other machines, so its bootstrap is refused too', () => {
    const others = ['static:10.0.0.1', 'static:127.0.0.1,10.0.0.1', 'static:/dns4/a.example/tcp/1', 'dns:nabo.example']
    for (const bootstrap of [...others, 'http://lists.example/nodes']) {
      assert.match(
        refusalOf(['--bootstrap', bootstrap]) ?? '',
        /^--bootstrap names other machines.*--cluster-secret-file/,
      )
      for (const allowed of [SECRET, INSECURE])
        assert.equal(refusalOf(['--bootstrap', bootstrap, ...allowed]), undefined)
    }
    for (const here of ['none', 'static:127.0.0.1:7962,[::1]:7972', 'static:/ip4/127.0.0.1/tcp/7962'])
      assert.equal(refusalOf(['--bootstrap', here]), undefined, here)
  })

  it('are named in the warning of a daemon that has them', () => {
    const logged = (flags: readonly string[]) => {
      const lines: { level: string; fields: object; message: string }[] = []
      const note = (level: string) => (fields: object, message: string) => void lines.push({ level, fields, message })
      warnOfExposure(parseServeFlags(flags), { info: note('info'), warn: note('warn') })
      return lines
    }
    assert.deepEqual(logged(SECRET), [])
    const [alone] = logged([])
    assert.equal(alone?.level, 'info')
    const [open] = logged(INSECURE)
    assert.equal(open?.level, 'warn')
    assert.deepEqual(open.fields, { open: ['[::]:7951', '[::]:7952'] })
    const [shared] = logged([...INSECURE, '--private-images', 'share'])
    assert.match(shared?.message ?? '', /read every image that this node holds/)
  })
})
