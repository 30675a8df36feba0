import { listed } from '../listed.ts'
import { type Check, warning } from '../check.ts'

/** Whether the flags given to `nabo doctor` are those of the daemon, whose settings are checked. */
export const settingsCheck: Check = {
  id: 'settings',
  title: 'flags',
  async run({ differences }) {
    if (differences.length === 0) return undefined
    const shown = differences.map(({ flag, here, there }) => {
      const theirs = there.length === 0 ? 'its default' : there.join(' ')
      return `${flag} (${here.join(' ')} here, ${theirs} there)`
    })
    return warning(
      `the daemon of this node runs with other flags than those given here: ${listed(shown)}; its own are checked`,
      'restart nabo serve with these flags, or leave them out here: doctor asks the daemon for its flags',
    )
  },
}
