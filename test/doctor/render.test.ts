import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { printable } from '../../src/cli/printable.ts'
import type { Finding } from '../../src/doctor/check.ts'
import { renderFindings } from '../../src/doctor/render.ts'

const finding = (id: string, level: Finding['level'], says: string, fix?: string): Finding => ({
  id,
  title: id,
  level,
  says,
  ...(fix === undefined ? {} : { fix }),
})
const render = (findings: readonly Finding[], colours = false) =>
  renderFindings(findings, { colours, print: printable })

describe('the text of the doctor', () => {
  it('has a line for each check and what to change below it', () => {
    const text = render([
      finding('containerd', 'ok', 'containerd 1.7.24 answers at /run/containerd/containerd.sock'),
      finding(
        'config_path',
        'error',
        'config_path is not set in /etc/containerd/config.toml',
        'in /etc/containerd/config.toml: below [plugins."io.containerd.grpc.v1.cri".registry] config_path = "/etc/containerd/certs.d"',
      ),
      finding('hosts.toml', 'unknown', '/etc/containerd/certs.d is not visible from here'),
      finding('free space', 'warning', 'only 9.1 GiB of 100 GiB are free', 'make room'),
    ])
    assert.equal(
      text,
      `ok       containerd   containerd 1.7.24 answers at /run/containerd/containerd.sock
error    config_path  config_path is not set in /etc/containerd/config.toml
                      fix: in /etc/containerd/config.toml: below [plugins."io.containerd.grpc.v1.cri".registry] config_path = "/etc/containerd/certs.d"
unknown  hosts.toml   /etc/containerd/certs.d is not visible from here
warning  free space   only 9.1 GiB of 100 GiB are free
                      fix: make room

1 error, 1 warning, 1 thing that could not be checked: Nabo cannot do its work on this node.
`,
    )
  })

  it('sums up', () => {
    const last = (...levels: Finding['level'][]) =>
      render(levels.map((level) => finding('x', level, 'says')))
        .trimEnd()
        .split('\n')
        .at(-1)
    assert.equal(last('ok', 'ok'), 'All is right.')
    assert.equal(last('ok', 'unknown'), 'Nothing wrong was found; 1 thing that could not be checked.')
    assert.equal(last('warning', 'warning', 'ok'), '2 warnings: Nabo may do only a part of its work on this node.')
    assert.equal(last('error', 'error'), '2 errors: Nabo cannot do its work on this node.')
  })

  it('has colours only where they are wanted, and lets nothing steer the terminal', () => {
    const strange = [finding('x', 'ok', 'a\u001B[2Jb\nc')]
    assert.equal(render(strange).includes('\u001B'), false)
    assert.equal(render(strange).split('\n').length, 4)
    assert.equal(render(strange, true).split('\n')[0], '\u001B[32mok\u001B[0m  x  a\uFFFD[2Jb\uFFFDc')
  })
})
